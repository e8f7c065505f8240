"""Formats of pairs: a chosen and a rejected answer, or two answers and a verdict."""

from collections.abc import Callable, Iterator

from finetune.data.records import Conversation, Preference, Record
from finetune.data.sources.chat_formats import count_repeated
from finetune.data.sources.fields import Fields, Values, has_fields
from finetune.data.sources.meanings import REJECTED, is_set
from finetune.data.sources.prompts import find_prompt, has_prompt, is_rendered_prompt, prompt_field, read_prompt
from finetune.data.sources.row_format import Builder, Format, first_match
from finetune.data.sources.transcripts import ASSISTANT, merge_turns, split_transcript
from finetune.errors import InvalidRecord
from finetune.templates.messages import Message

ANSWER_FIELDS = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("response_j", "response_k"),
    ("preferred_output", "non_preferred_output"),
)


def hh_rlhf(row: Fields) -> Iterator[Record]:
    """Read two transcripts that differ in the last answer."""
    chosen = split_transcript(row.text("chosen"), row.place)
    rejected = split_transcript(row.text("rejected"), row.place)
    if chosen[:-1] != rejected[:-1]:
        raise InvalidRecord("chosen and rejected begin with unequal conversations")
    yield Preference(merge_turns(chosen[:-1]), chosen[-1:], rejected[-1:], **row.place.origin())


def is_hh_rlhf(values: Values) -> bool:
    """Return whether `chosen` and `rejected` are transcripts."""
    return all(
        isinstance(values.get(name), str) and values[name].lstrip().startswith("Human:") and ASSISTANT in values[name]
        for name in ("chosen", "rejected")
    )


def preference(row: Fields) -> Iterator[Record]:
    """Read a chosen and a rejected answer, with or without the conversation that both begin with."""
    _reject_poor_pair(row.values)
    best, worst = next((pair for pair in ANSWER_FIELDS if pair[0] in row.values), ANSWER_FIELDS[0])
    prompt = find_prompt(row) if has_prompt(row.values) else ()
    rendered = is_rendered_prompt(row, prompt)
    chosen, rejected = row.answer(best, rendered=rendered), row.answer(worst, rendered=rendered)
    shared = _count_shared(chosen, rejected)
    if shared:  # whole conversations include their prompt
        prompt = _with_shared(prompt, chosen[:shared])
    prompt = row.opened(prompt, history=prompt_field(row) != "history")
    if not prompt:
        raise InvalidRecord("chosen and rejected begin with unequal conversations, and there is no prompt")
    yield Preference(prompt, chosen[shared:], rejected[shared:], **row.place.origin())


def beside_rejected(formats: tuple[Format, ...]) -> Builder:
    """Return a builder for rows of these formats of conversations, with a rejected answer in a field of its own."""

    def build(row: Fields) -> Iterator[Record]:
        name = next((name for name in REJECTED if is_set(row.values.get(name))), "")
        if not name:
            raise row.place.error(f"`{REJECTED[0]}` is missing (fields: {', '.join(row.values)})")
        for record in first_match(formats, row.values).build(row):
            if not isinstance(record, Conversation):
                raise row.place.error("a rejected answer needs a conversation")
            prompt, chosen = record.messages[:-1], record.messages[-1:]
            rejected = row.answer(name)
            repeated = count_repeated(prompt, rejected)
            yield Preference(prompt, chosen, rejected[repeated:], **row.place.origin())

    return build


def has_rejected(values: Values) -> bool:
    """Return whether a row has a rejected answer in a field of its own."""
    return any(is_set(values.get(name)) for name in REJECTED)


def is_preference(values: Values) -> bool:
    """Return whether a row has a chosen and a rejected answer under any of their names."""
    return any(best in values and worst in values for best, worst in ANSWER_FIELDS)


def preference_with(*fields: str) -> Callable[[Values], bool]:
    """Return a test for pairs that also have all these fields."""
    return lambda values: is_preference(values) and has_fields(*fields)(values)


def _with_shared(prompt: tuple[Message, ...], shared: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the prompt of two whole conversations, with the system message and the earlier turns of the prompt field.

    Raises InvalidRecord for a prompt field that says something else than the conversations.
    """

    def plain(turns: tuple[Message, ...]) -> list[tuple[str, str]]:
        return [(turn.role, " ".join(turn.text.split())) for turn in turns if turn.role != "system"]

    given, common = plain(prompt), plain(shared)
    if not given:
        return (*prompt, *shared)
    if given == common[: len(given)]:  # the field repeats the beginning, or all of it
        return shared if shared[0].role == "system" or prompt[0].role != "system" else (prompt[0], *shared)
    if common == given[-len(common) :]:  # the field has the earlier turns too
        return prompt
    raise InvalidRecord("chosen and rejected begin with unequal conversations: with another question than the prompt")


def _reject_poor_pair(values: Values) -> None:
    """Raise InvalidRecord for a pair that the makers of its data set advise against."""
    if values.get("status") == "tie":
        raise InvalidRecord("the raters saw a tie")
    if isinstance(values.get("chosen_score"), int | float) and "status" in values and values["chosen_score"] < 8:
        raise InvalidRecord("the chosen answer scores below 8")
    if values.get("in_gsm8k_train") is True:
        raise InvalidRecord("the question is from GSM8K's training set")
    good, bad = values.get("score_chosen"), values.get("score_rejected")
    if good is not None and good == bad:
        raise InvalidRecord("chosen and rejected have the same score")


def _count_shared(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> int:
    """Count the messages that both conversations begin with; at least one of each is left as the answer.

    What begins with the assistant is an answer of several turns, not a whole conversation: it shares nothing.
    """
    shared = 0
    if chosen and chosen[0].role == "assistant":
        return shared
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return shared


def two_answers(first: str, second: str, verdict: Callable[[Fields], float]) -> Callable[[Fields], Iterator[Record]]:
    """Return a builder for rows of two answers; `verdict` is below 0 for the first, above 0 for the second."""

    def build(row: Fields) -> Iterator[Record]:
        preferred = verdict(row)
        if preferred == 0:
            raise InvalidRecord("the raters saw a tie")
        best, worst = (first, second) if preferred < 0 else (second, first)
        prompt = read_prompt(row, "prompt")
        rendered = is_rendered_prompt(row, prompt)
        chosen, rejected = row.answer(best, rendered=rendered), row.answer(worst, rendered=rendered)
        yield Preference(row.opened(prompt), chosen, rejected, **row.place.origin())

    return build


def better_response(row: Fields) -> float:
    """Return the verdict of PKU-SafeRLHF."""
    better = row.value("better_response_id")
    if better not in (0, 1) or isinstance(better, bool):
        raise row.place.error(f"`better_response_id` must be 0 or 1, found {better!r}")
    return -1.0 if better == 0 else 1.0


def preference_strength(row: Fields) -> float:
    """Return the verdict of HelpSteer's preferences."""
    return row.number("preference_strength")


def shp(row: Fields) -> Iterator[Record]:
    """Read two comments on a post, and which of them was voted higher; rows of one post are a group."""
    label = row.value("labels")
    if label not in (0, 1):
        raise row.place.error(f"`labels` must be 1 if A is preferred, else 0, found {label!r}")
    prompt = (Message("user", row.text("history")),)
    first, second = row.answer("human_ref_A"), row.answer("human_ref_B")
    chosen, rejected = (first, second) if label == 1 else (second, first)
    yield Preference(prompt, chosen, rejected, **{**row.place.origin(), "group": str(row.values.get("post_id", ""))})
