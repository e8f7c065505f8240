"""The probability that a page holds the answer, from its ranking and the question's words and names.

A logistic regression whose parameters are in ranking_weights.json, fitted by `python -m benchmarks.refusal`.
docs/evaluation.md has what it refuses, docs/retrieval.md how it was found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from assistant.retrieval.features import PageEvidence, coverage, named_terms, passage_terms, plain_years, question_terms
from assistant.retrieval.weights import stored_weights
from ingest import capitalizes_nouns, content_terms, split_sentences, terms

PAGES = 6  # the best ones, among which the answer is expected
FEW_WORDS = 0.34  # share of the question's terms; below, it is in another language, or about something else
_FAR_BEHIND = 2.0  # ranking score by which a page must be behind to count for nothing beside the best
_TOKEN = re.compile(r"[^\W_][\w&'’.-]*")


@dataclass(frozen=True)
class Signals:
    """What tells whether the best pages of a question hold its answer."""

    coverage: float  # share of the question's terms on the page of them that has most of the question
    missing: float  # share of the question's names that this page lacks
    ranking: float  # ranking score of the best
    cosine: float  # largest cosine


def page_probabilities(question: str, pages: Sequence[PageEvidence], scores: Sequence[float]) -> list[float]:
    """Return for each page, best first, the probability that it holds the answer; `scores` are those of the ranking.

    The probability falls with the scores, and can be compared between questions and stores.
    """
    if not pages:
        return []
    found = signals(question, pages[:PAGES], scores)
    return [page_probability(found, score - scores[0]) for score in scores]


def page_probability(found: Signals, behind: float) -> float:
    """Return the probability that a page holds the answer; `behind` is its ranking score less that of the best page.

    Where the question's words say nothing, the cosine alone decides: an embedder may know both languages.
    """
    weights = stored_weights()["probability_of_few_words" if found.coverage < FEW_WORDS else "probability"]
    values = {**vars(found), "behind": behind, "constant": 1.0}
    return 1 / (1 + math.exp(-sum(weight * values[name] for name, weight in weights.items())))


def signals(question: str, pages: Sequence[PageEvidence], scores: Sequence[float]) -> Signals:
    """Return what tells whether these pages, best first and at least one, hold the answer."""
    wanted, names = question_terms(question), names_in(question)
    compared = []
    for page, score in zip(pages, scores, strict=False):
        found = set(terms(page.document)).union(*map(passage_terms, page.passages))
        missing = _share_missing(names, found | named_terms(question, page.document))
        covered = coverage(wanted, found)
        compared.append((covered - missing + (score - scores[0]) / _FAR_BEHIND, covered, missing))
    # of one page, and of one that is not far behind: a page about something else would lend its year to one that lacks it
    _, covered, missing = max(compared)
    return Signals(covered, missing, scores[0], max(page.cosines[0] for page in pages))


def names_in(question: str) -> list[str]:
    """Return what a question names, in lower case: codes, numbers, and capitalized words that begin no sentence.

    FY2018 counts as 2018. A German noun is no name.
    """
    found = []
    nouns = capitalizes_nouns(question)
    for sentence in split_sentences(plain_years(question)):
        tokens = [re.sub(r"['’]s$", "", token.strip(".'’-")) for token in _TOKEN.findall(sentence.text)]
        for position, token in enumerate(tokens):
            named = _is_code(token) or (position > 0 and not nouns and any(map(str.isupper, token)))
            if named and content_terms(token):  # "I" is no name
                found.append(token.lower())
    return list(dict.fromkeys(found))


def _is_code(token: str) -> bool:
    return any(character.isdigit() for character in token) or (len(token) > 1 and token.isupper())


def _share_missing(names: Sequence[str], found: Collection[str]) -> float:
    return sum(not all(term in found for term in terms(name)) for name in names) / len(names) if names else 0.0
