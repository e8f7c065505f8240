import json

import pytest

from finetune.data.records import Conversation, Label, Preference
from finetune.data.sources.detect import FORMATS
from finetune.data.sources.loader import load_data
from finetune.templates.messages import Message
from tests.finetune.data.sources.rows import A, S, U, write

UF = {
    "source": "evol", "instruction": "Q", "models": [], "completions": [
        {"model": "a", "response": "bad", "overall_score": 10,
         "annotations": {"helpfulness": {"Rating": "1"}, "honesty": {"Rating": "2"}}},
        {"model": "b", "response": "good", "overall_score": 1,
         "annotations": {"helpfulness": {"Rating": "5"}, "honesty": {"Rating": "N/A"}}},
    ],
}  # fmt: skip

CHAT = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]

SFT = [
    ("alpaca", {"instruction": "Add.", "input": "1 2", "output": "3"}, (Message("user", "Add.", "1 2"), A("3"))),
    ("alpaca", {"instruction": "Hi", "input": "", "output": "Yo"}, (U("Hi"), A("Yo"))),
    ("dolphin", {"instruction": "You are a sage.", "input": "Why?", "output": "So."}, (S("You are a sage."), U("Why?"), A("So."))),
    ("dolly", {"instruction": "Q", "context": "C", "response": "A", "category": "x"}, (Message("user", "Q", "C"), A("A"))),
    ("messages", {"messages": [{"role": "system", "content": "S"}, *CHAT]}, (S("S"), U("Q"), A("A"))),
    ("messages", {"messages": [*CHAT, {"role": "user", "content": "unanswered"}]}, (U("Q"), A("A"))),
    ("sharegpt", {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, (U("Q"), A("A"))),
    ("openorca", {"id": "1", "system_prompt": "S", "question": "Q", "response": "A"}, (S("S"), U("Q"), A("A"))),
    ("openorca", {"id": "1", "system_prompt": "", "question": "Q", "response": "A"}, (U("Q"), A("A"))),
    ("prompt-completion", {"prompt": "Q", "completion": "A"}, (U("Q"), A("A"))),
    ("prompt-completion", {"prompt": CHAT[:1], "completion": CHAT[1:]}, (U("Q"), A("A"))),
    ("self-instruct", {"id": "s", "instruction": "I", "instances": [{"input": "", "output": "O"}]}, (U("I"), A("O"))),
    ("guanaco", {"text": "### Human: Q### Assistant: A### Human: R### Assistant: B"}, (U("Q"), A("A"), U("R"), A("B"))),
]  # fmt: skip

PAIRS = [
    ("hh-rlhf", {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"}, (U("Q"),)),
    ("ultrafeedback", UF, (U("Q"),)),
    ("ultrafeedback-binarized", {"prompt": "Q", "prompt_id": "1", "chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "B"}],
                                 "messages": CHAT, "score_chosen": 8.0, "score_rejected": 5.0}, (U("Q"),)),
    ("orca-dpo", {"system": "S", "question": "Q", "chosen": "A", "rejected": "B"}, (S("S"), U("Q"))),
    ("orca-dpo", {"system": "S", "input": "Q", "chosen": "A", "rejected": "B", "status": "swapped", "chosen_score": 9}, (S("S"), U("Q"))),
    ("truthy-dpo", {"id": "1", "source": "x", "system": "S", "prompt": "Q", "chosen": "A", "rejected": "B"}, (S("S"), U("Q"))),
    ("shp", {"post_id": "p", "history": "Q", "human_ref_A": "B", "human_ref_B": "A", "labels": 0, "score_ratio": 2.0}, (U("Q"),)),
    ("sharegpt-preference", {"conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Q"}],
                             "chosen": {"from": "gpt", "value": "A"}, "rejected": {"from": "gpt", "value": "B"}}, (S("S"), U("Q"))),
    ("preference", {"prompt": "Q", "chosen": "A", "rejected": "B"}, (U("Q"),)),
    ("preference", {"prompt": [{"role": "system", "content": "S"}, *CHAT[:1]], "chosen": CHAT[1:],
                    "rejected": [{"role": "assistant", "content": "B"}]}, (S("S"), U("Q"))),
    ("preference", {"chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "B"}]}, (U("Q"),)),
    ("preference", {"instruction": "Q", "input": "C", "chosen": "A", "rejected": "B"}, (Message("user", "Q", "C"),)),
    ("preference", {"system": "S", "instruction": "Q", "chosen_response": "A", "rejected_response": "B"}, (S("S"), U("Q"))),
    ("preference", {"question": "Q", "response_j": "A", "response_k": "B"}, (U("Q"),)),
    ("preference", {"input": {"messages": CHAT[:1], "tools": []}, "preferred_output": CHAT[1:],
                    "non_preferred_output": [{"role": "assistant", "content": "B"}]}, (U("Q"),)),
    ("pku-saferlhf", {"prompt": "Q", "response_0": "B", "response_1": "A", "is_response_0_safe": True,
                      "is_response_1_safe": True, "better_response_id": 1, "safer_response_id": 0}, (U("Q"),)),
    ("helpsteer-preference", {"split": "train", "prompt": "Q", "response_1": "A", "response_2": "B",
                              "preference_strength": -2, "preference_statement": "x"}, (U("Q"),)),
    ("ranked", {"prompt": "\n\nHuman: Q\n\nAssistant: R\n\nHuman: S\n\nAssistant: ",  # as Nectar writes it
                "answers": [{"answer": "B", "model": "m", "rank": 4.0}, {"answer": "A", "model": "n", "rank": 1.0}]},
     (U("Q"), A("R"), U("S"))),
    ("ranked", {"prompt": "Q", "responses": ["A", "x", "B"]}, (U("Q"),)),
    ("ranked", {"prompt": "Q", "responses": ["B", "A"], "scores": [1, 2]}, (U("Q"),)),
    ("ranked", {"prompt": "Q", "responses": ["B", "A"], "ranks": [2, 1]}, (U("Q"),)),
    ("ranked", {"prompt": "Q", "answers": [{"answer": "B", "rank": 3}, {"answer": "A", "rank": 1}]}, (U("Q"),)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "expected"), SFT)
def test_conversation_formats_are_detected_and_read(tmp_path, name, row, expected):
    loaded = load_data(write(tmp_path, [row]))
    assert (loaded.format, loaded.rows, loaded.kept, loaded.problems) == (name, 1, 1, [])
    assert isinstance(loaded.records[0], Conversation)
    assert loaded.records[0].messages == expected
    assert loaded.records[0].row == 1
    assert loaded.records[0].source.endswith("rows.jsonl")


@pytest.mark.parametrize(("name", "row", "prompt"), PAIRS)
def test_preference_formats_are_detected_and_read(tmp_path, name, row, prompt):
    loaded = load_data(write(tmp_path, [row]))
    assert (loaded.format, loaded.rows, loaded.kept, loaded.problems) == (name, 1, 1, [])
    (record,) = loaded.records
    assert isinstance(record, Preference)
    answers = ("good", "bad") if name == "ultrafeedback" else ("A", "B")
    assert record.prompt == prompt
    assert (record.chosen, record.rejected) == ((A(answers[0]),), (A(answers[1]),))


def test_every_format_is_covered_by_an_example():
    assert {name for name, *_ in (*SFT, *PAIRS)} | {
        "text",
        "kto",
        "oasst",
        "helpsteer",
        "rendered",
        "rejected-response",
    } == set(FORMATS)


@pytest.mark.parametrize("row", [
    {"messages": CHAT, "label": False}, {"prompt": "Q", "completion": "A", "label": 0},
    {"instruction": "Q", "input": "", "output": "A", "kto_tag": False}, {"messages": CHAT, "kto_tag": False},
    {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "kto_tag": False},
])  # fmt: skip
def test_labels_are_read(tmp_path, row):
    loaded = load_data(write(tmp_path, [row]))
    assert loaded.format == "kto"
    assert loaded.records == [Label((U("Q"),), (A("A"),), False, str(tmp_path / "rows.jsonl"), 1)]


def test_all_pairs_of_a_ranked_list_can_be_taken(tmp_path):
    path = write(tmp_path, [{"prompt": "Q", "responses": ["a", "b", "c"]}])
    pairs = [(r.chosen[0].content, r.rejected[0].content) for r in load_data(path, pairs="all").records]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]


def test_a_random_pair_depends_on_the_seed_and_the_row_alone(tmp_path):
    row = {"prompt": "Q", "responses": [str(n) for n in range(50)]}
    path = write(tmp_path, [row, row])
    picks = [[r.rejected[0].content for r in load_data(path, pairs="best-random", seed=s).records] for s in (0, 0, 1)]
    assert picks[0] == picks[1] != picks[2]
    assert picks[0][0] != picks[0][1]


def test_hh_rows_with_an_empty_reply_or_an_unequal_beginning_are_dropped_and_named(tmp_path):
    def pair(chosen, rejected):
        return {"chosen": chosen, "rejected": rejected}

    start = "\n\nHuman: Q\n\nAssistant: "
    rows = [
        pair(start + "A", start + "B"),
        pair(start, start + "B"),
        pair(start + "A", "\n\nHuman: other\n\nAssistant: B"),
        pair(start + "A", start + "A"),
    ]
    loaded = load_data(write(tmp_path, rows))
    assert (loaded.rows, loaded.kept) == (4, 1)
    assert [(p.row, p.problem, p.kind, p.dropped) for p in loaded.problems] == [
        (2, "empty chosen answer", "empty", True),
        (3, "chosen and rejected begin with unequal conversations", "unequal beginning", True),
        (4, "chosen and rejected answers are equal", "equal answers", True),
    ]


def test_consecutive_turns_of_a_speaker_are_joined(tmp_path):
    start = "\n\nHuman: Q\n\nAssistant: A\n\nAssistant: B\n\nHuman: R\n\nAssistant: "
    loaded = load_data(write(tmp_path, [{"chosen": start + "C", "rejected": start + "D"}]))
    assert loaded.records[0].prompt == (U("Q"), A("A\n\nB"), U("R"))


def test_content_in_parts_of_text_is_joined_and_another_part_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    image = [{"type": "image_url", "image_url": {"url": "x"}}]
    path.write_text("".join(
        json.dumps({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}]}) + "\n"
        for content in (parts, image, None)
    ))  # fmt: skip
    loaded = load_data(path, strict=False)
    assert [record.messages[-1].content for record in loaded.records] == ["one two"]
    assert [problem.problem for problem in loaded.problems] == [
        "`messages` message 2 (assistant) must be text, found parts that are not text",
        "`messages` message 2 (assistant) must be text, found NoneType",
    ]


@pytest.mark.parametrize(("change", "problem"), [
    ({"preference_strength": 0}, "the raters saw a tie"),
    ({"preference_strength": None}, "`preference_strength` must be a number, found None"),
])  # fmt: skip
def test_a_row_without_a_preferred_answer_is_dropped(tmp_path, change, problem):
    row = {"prompt": "Q", "response_1": "A", "response_2": "B", "preference_strength": 1}
    loaded = load_data(write(tmp_path, [{**row, **change}, row]), strict=False)
    assert [p.problem for p in loaded.problems] == [problem]
    assert loaded.kept == 1
