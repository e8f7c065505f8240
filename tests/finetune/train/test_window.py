"""A conversation that outgrows the window loses its oldest turns, and never its system message."""

import pytest

from finetune.templates.messages import Message
from finetune.train.generate import generate
from finetune.train.load import LoadedModel, load_plain
from finetune.train.window import answer_room, fit_window, window_of
from quire import UsageError

SYSTEM = Message("system", "Answer in one word.")
TURNS = [Message(role, f"{role} {n} " + "word " * 50) for n in range(6) for role in ("user", "assistant")]
LAST = Message("user", "And the cow?")


@pytest.fixture(scope="module")
def loaded(models: dict[str, str]) -> LoadedModel:
    return load_plain(models["qwen2"], device="cpu")


def test_the_oldest_turns_are_dropped_and_the_system_message_is_kept(loaded: LoadedModel) -> None:
    kept, dropped = fit_window(loaded, [SYSTEM, *TURNS, LAST], max_new_tokens=256)
    assert kept == [SYSTEM, *TURNS[dropped:], LAST]
    assert dropped > 0 and dropped % 2 == 0 and len(kept) > 2

    def tokens(messages: list[Message]) -> int:
        return len(loaded.template.encode_prompt(loaded.tokenizer, messages))

    assert tokens(kept) + 256 <= window_of(loaded) == 2048
    assert tokens([SYSTEM, *TURNS[dropped - 2 :], LAST]) + 256 > 2048  # no more was dropped than necessary


def test_a_conversation_that_fits_is_not_changed(loaded: LoadedModel) -> None:
    assert fit_window(loaded, [SYSTEM, LAST], max_new_tokens=256) == ([SYSTEM, LAST], 0)


def test_a_message_that_never_fits_is_refused_with_the_numbers(loaded: LoadedModel) -> None:
    with pytest.raises(UsageError, match=r"needs \d+ tokens and the answer 2040.*2048"):
        fit_window(loaded, [*TURNS[:2], LAST], max_new_tokens=2040)


def test_an_answer_ends_with_the_window(loaded: LoadedModel) -> None:
    assert answer_room(loaded, 2000, 100) == 48
    with pytest.raises(UsageError, match="shorten the prompt"):
        generate(loaded, [Message("user", "word " * 3000)], max_new_tokens=1)
