"""Marks of wanted and unwanted answers, told from labels that are only a topic."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from finetune.data.sources.fields import Fields
from finetune.data.sources.meanings import INVERTED_MARKS, MARKS
from finetune.data.sources.row import Row
from finetune.errors import InvalidRecord

_WANTED = (
    "true", "1", "1.0", "good", "desirable", "wanted", "chosen", "accepted", "accept", "positive", "thumbs_up", "thumbs up",
    "up", "liked", "like", "upvote", "yes", "correct", "preferred", "approved", "helpful", "👍", "+1", "pos", "t", "y",
)  # fmt: skip
_UNWANTED = (
    "false", "0", "0.0", "bad", "undesirable", "unwanted", "rejected", "reject", "negative", "thumbs_down", "thumbs down",
    "down", "disliked", "dislike", "downvote", "no", "incorrect", "wrong", "not preferred", "disapproved", "unhelpful",
    "👎", "-1", "-1.0", "neg", "f", "n",
)  # fmt: skip
_VALUES = {**dict.fromkeys(_WANTED, True), **dict.fromkeys(_UNWANTED, False)}
_LABELS = ("label", "labels", "human_label")  # names that classification uses too
_NUMBERS = ("score", "reward", "rating", "quality")  # names whose numbers are grades
# Words that are topics as often as marks.
_TOPIC_WORDS = {"0", "1", "0.0", "1.0", "-1", "-1.0", "positive", "negative", "pos", "neg", "yes", "no", "y", "n", "correct", "incorrect"}  # fmt: skip
# Words that mark answers under any name.
_CLEAR_WORDS = _VALUES.keys() - _TOPIC_WORDS - {"true", "false", "t", "f"}
_MAX_VALUES = 8  # distinct values of a mark; more are a topic


@dataclass(frozen=True, slots=True)
class Mark:
    """The field that marks answers; `ambiguous` if its values could as well be a topic."""

    name: str
    values: tuple[str, ...]
    ambiguous: bool


def find_mark(rows: Sequence[Row], reads: Collection[str], *, numbers_are_marks: bool) -> Mark | None:
    """Return the field by which the rows mark answers as wanted or not, or None; `reads` are the fields of their texts.

    A `label` with other values than those of marks is a topic. `numbers_are_marks` says that 0 and 1 are not ambiguous
    in this format, as beside `prompt` and `completion`. A field of another name is one, and ambiguous, if it has words
    such as good and bad.
    """
    names = dict.fromkeys(name for shape in {tuple(row.values): None for row in rows} for name in shape)
    for name in MARKS:
        if name in names and (mark := _as_mark(name, rows, numbers_are_marks=numbers_are_marks)):
            return mark
    others = (name for name in names if name not in MARKS and name not in reads)
    return next((mark for name in others if (mark := _as_clear_words(name, rows))), None)


def _as_clear_words(name: str, rows: Sequence[Row]) -> Mark | None:
    found: set[str] = set()
    for row in rows:
        value = row.values.get(name)
        if _is_missing(value):
            continue
        if not isinstance(value, str) or (word := _plain(value)) not in _CLEAR_WORDS:
            return None
        found.add(word)
    both = {_VALUES[word] for word in found} == {True, False}
    return Mark(name, tuple(sorted(found)), ambiguous=True) if both else None


def _as_mark(name: str, rows: Sequence[Row], *, numbers_are_marks: bool) -> Mark | None:
    plain: set[str] = set()
    booleans = False
    for row in rows:
        value = row.values.get(name)
        if _is_missing(value):
            continue
        if isinstance(value, list | dict) or (name in _NUMBERS and not isinstance(value, bool)):
            return None
        booleans = booleans or isinstance(value, bool)
        plain.add(_plain(value))
        if len(plain) > _MAX_VALUES:
            return None
    if not plain or not (plain <= _VALUES.keys() or booleans or name == "kto_tag"):
        return None
    numeric = all(value[-1].isdigit() for value in plain)
    ambiguous = name in _LABELS and not booleans and plain <= _TOPIC_WORDS and not (numbers_are_marks and numeric)
    return Mark(name, tuple(sorted(plain)), ambiguous)


def wanted(row: Fields, name: str) -> bool:
    """Return whether a row's answer is marked as wanted; raises MalformedRow for another value, InvalidRecord without."""
    value = row.value(name)
    if _is_missing(value):
        raise InvalidRecord(f"`{name}` is empty: the answer is marked neither as wanted nor as unwanted")
    plain = _plain(value)
    if isinstance(value, list | dict) or plain not in _VALUES:
        raise row.place.error(f"`{name}` must be true or false, found {value!r}")
    return _VALUES[plain] != (name in INVERTED_MARKS)


def _is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _plain(value: object) -> str:
    return str(value).strip().lower()
