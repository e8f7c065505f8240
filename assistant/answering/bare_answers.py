"""Answers that answer nothing: a number in brackets, a lone yes or no, a heading or line of a page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from assistant.answering.answer_filter import CITATION_MARK
from assistant.retrieval.search import Passage

FIRMER = "Answer in one full sentence from the passages."  # added to the question when it is asked once more

_MAX_LINE = 80  # characters of a line that can be taken for a heading; longer ones say something
_VERDICTS = "yes no true false correct ja nein richtig falsch oui non vrai faux sí si verdadero falso да нет نعم لا 是 是的 否 不是 はい いいえ"


_NUMBER, _NO_NUMBER = re.compile(r"\d{0,2}"), re.compile("")  # of a passage or of an item of a list


class BareCheck:
    """Tells answers that answer nothing, also while they are being written."""

    def __init__(self, passages: Sequence[Passage], *, amount: bool = False) -> None:
        """Take the passages of the prompt, and whether the question asks for an amount: then a number is an answer."""
        self._number = _NO_NUMBER if amount else _NUMBER
        lines = (line for passage in passages for line in (passage.heading, *passage.text.splitlines()))
        self._bare = {
            _plain(line)
            for line in lines
            if len(line) <= _MAX_LINE and not line.rstrip().endswith((".", "!", "?", "。"))
        } | set(_VERDICTS.split())

    def is_bare(self, text: str) -> bool:
        """Return whether a whole answer answers nothing."""
        plain = _plain(text)
        return bool(text.strip()) and (bool(self._number.fullmatch(plain)) or plain in self._bare)

    def may_become_bare(self, text: str) -> bool:
        """Return whether an answer that begins like this may still turn out to be bare."""
        plain = _plain(text)
        return bool(self._number.fullmatch(plain)) or any(line.startswith(plain) for line in self._bare)


def _plain(text: str) -> str:
    """Return a text without citations, marks of Markdown and punctuation at its ends."""
    words = " ".join(CITATION_MARK.sub(" ", text).split()).lower()
    return re.sub(r"^[\W_]+|[\W_]+$", "", words)
