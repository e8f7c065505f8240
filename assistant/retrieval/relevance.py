"""Says how surely a passage is evidence for a question, alike for every store; it orders nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.retrieval.ranking import share, word_forms, words_of

NEARNESS = 0.7  # the rest is the share of the question's words; how both were found: docs/evaluation.md
MISSING_NAMES = 0.3  # taken off where all names of the question are missing; 0.2 to 0.5 do about as well

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
_TOKEN = re.compile(r"[A-Za-z0-9][\w&'’.-]*")
_PART = re.compile(r"[a-z0-9&]+")


@dataclass(frozen=True)
class Asked:
    """What a question asks for: its content words, each by all its forms, and the names in it."""

    words: tuple[frozenset[str], ...]
    names: tuple[str, ...]


def read_question(question: str) -> Asked:
    """Return what a question asks for, to be compared with every page that was found."""
    return Asked(word_forms(question), tuple(names_in(question)))


def relevance(asked: Asked, cosine: float, text: str, document: str) -> float:
    """Return 0 to 1: nearness and the share of the question's words on the page, lessened by the names that are missing.

    The cosine alone is low where a question is short and its page full (0.35 for a question whose every word stands on
    the page, in a handbook), and cannot tell a question about one company from the same about another.
    """
    surroundings = f"{document} {text}".replace("_", " ")
    figure = NEARNESS * cosine + (1 - NEARNESS) * share(asked.words, words_of(surroundings))
    return max(0.0, figure) * (1 - MISSING_NAMES * _missing(asked.names, surroundings, document))


def _missing(names: Sequence[str], surroundings: str, document: str) -> float:
    if not names:
        return 0.0
    there = set(_PART.findall(surroundings.lower()))
    joined = re.sub(r"[^a-z0-9]", "", document.lower())  # "AMERICANEXPRESS_2022" holds "American" and "Express"
    missing = sum(
        not (set(_PART.findall(name)) <= there or (len(name) > 2 and _plain(name) in joined)) for name in names
    )
    return missing / len(names)


def names_in(question: str) -> list[str]:
    """Return what a question names, in lower case: words with a capital that begin no sentence, codes and numbers.

    FY2018 counts as 2018.
    """
    found = []
    for sentence in _SENTENCE_END.split(question):
        tokens = [re.sub(r"['’]s$", "", token.strip(".'’-")) for token in _TOKEN.findall(sentence)]
        for position, token in enumerate(tokens):
            if position == 0 and not _is_code(token):
                continue
            if any(c.isupper() or c.isdigit() for c in token):
                found.append(re.sub(r"^fy(?=\d)", "", token.lower()))
    return list(dict.fromkeys(found))


def _is_code(token: str) -> bool:
    return any(c.isdigit() for c in token) or (len(token) > 1 and token.isupper())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name)
