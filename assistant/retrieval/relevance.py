"""Scores from 0 to 1 how likely a page is evidence for a question."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from assistant.retrieval.features import coverage, plain_years, question_terms
from ingest import split_sentences, terms

COSINE = 0.7  # the rest is the share of the question's terms on the page; how both were found: docs/evaluation.md
MISSING_NAMES = 0.3  # taken off where the page lacks all names of the question; 0.2 to 0.5 do about as well

_TOKEN = re.compile(r"[^\W_][\w&'’.-]*")
_MIN_JOINED = 3  # letters of a name that is looked for inside a document's name


@dataclass(frozen=True)
class QueryTerms:
    """What a question asks about: its content terms, and the names in it."""

    terms: tuple[str, ...]
    names: tuple[str, ...]


def query_terms(question: str) -> QueryTerms:
    """Return the terms and names of a question, to be compared with every page that was found."""
    return QueryTerms(tuple(question_terms(question)), tuple(names_in(question)))


def relevance(query: QueryTerms, cosine: float, text: str, document: str) -> float:
    """Return cosine and term coverage as one score from 0 to 1, lowered by the names that are missing.

    The cosine alone is low where a question is short and its page is full (0.35 for a question whose terms are all on
    the page of a handbook), and does not separate a question about one company from the same about another.
    """
    found = set(terms(f"{document} {text}"))
    score = COSINE * cosine + (1 - COSINE) * coverage(query.terms, found)
    return max(0.0, score) * (1 - MISSING_NAMES * _share_missing(query.names, found, document))


def names_in(question: str) -> list[str]:
    """Return what a question names, in lower case: codes, numbers, and capitalized words that begin no sentence.

    FY2018 counts as 2018.
    """
    found = []
    for sentence in split_sentences(plain_years(question)):
        tokens = [re.sub(r"['’]s$", "", token.strip(".'’-")) for token in _TOKEN.findall(sentence.text)]
        for position, token in enumerate(tokens):
            if _is_code(token) or (position > 0 and any(character.isupper() for character in token)):
                found.append(token.lower())
    return list(dict.fromkeys(found))


def _is_code(token: str) -> bool:
    return any(character.isdigit() for character in token) or (len(token) > 1 and token.isupper())


def _share_missing(names: Sequence[str], found: Collection[str], document: str) -> float:
    if not names:
        return 0.0
    joined = _letters_and_digits(document)  # "AMERICANEXPRESS_2022" contains "American" and "Express"
    missing = sum(
        not (
            all(term in found for term in terms(name))
            or (len(name) >= _MIN_JOINED and _letters_and_digits(name) in joined)
        )
        for name in names
    )
    return missing / len(names)


def _letters_and_digits(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))
