"""The blank that SentencePiece tokenizers put before text, and text as ids with or without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BLANK = "▁"  # how SentencePiece writes a blank
_ANCHOR = "\0"  # becomes a byte token, which no merge joins to its neighbors


@dataclass(frozen=True, slots=True)
class LeadingBlank:
    """Where a tokenizer puts a blank of its own: at the start of a text, and at that of text after a special token."""

    at_start: bool = False
    after_special: bool = False


NO_BLANK = LeadingBlank()  # byte-level tokenizers


def find_leading_blank(tokenizer: Any, special: str) -> LeadingBlank:
    """Return where a tokenizer puts a blank, tried on a letter; `special` is one of its special tokens."""
    alone = tokenizer("a", add_special_tokens=False)["input_ids"]
    if not _token(tokenizer, alone[0]).startswith(BLANK):
        return NO_BLANK
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    if normalizer is not None and normalizer.normalize_str("a").startswith(BLANK):
        # each text between special tokens is normalized; where these are as well, an old fault, the trial would miss it
        return LeadingBlank(at_start=True, after_special=True)
    after = tokenizer(f"{special}a", add_special_tokens=False)["input_ids"]
    return LeadingBlank(at_start=True, after_special=_token(tokenizer, after[1]).startswith(BLANK))


def _token(tokenizer: Any, number: int) -> str:
    return str(tokenizer.convert_ids_to_tokens([number])[0])


def encode_plain(tokenizer: Any, text: str, *, adds_blank: bool, blank: bool) -> list[int]:
    """Return the ids of text without special tokens, with a blank before it where `blank` says so.

    `adds_blank` is whether the tokenizer itself puts one before every text that it is given.
    """
    if not adds_blank:
        return _ids(tokenizer, text)
    # Some tokenizers leave their blank out where the text already begins with one: behind the anchor none does.
    anchor = _ids(tokenizer, _ANCHOR)
    return _ids(tokenizer, _ANCHOR + (" " if blank else "") + text)[len(anchor) :]


def decode_continuing(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return the text of tokens that follow other text; at the start of a text, a tokenizer drops the blank."""
    before = _ids(tokenizer, "a")
    text = tokenizer.decode([*before, *ids], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return str(text).removeprefix("a")


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
