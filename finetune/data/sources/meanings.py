"""What the fields beside a row's texts mean: used, without effect, or not possible to honor.

Detection, loading, `quire finetune data check` and docs/data.md read these tables.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from finetune.errors import NotHonored

SYSTEM = ("system", "system_prompt", "system_message")
HISTORY = ("history", "chat_history", "conversation_history", "dialogue_history")
CONVERSATION = (*SYSTEM, *HISTORY)  # what every format of conversations and pairs reads
# Other names of fields, where a row has no field of the first name itself.
ALIASES = {
    **dict.fromkeys(("sys", "sys_prompt", "system_msg", "system_instruction", "system_text", "preprompt", "pre_prompt"), "system"),
    **dict.fromkeys(("previous_messages", "past_messages", "prior_messages", "previous_turns", "prior_turns", "earlier_turns",
                     "message_history", "dialog_history", "history_messages"), "history"),
    **dict.fromkeys(("bad_response", "rejected_text", "dispreferred_response"), "rejected_response"),
}  # fmt: skip
REJECTED = (
    "rejected_response", "rejected_messages", "rejected_output", "rejected_answer", "rejected_completion", "rejected",
)  # fmt: skip
_MARKS = (
    "kto_tag", "kto_label", "label", "labels", "binary_label", "completion_label", "desirable", "is_desirable", "wanted",
    "is_wanted", "good", "is_good", "thumbs_up", "thumbs", "liked", "is_liked", "upvoted", "accepted", "is_accepted",
    "approved", "is_preferred", "preferred", "is_chosen", "is_positive", "is_correct", "correct", "feedback", "vote",
    "verdict", "rating", "reward", "score", "thumb", "like", "upvote", "helpful", "is_helpful", "human_label",
    "human_feedback", "user_feedback", "reaction", "judgment", "judgement", "is_valid", "passed", "quality",
)  # fmt: skip
INVERTED_MARKS = (
    "undesirable", "is_undesirable", "unwanted", "bad", "is_bad", "thumbs_down", "disliked", "downvoted", "is_rejected",
    "dislike", "downvote",
)  # fmt: skip
MARKS = (*_MARKS, *INVERTED_MARKS)


def is_set(value: object) -> bool:
    """Return whether a value of a field says anything: not null, empty, false, or a text such as `[]`."""
    if isinstance(value, float) and math.isnan(value):
        return False
    if isinstance(value, str):
        return value.strip().lower() not in ("", "[]", "{}", "null", "none", "nan", "false")
    return bool(value)


def _is_weighted(value: object) -> bool:
    """Return whether a weight is a number other than 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value) and value != 1


def _is_off(value: object) -> bool:
    """Return whether a value says no: 0, false, or a text of these."""
    return str(value).strip().lower() in ("0", "0.0", "false", "no")


def _is_on(value: object) -> bool:
    return is_set(value) and not _is_off(value)


def _is_given(value: object) -> bool:
    return value is not None and value != ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Fields that decide what a row teaches and that training cannot follow; a row that `sets` one is left out."""

    what: str
    names: tuple[str, ...]
    why: str
    sets: Callable[[object], bool] = is_set
    kinds: tuple[str, ...] = ("conversation", "pair", "label", "text")  # of formats


_TOOL_CALLS = ("tool_calls", "tool_call", "function_call", "function_calls")
_REASONING = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts", "chain_of_thought", "cot", "think")
_MEDIA = (
    "images", "image", "image_url", "videos", "video", "audios", "audio", "objects",
)  # fmt: skip

# A row that has one of these, where its format does not read it, is left out and named.
ROW_RULES = (
    Rule("tools", ("tools", "functions", "function_definitions", "tool_definitions", "available_tools", *_TOOL_CALLS),
         "tools and tool calls are not trained: no template has a place for them"),
    Rule("images, audio, video", _MEDIA, "images, audio and video are not trained"),
    Rule("reasoning", (*_REASONING, "rationale", "complex_cot", "reasoning_trace"),
         "reasoning beside the answer is not trained", kinds=("conversation", "label")),
    Rule("rejected answer", REJECTED, "the row has a rejected answer, which most rows of this file lack",
         kinds=("conversation", "label", "text")),
    Rule("earlier turns", HISTORY, "this format has no earlier turns"),
    Rule("system message", SYSTEM, "this format has no system message"),
    Rule("context", ("context", "documents", "passages"), "this format has no place for it"),
    Rule("input", ("input",), "this format has no place for it", kinds=("conversation", "label")),
    Rule("weight", ("weight", "weights", "sample_weight", "loss_weight", "example_weight", "row_weight", "instance_weight"),
         "rows are trained with a weight of 1", _is_weighted),
    Rule("loss mask", ("loss_mask", "mask"), "the template decides which tokens are trained"),
    Rule("not trained", ("train", "trainable", "is_trainable", "use_for_training", "include", "loss"),
         "the row says that it is not to be trained", _is_off),
    Rule("excluded", ("exclude", "excluded", "ignore", "ignored", "skip"), "the row says that it is not to be trained",
         _is_on),
)  # fmt: skip

# The same for one message of a list.
MESSAGE_RULES = (
    Rule("tool calls", (*_TOOL_CALLS, "tools", "functions"), ROW_RULES[0].why),
    Rule("reasoning", _REASONING, ROW_RULES[2].why),
    Rule("images, audio, video", _MEDIA, ROW_RULES[1].why),
    Rule("rejected answer", REJECTED, "a message has no rejected answer here; give whole pairs"),
    Rule("part of a turn", ("train_detail", "training_detail"), "a turn is trained whole or not at all"),
    Rule("mask", ("mask", "masked"), "it may mean trained or not; say it with `train`: true or false", _is_given),
    Rule("excluded", ("exclude", "excluded", "ignore", "ignored", "skip"), "say it with `train`: false", _is_on),
)
# A turn of the assistant is part of the prompt when one of these is 0 or false.
TURN_MARKS = (
    "weight",
    "train",
    "training",
    "trainable",
    "trained",
    "loss",
    "loss_mask",
    "loss_weight",
    "loss_scale",
    "learn",
    "train_on",
    "train_on_turn",
    "should_train",
    "is_trained",
    "mask_loss",
)
_INVERTED_TURN_MARKS = ("mask_loss",)
MESSAGE_FIELDS = ("role", "from", "speaker", "content", "value", "text", "context")


@cache
def _rules(rules: tuple[Rule, ...]) -> dict[str, Rule]:
    return {name: rule for rule in rules for name in rule.names}


@cache
def _decisive(names: tuple[str, ...], rules: tuple[Rule, ...], reads: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Return those of a row's fields that a rule is about; rows of one file have few different sets of fields."""
    table = _rules(rules)
    return tuple(name for name in names if name in table and name not in reads and kind in table[name].kinds)


def refuse_unhonored(values: Mapping[str, Any], reads: tuple[str, ...] = (), kind: str = "conversation") -> None:
    """Raise NotHonored for a row that sets a field which its format does not read and training cannot follow."""
    for name in _decisive(tuple(values), ROW_RULES, reads, kind):
        rule = _rules(ROW_RULES)[name]
        if rule.sets(values[name]):
            raise NotHonored(f"`{name}` is set: {rule.why}")


def refuse_message(values: Mapping[str, Any], what: str) -> None:
    """Raise NotHonored for a message with tool calls, reasoning or another part that training cannot follow."""
    for name in _decisive(tuple(values), MESSAGE_RULES, (), "conversation"):
        rule = _rules(MESSAGE_RULES)[name]
        if rule.sets(values[name]):
            raise NotHonored(f"{what} has `{name}`: {rule.why}")


@cache
def turn_marks_in(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields of a message that say whether it is trained."""
    return tuple(name for name in TURN_MARKS if name in names)


def is_trained(values: Mapping[str, Any], what: str, *, of_assistant: bool) -> bool:
    """Return whether a message is marked as trained, or not marked at all.

    Raises NotHonored for a weight between 0 and 1, for marks that contradict each other, and for a turn of the user that
    is to be trained.
    """
    found = set()
    for name in turn_marks_in(tuple(values)):
        value = values[name]
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
        text = str(value).strip().lower()
        if text in ("", "none", "null"):
            continue
        if text not in known:
            raise NotHonored(f"{what} has `{name}` {value!r}: a turn is trained whole or not at all")
        wanted = known[text] != (name in _INVERTED_TURN_MARKS)
        if wanted and not of_assistant and not name.endswith("weight"):
            raise NotHonored(f"{what} has `{name}` {value!r}: only answers of the assistant are trained")
        found.add(wanted)
    if len(found) > 1:
        raise NotHonored(f"{what} is marked both as trained and as not trained")
    return found != {False} or not of_assistant


def unread_fields(names: Iterable[str], reads: Iterable[str]) -> list[str]:
    """Return the fields of rows that have no effect, in their order."""
    known = {*reads, *_rules(ROW_RULES), "split_group", "format"}
    return [name for name in names if name not in known]


def unread_message_fields(names: Iterable[str]) -> list[str]:
    """Return the fields of messages that have no effect, in their order."""
    known = {*MESSAGE_FIELDS, *TURN_MARKS, *_rules(MESSAGE_RULES)}
    return [name for name in names if name not in known]
