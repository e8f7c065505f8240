import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.answering.budget import count_messages, distinct, pack
from assistant.errors import PromptTooLong
from tests.assistant.helpers import MOON, passage


def count(text: str) -> int:
    return len(text.split())


def long_passages(n: int) -> list:
    return [passage(f"Fact {i} is here. " + "word " * 60, rank=i, page=i) for i in range(1, n + 1)]


@settings(max_examples=50, deadline=None)
@given(
    window=st.integers(256, 2000),
    max_tokens=st.integers(1, 4000),
    passages=st.integers(0, 12),
    turns=st.integers(0, 12),
)
def test_prompt_and_answer_never_pass_the_window(window, max_tokens, passages, turns):
    history = [(f"question {i} " + "a " * 30, "answer " * 40) for i in range(turns)]
    try:
        packed = pack(
            "What is it?", long_passages(passages), count=count, window=window, max_tokens=max_tokens, history=history
        )
    except PromptTooLong:
        assert window < 600
        return
    assert count_messages(packed.messages, count) <= packed.prompt_tokens
    assert packed.prompt_tokens + min(max_tokens, window // 2) <= window
    assert packed.messages[0].role == "system"
    assert packed.messages[-1].content.endswith("Question: What is it?")
    assert len(packed.passages) + packed.dropped_passages == passages


def test_the_best_passages_stay_and_the_rest_is_counted_in_a_notice():
    packed = pack("What?", long_passages(10), count=count, window=700, max_tokens=100)
    assert [p.rank for p in packed.passages] == list(range(1, len(packed.passages) + 1))
    assert packed.dropped_passages == 10 - len(packed.passages) > 0
    assert packed.notices == (
        f"{packed.dropped_passages} of 10 passages did not fit the model's window and were dropped.",
    )


def test_the_newest_turns_stay():
    history = [(f"q{i}", "a " * 100) for i in range(10)]
    packed = pack("What?", [], count=count, window=1000, max_tokens=100, history=history)
    kept = [message.content for message in packed.messages if message.role == "user"][:-1]
    assert kept == [f"q{i}" for i in range(10)][-len(kept) :]
    assert packed.dropped_turns == 10 - len(kept) > 0
    assert "earlier turns" in packed.notices[0]


def test_a_passage_too_long_for_a_small_window_is_truncated_at_a_sentence():
    text = "First fact is true. " + "Second fact is true. " * 100
    packed = pack("What?", [passage(text)], count=count, window=420, max_tokens=50)
    (kept,) = packed.passages
    assert kept.text.startswith("First fact is true.")
    assert kept.text.endswith("true.")
    assert text.startswith(kept.text)
    assert kept.end == len(kept.text)


def test_the_same_words_are_sent_once():
    inner = passage("It has no air.", document="b.pdf")
    assert distinct([passage("It has  no air. Nobody lives there."), inner, passage(MOON)])[1].text == MOON


def test_a_question_that_does_not_fit_is_an_error_with_a_hint():
    with pytest.raises(PromptTooLong, match="shorten the question"):
        pack("word " * 500, [], count=count, window=512, max_tokens=10)
