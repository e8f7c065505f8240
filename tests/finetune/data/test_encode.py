"""The loss counts the answers and their end tokens; the system message reaches the model."""

from typing import Any

import pytest

from finetune.config import build
from finetune.data.encode import IGNORED, encode_conversations, encode_for, encode_labels, encode_pairs, hash_rows
from finetune.data.records import Conversation, Label, Preference, Text, to_task
from finetune.errors import DataError
from finetune.templates.messages import Message


@pytest.fixture(scope="module", params=["qwen2", "phi"])
def coder(request: pytest.FixtureRequest, models: dict[str, str]) -> tuple[Any, Any]:
    """A tokenizer and the template of its kind."""
    from finetune.templates.find import find_template
    from finetune.train.load import load_tokenizer

    return load_tokenizer(models[request.param]), find_template(models[request.param])


def test_the_loss_is_on_the_answer_and_its_end_token(coder: tuple[Any, Any], conversations: list[Conversation]) -> None:
    """Planted faults: loss on the prompt, no end token, the mask on the prompt instead of the answer."""
    tokenizer, template = coder
    rows, report = encode_conversations(conversations, template, tokenizer, max_length=256)
    assert report.rows == len(conversations) == report.records
    for row, record in zip(rows, conversations, strict=True):
        trained = [label for label in row["labels"] if label != IGNORED]
        text = tokenizer.decode(trained)
        assert text.strip() == record.messages[-1].content + template.end_token
        assert row["labels"][0] == IGNORED
        prompt = template.encode_prompt(tokenizer, record.messages[:-1])
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["labels"][: len(prompt)] == [IGNORED] * len(prompt)
    assert report.trained_tokens < report.tokens


def test_a_system_message_reaches_the_model(coder: tuple[Any, Any]) -> None:
    """Planted fault: the `system` column ignored."""
    tokenizer, template = coder
    turns = (Message("user", "Hi"), Message("assistant", "Ho"))
    with_system, _ = encode_conversations(
        [Conversation((Message("system", "Answer in rhymes."), *turns))], template, tokenizer, max_length=256
    )
    assert "Answer in rhymes." in tokenizer.decode(with_system[0]["input_ids"])
    pair = Preference((Message("system", "Answer in rhymes."), turns[0]), (turns[1],), (Message("assistant", "No"),))
    rows, _ = encode_pairs([pair], template, tokenizer, max_length=256)
    assert "Answer in rhymes." in tokenizer.decode(rows[0]["prompt_ids"])


def test_every_turn_of_the_assistant_is_trained(coder: tuple[Any, Any]) -> None:
    tokenizer, template = coder
    record = Conversation(tuple(Message(role, text) for role, text in (
        ("user", "one"), ("assistant", "first"), ("user", "two"), ("assistant", "second"))))  # fmt: skip
    rows, _ = encode_conversations([record], template, tokenizer, max_length=256)
    trained = tokenizer.decode([label for label in rows[0]["labels"] if label != IGNORED])
    assert trained.count(template.end_token) == 2
    assert "first" in trained and "second" in trained and "two" not in trained


def test_pairs_end_with_the_end_token_on_both_sides(coder: tuple[Any, Any], preferences: list[Preference]) -> None:
    tokenizer, template = coder
    end = template.token_ids(tokenizer)[template.end_token]
    rows, _ = encode_pairs(preferences, template, tokenizer, max_length=256)
    assert all(row["chosen_ids"][-1] == end == row["rejected_ids"][-1] for row in rows)


def test_long_rows_are_truncated_and_counted_and_rows_without_loss_are_dropped_with_a_reason(
    coder: tuple[Any, Any],
) -> None:
    tokenizer, template = coder
    long_answer = Conversation((Message("user", "Hi"), Message("assistant", "word " * 200)))
    long_prompt = Conversation((Message("user", "word " * 200), Message("assistant", "Ho")))
    rows, report = encode_conversations([long_answer, long_prompt], template, tokenizer, max_length=64)
    assert (report.records, report.rows, report.truncated) == (2, 1, 2)
    assert report.dropped == {"no trained token within max_length": 1}
    assert len(rows[0]["input_ids"]) == 64
    pair = Preference((Message("user", "word " * 200),), (Message("assistant", "a"),), (Message("assistant", "b"),))
    same = Preference(
        (Message("user", "x"),),
        (Message("assistant", "word " * 99 + "a"),),
        (Message("assistant", "word " * 99 + "b"),),
    )
    _, report = encode_pairs([pair, same], template, tokenizer, max_length=64)
    assert report.dropped == {
        "the prompt alone fills max_length": 1,
        "both answers are equal within max_length": 1,
    }


def test_an_error_says_why_no_row_is_left(coder: tuple[Any, Any]) -> None:
    tokenizer, template = coder
    record = Conversation((Message("user", "word " * 200), Message("assistant", "Ho")))
    with pytest.raises(DataError, match="no trained token within max_length: 1"):
        encode_for(build({"max_length": 16}), [record], template, tokenizer)


def test_plain_text_is_trained_whole(coder: tuple[Any, Any]) -> None:
    tokenizer, template = coder
    rows, _ = encode_conversations([Text("The cow says moo.")], template, tokenizer, max_length=64)
    assert rows[0]["labels"] == rows[0]["input_ids"]


@pytest.mark.parametrize("batch_size", [2, 4, 8])
def test_no_answer_of_the_kl_estimate_was_written_for_the_prompt_that_it_follows(
    batch_size: int, coder: tuple[Any, Any]
) -> None:
    """Planted fault: both answers to a prompt side by side, as pairs and `feedback export --format kto` have them."""
    tokenizer, template = coder
    records = [
        Label((Message("user", f"{i}?"),), (Message("assistant", f"{i} {'yes' if label else 'no'}"),), label)
        for i in range(8)
        for label in (True, False)
    ]
    config = build({"stage": "dpo", "loss": "kto", "batch_size": batch_size, "max_length": 256})
    rows, report = encode_for(config, records, template, tokenizer)
    assert len(rows) == report.rows == 16
    prompts = {tuple(row["completion_ids"]): row["prompt_ids"] for row in rows}
    assert len(prompts) == 16
    assert all(prompts[tuple(row["KL_completion_ids"])] != row["prompt_ids"] for row in rows)
    labels = [row["label"] for row in rows]
    assert labels != [True, False] * 8 and sum(labels) == 8  # in another order than in the file
    again, _ = encode_for(config, records, template, tokenizer)
    other, _ = encode_for(build(config.to_dict(), {"seed": 1}), records, template, tokenizer)
    assert again == rows != other


def test_the_prompt_and_a_longer_answer_of_another_row_fit_into_max_length(coder: tuple[Any, Any]) -> None:
    tokenizer, template = coder
    records = [
        Label((Message("user", "Hi " * 20),), (Message("assistant", "a"),), True),
        Label((Message("user", "Hi"),), (Message("assistant", "a " * 20),), False),
    ]
    length = 5 + len(template.encode_prompt(tokenizer, records[0].prompt))
    rows, _ = encode_labels(records, template, tokenizer, max_length=length)
    assert max(len(row["prompt_ids"]) + len(row["KL_completion_ids"]) for row in rows) == length


def test_kto_on_a_single_prompt_is_refused(coder: tuple[Any, Any], preferences: list[Preference]) -> None:
    tokenizer, template = coder
    with pytest.raises(DataError, match="all 2 rows have one prompt"):
        encode_labels(to_task(preferences[:1], "label"), template, tokenizer, max_length=256)


def test_the_hash_of_rows_depends_on_order_and_content() -> None:
    a, b = {"input_ids": [1]}, {"input_ids": [2]}
    assert hash_rows([a, b]) == hash_rows([dict(a), dict(b)]) != hash_rows([b, a])
