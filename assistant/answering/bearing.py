"""How much a statement bears on a question: words, heading, and the kind of answer that it holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from assistant.answering.statements import Statement
from assistant.retrieval.features import (
    asks_for_amount,
    inverse_frequency,
    plain_years,
    question_terms,
    without_measure,
)
from assistant.retrieval.search import REFERENCE_MARK
from ingest import numbers, terms

# All words of the question in the statement itself are worth 1; docs/assistant.md has what the others are worth.
PAIRS = 0.1  # all of its neighboring words, side by side
HEADING = 0.25  # all of its words in the heading above a sentence
ROW_HEADING = 0.8  # the same for a table row, whose column heads say what it is about
LABEL = 0.3  # a table row whose label has no other words
KIND = 0.4  # a figure, date or name where the question asks for one; all of its words in front of "is"
FRAGMENT = 0.5  # taken off what says nothing by itself
REFERENCE = 0.3  # taken off an entry of a list of references
RANK = 0.1  # taken off for each better passage

_FIRST = r"(?:^|[,;:]\s*|\band\s+)(?:{})\b"  # where a question begins; elsewhere "when" and "who" ask for nothing
_KINDS = {
    "date": _FIRST.format("when|wann|quand|cu[aá]ndo") + r"|\b(?:what|which) (?:year|date|day|month)\b",
    "amount": r"\bhow (?:long|old|far|large|big|high|fast|tall|deep|wide|heavy)\b|\bwie ?(?:viele?|lange?|hoch|groß)\b"
    r"|\bcombien\b|\bcu[aá]nt[oa]s?\b",
    "name": _FIRST.format("who|whom|whose|where|wer|wen|wem|wo|où|qui|qui[eé]n|d[oó]nde"),
    "definition": _FIRST.format(
        "what(?: is| are|['’]s)|define|was (?:ist|sind|bedeutet)|qu['’]est-ce|qu[eé] (?:es|son)"
    )
    + r"|\bwhat does .* mean\b",
}
_KINDS_COMPILED = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _KINDS.items()}
_ASKED = re.compile(r"[^.!?]*\?")
_COPULA = re.compile(
    r"\b(?:is|are|was|were|means|refers|ist|sind|bedeutet|est|sont|es|son|è|sono)\b|:(?=\s)", re.IGNORECASE
)
_SUBJECT_WORDS = 8  # before "is"
_MIN_PREDICATE = 12  # characters after it
_YEAR = re.compile(r"(?:1\d|20)\d\d")
_DATE = re.compile(r"\b(?:1\d|20)\d\d\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b")
_NUMBER_WORD = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|hundred)\b", re.IGNORECASE
)
_MARK = re.compile(r"\[[^\]\s]{1,6}\]")  # of a reference or footnote


def wanted_kind(question: str) -> str:
    """Return what a question asks for: "date", "amount", "name", "definition", or "" for an explanation."""
    asked = (" ".join(_ASKED.findall(question)) or question).strip()
    for kind in ("date", "amount", "name"):
        if _KINDS_COMPILED[kind].search(asked):
            return kind
    if asks_for_amount(asked):
        return "amount"
    return "definition" if _KINDS_COMPILED["definition"].search(asked) else ""


class Bearing:
    """What is asked, compared with statements among which rare words of the question weigh more."""

    def __init__(self, question: str, statements: Sequence[Statement]) -> None:
        self.kind = wanted_kind(question)
        self._question = question
        self._terms = [terms(statement.text) for statement in statements]
        wanted = question_terms(question)
        self._pairs = {
            pair for pair in pairwise(terms(plain_years(without_measure(question)))) if set(pair) <= set(wanted)
        }
        held = Counter(term for found in self._terms for term in set(found).intersection(wanted))
        weights = {term: inverse_frequency(held[term], len(statements)) for term in wanted}
        total = sum(weights.values()) or 1.0
        self._weights = {term: weight / total for term, weight in weights.items()}
        headings = {statement.heading: set(terms(statement.heading)) for statement in statements}
        self.scores = [
            self._score(statement, found, headings[statement.heading])
            for statement, found in zip(statements, self._terms, strict=True)
        ]

    def holds_answer(self, statement: Statement) -> float:
        """Return how far a statement holds the kind of answer that is asked for, 0 to 1."""
        text, asked = _MARK.sub(" ", statement.text), self._question
        if self.kind == "amount":
            figures = (number for number in numbers(text) - numbers(asked) if not _YEAR.fullmatch(number))
            return float(any(figures) or bool(_NUMBER_WORD.search(text)))
        if self.kind == "date":
            return float(bool(set(_DATE.findall(text)).difference(_DATE.findall(asked))))
        if self.kind == "name":
            words = (word.strip(".,;:()") for word in text.split()[1:])
            return float(any(word[:1].isupper() and word.lower() not in asked.lower() for word in words))
        return self._defines(text) if self.kind == "definition" else 0.0

    def _score(self, statement: Statement, found: Sequence[str], heading: set[str]) -> float:
        own = set(found)
        answers = self.holds_answer(statement)
        score = self._share(own) + KIND * answers - RANK * statement.passage
        score += (ROW_HEADING if statement.is_row else HEADING) * self._share(heading - own)
        score += PAIRS * len(self._pairs.intersection(pairwise(found))) / (len(self._pairs) or 1)
        if statement.is_row:
            label = {term for term in own if not term.isdigit()}
            score += LABEL * len(label.intersection(self._weights)) / (len(label) or 1)
        if statement.is_fragment and (statement.text.endswith("?") or self.kind == "definition" or not answers):
            score -= FRAGMENT
        return score - REFERENCE * bool(REFERENCE_MARK.search(statement.text))

    def _share(self, found: set[str]) -> float:
        return sum(weight for term, weight in self._weights.items() if term in found)

    def _defines(self, text: str) -> float:
        """Return the share of the question's words that stand in front of "is": what the sentence is about."""
        subjects = (
            set(terms(" ".join(text[: match.start()].split()[-_SUBJECT_WORDS:])))
            for match in _COPULA.finditer(text)
            if len(text) - match.end() >= _MIN_PREDICATE
        )
        return max(map(self._share, subjects), default=0.0)
