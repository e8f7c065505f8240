"""Token F1: the words that an answer shares with the expected one, as SQuAD counts them."""

from __future__ import annotations

import re
from collections import Counter

_ARTICLES = frozenset(("a", "an", "the"))
_CITATION = re.compile(r"\[\d+(?:\s*[,;–-]\s*\d+)*\]")
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")


def token_f1(expected: str, answer: str) -> float | None:
    """Return the F1 of the tokens of two texts, 0 to 1; None if the expected answer has no token.

    Case, punctuation, articles, citations and thousands separators do not count; a token counts as often as it occurs.
    """
    wanted, given = _tokens(expected), _tokens(answer)
    if not wanted:
        return None
    shared = (wanted & given).total()
    return 2 * shared / (wanted.total() + given.total())


def token_recall(expected: str, answer: str) -> float:
    """Return the share of the expected answer's tokens that an answer contains, 0 to 1; tokens are those of F1."""
    wanted = _tokens(expected)
    return (wanted & _tokens(answer)).total() / max(1, wanted.total())


def _tokens(text: str) -> Counter[str]:
    found = _TOKEN.findall(_CITATION.sub(" ", text).lower())
    return Counter(token.replace(",", "") for token in found if token not in _ARTICLES)
