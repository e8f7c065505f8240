import gzip
import json
from pathlib import Path

import pytest

from finetune.data.records import Conversation, Label, Preference, Text
from finetune.data.sources.detect import FORMATS
from finetune.data.sources.loader import load_data
from finetune.data.sources.oasst import TreeFilter
from finetune.errors import MalformedRow, SourceUnavailable, UnknownFormat
from finetune.templates.messages import Message
from quire import UsageError

U, A, S = (lambda t: Message("user", t)), (lambda t: Message("assistant", t)), (lambda t: Message("system", t))


def write(folder: Path, rows: list, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n", encoding="utf-8")
    return path


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
def test_conversation_shapes_are_detected_and_read(tmp_path, name, row, expected):
    loaded = load_data(write(tmp_path, [row]))
    assert (loaded.format, loaded.rows, loaded.kept, loaded.problems) == (name, 1, 1, [])
    assert isinstance(loaded.records[0], Conversation)
    assert loaded.records[0].messages == expected
    assert loaded.records[0].row == 1
    assert loaded.records[0].source.endswith("rows.jsonl")


@pytest.mark.parametrize(("name", "row", "prompt"), PAIRS)
def test_preference_shapes_are_detected_and_read(tmp_path, name, row, prompt):
    loaded = load_data(write(tmp_path, [row]))
    assert (loaded.format, loaded.rows, loaded.kept, loaded.problems) == (name, 1, 1, [])
    (record,) = loaded.records
    assert isinstance(record, Preference)
    answers = ("good", "bad") if name == "ultrafeedback" else ("A", "B")
    assert record.prompt == prompt
    assert (record.chosen, record.rejected) == ((A(answers[0]),), (A(answers[1]),))


def test_every_format_is_covered_by_an_example():
    assert {name for name, *_ in (*SFT, *PAIRS)} | {"text", "kto", "oasst", "helpsteer"} == set(FORMATS)


@pytest.mark.parametrize("row", [
    {"messages": CHAT, "label": False}, {"prompt": "Q", "completion": "A", "label": 0},
    {"instruction": "Q", "input": "", "output": "A", "kto_tag": False}, {"messages": CHAT, "kto_tag": False},
    {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "kto_tag": False},
])  # fmt: skip
def test_labels_are_read(tmp_path, row):
    loaded = load_data(write(tmp_path, [row]))
    assert loaded.format == "kto"
    assert loaded.records == [Label((U("Q"),), (A("A"),), False, str(tmp_path / "rows.jsonl"), 1)]


def test_text_files_hold_one_row_a_paragraph(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("one\ntwo\n\n\nthree\n")
    loaded = load_data(path)
    assert loaded.format == "text"
    assert loaded.records == [Text("one\ntwo", str(path), 1), Text("three", str(path), 2)]


def test_helpsteer_pairs_the_best_with_the_worst_answer_to_a_prompt(tmp_path):
    def row(prompt, response, helpful, correct):
        return {"prompt": prompt, "response": response, "helpfulness": helpful, "correctness": correct,
                "coherence": 4, "complexity": 0, "verbosity": 4}  # fmt: skip

    rows = [row("P", "mid", 2, 2), row("P", "B", 0, 1), row("P", "A", 4, 3), row("Q", "x", 1, 1), row("Q", "y", 1, 1)]
    loaded = load_data(write(tmp_path, rows))
    assert loaded.format == "helpsteer"
    assert [(r.chosen[0].content, r.rejected[0].content) for r in loaded.records] == [("A", "B")]
    assert (loaded.rows, loaded.kept) == (5, 3)
    assert [(p.row, p.problem) for p in loaded.problems] == [
        (4, "all answers have the same rank"), (5, "all answers have the same rank")]  # fmt: skip


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


def test_a_speaker_twice_in_a_row_of_a_transcript_said_both(tmp_path):
    start = "\n\nHuman: Q\n\nAssistant: A\n\nAssistant: B\n\nHuman: R\n\nAssistant: "
    loaded = load_data(write(tmp_path, [{"chosen": start + "C", "rejected": start + "D"}]))
    assert loaded.records[0].prompt == (U("Q"), A("A\n\nB"), U("R"))


def test_a_malformed_row_names_file_and_line(tmp_path):
    path = write(tmp_path, [{"instruction": "a", "output": "b"}, "", '{"instruction": 1, "output": "b"}'])
    with pytest.raises(MalformedRow, match=r"rows\.jsonl, line 3: `instruction` must be text, found int"):
        load_data(path)
    loaded = load_data(path, strict=False)
    assert [(p.row, p.line, p.kind) for p in loaded.problems] == [(2, 3, "malformed")]


def test_a_row_that_is_no_json_names_its_line(tmp_path):
    path = write(tmp_path, [{"text": "a"}, "{broken"])
    with pytest.raises(MalformedRow, match=r"line 2: not JSON.*data check"):
        load_data(path)


def test_a_list_in_json_names_the_line_of_the_row(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[\n {"instruction": "a",\n  "output": "b"},\n {"instruction": "a"}\n]')
    loaded = load_data(path, strict=False, format="alpaca")
    assert [(p.row, p.line) for p in loaded.problems] == [(2, 4)]
    path.write_text('[\n {"text": "a"},\n {"text": "b"')
    with pytest.raises(MalformedRow, match="line 3: not JSON"):
        load_data(path)


def test_a_line_separator_inside_a_text_is_no_end_of_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a\u2028b"}\n', encoding="utf-8")
    assert load_data(path).records[0].text == "a\u2028b"


def test_gzip_csv_and_parquet_are_read_alike(tmp_path):
    import pyarrow
    import pyarrow.parquet

    row = {"instruction": "a, b", "output": "c\nd"}
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    (tmp_path / "x.csv").write_text('instruction,output\n"a, b","c\nd"\n')
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "x.parquet")
    for name in ("x.jsonl.gz", "x.csv", "x.parquet"):
        assert load_data(tmp_path / name).records[0].messages == (U("a, b"), A("c\nd")), name


def test_evaluation_files_are_refused_with_what_they_are(tmp_path):
    path = write(tmp_path, [{"question_id": 81, "category": "writing", "turns": ["a", "b"]}])
    with pytest.raises(UnknownFormat, match=r"MT-Bench questions.*nothing to train on.*file with answers"):
        load_data(path)


def test_unknown_fields_are_answered_with_the_known_formats(tmp_path):
    with pytest.raises(UnknownFormat, match=r"fields 'frage', 'antwort'.*alpaca \(instruction, input, output\)"):
        load_data(write(tmp_path, [{"frage": "a", "antwort": "b"}]))


def test_missing_files_and_formats_are_named(tmp_path):
    with pytest.raises(SourceUnavailable, match=r"there is no file.*data list"):
        load_data(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="choose one of alpaca"):
        load_data(write(tmp_path, [{"text": "a"}]), format="latin")


def test_the_hub_offline_is_answered_with_what_to_do(monkeypatch, tmp_path):
    import datasets
    import huggingface_hub

    for module in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(SourceUnavailable, match=r"OpenAssistant/oasst1.*HF_HUB_OFFLINE is set.*name a file here"):
        load_data("oasst1")


def test_preferences_serve_sft_with_the_chosen_and_kto_with_both(tmp_path):
    path = write(tmp_path, [{"prompt": "Q", "chosen": "A", "rejected": "B"}])
    assert [r.messages for r in load_data(path, task="sft").records] == [(U("Q"), A("A"))]
    labels = load_data(path, task="label").records
    assert [(r.completion[0].content, r.label) for r in labels] == [("A", True), ("B", False)]


# -- OpenAssistant


def node(id, text, role, rank=None, replies=(), **more):
    return {"message_id": id, "text": text, "role": role, "lang": "en", "review_count": 3, "review_result": True,
            "deleted": False, "synthetic": False, "rank": rank, "replies": list(replies), **more}  # fmt: skip


def tree(id="t1", **more):
    return node(id, "Q", "prompter", replies=[
        node(f"{id}a", "worse", "assistant", 1, [node(f"{id}x", "why?", "prompter", replies=[node(f"{id}y", "so", "assistant")])]),
        node(f"{id}b", "best", "assistant", 0, [node(f"{id}c", "more?", "prompter", replies=[
            node(f"{id}d", "no", "assistant", 1), node(f"{id}e", "yes", "assistant", 0)]),
            node(f"{id}f", "unanswered", "prompter")]),
    ], **more)  # fmt: skip


def flat(root, parent=None):
    yield {**{k: v for k, v in root.items() if k != "replies"}, "parent_id": parent}
    for reply in root["replies"]:
        yield from flat(reply, root["message_id"])


def texts(loaded):
    return [[m.content for m in r.messages] for r in loaded.records]


def wrap(root):
    return {"message_tree_id": root["message_id"], "tree_state": "ready_for_export", "prompt": root}


def test_trees_give_the_best_thread_with_its_full_context(tmp_path):
    loaded = load_data(write(tmp_path, [wrap(tree())]))
    assert loaded.format == "oasst"
    assert texts(loaded) == [["Q", "best", "more?", "yes"]]
    assert loaded.records[0].group == "t1"


def test_nested_and_flat_trees_give_the_same_rows_in_the_same_order(tmp_path):
    roots = [tree("t2"), tree("t1")]
    nested = write(tmp_path, [wrap(r) for r in roots], "nested.jsonl")
    roots_only = write(tmp_path, [{**r, "parent_id": None} for r in roots], "roots.jsonl")
    rows = [row for root in reversed(roots) for row in flat(root)]
    single = write(tmp_path, rows[::-1], "flat.jsonl")
    for task in ("sft", "preference"):
        all_rows = [[r.to_dict() for r in load_data(p, task=task).records] for p in (nested, roots_only, single)]
        assert all_rows[0] == all_rows[1] == all_rows[2]
        assert len(all_rows[0]) == (2 if task == "sft" else 4)


def test_pairs_are_ranked_siblings_with_their_context(tmp_path):
    records = load_data(write(tmp_path, [wrap(tree())]), task="preference").records
    assert [([m.content for m in r.prompt], r.chosen[0].content, r.rejected[0].content) for r in records] == [
        (["Q"], "best", "worse"),
        (["Q", "best", "more?"], "yes", "no"),
    ]


def test_concat_reproduces_the_joined_rows(tmp_path):
    loaded = load_data(write(tmp_path, [wrap(tree())]), tree_filter=TreeFilter(pick="concat"))
    assert ["Q", "best\nworse"] in texts(loaded)
    assert ["more?", "yes\nno"] in texts(loaded)


@pytest.mark.parametrize(
    ("change", "tree_filter", "why"),
    [
        ({"lang": "de"}, TreeFilter(languages=("en",)), "language de"),
        ({"deleted": True}, TreeFilter(), "deleted"),
        ({"synthetic": True}, TreeFilter(), "synthetic"),
        ({"review_result": False}, TreeFilter(), "failed review"),
        ({"review_count": 1}, TreeFilter(reviews=2), "fewer than 2 reviews"),
    ],
)
def test_a_message_left_out_takes_its_replies_along_and_is_counted(tmp_path, change, tree_filter, why):
    root = tree()
    root["replies"][1].update(change)
    loaded = load_data(write(tmp_path, [wrap(root)]), tree_filter=tree_filter)
    assert texts(loaded) == [["Q", "worse", "why?", "so"]]
    assert [(p.row, p.problem) for p in loaded.problems] == [(1, f"1 message dropped with all replies: {why}")]


def test_depth_cuts_threads(tmp_path):
    assert texts(load_data(write(tmp_path, [wrap(tree())]), tree_filter=TreeFilter(depth=2))) == [["Q", "best"]]


def test_an_orphan_is_named(tmp_path):
    rows = [*flat(tree()), {**node("z", "?", "assistant"), "parent_id": "gone"}]
    loaded = load_data(write(tmp_path, rows))
    assert [(p.row, p.problem) for p in loaded.problems] == [(10, "its parent gone is not in the file")]


def test_one_list_in_a_jsonl_file_is_its_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps([{"text": "a"}, {"text": "b"}]))
    assert [record.text for record in load_data(path).records] == ["a", "b"]


def test_a_file_without_a_readable_row_says_what_its_first_line_holds(tmp_path):
    path = tmp_path / "notes.docx"
    path.write_text("hello\n")
    with pytest.raises(UnknownFormat, match="line 1: not JSON: Expecting value at column 1"):
        load_data(path, strict=False)


def test_rows_of_many_shapes_are_counted_in_the_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"instruction": "a", "output": "b"}, {"text": "c"}, {"foo": 1}, {"prompt": "p", "completion": "c"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UnknownFormat, match=r"fits most of the first 4 rows .*1 alpaca.*1 of no known format"):
        load_data(path)


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
def test_a_verdict_that_prefers_neither_leaves_the_row_out(tmp_path, change, problem):
    row = {"prompt": "Q", "response_1": "A", "response_2": "B", "preference_strength": 1}
    loaded = load_data(write(tmp_path, [{**row, **change}, row]), strict=False)
    assert [p.problem for p in loaded.problems] == [problem]
    assert loaded.kept == 1
