"""What is measured of each page that was found: cosines, words, headings, tables, its name.

Every feature is between 0 and 1. None needs counts over the whole library: which words are rare is counted over the
pages that were found, so that all stores give the same order.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ingest import asking_words, content_terms, name_words, table_share, terms

FEATURES = (
    "cosine",  # of the page's best passage
    "second",  # cosine of its second best, 0 where the search found one
    "words",  # BM25 of its best passage, as a share of the best one found
    "pairs",  # share of the question's neighboring words that stand side by side on the page
    "heading",  # share of the question's terms in its beginning and its headings
    "table",  # share of its lines that are table rows
    "amount",  # the same where the question asks for an amount, else 0
    "document",  # share of the document's name that the question contains, rare words of names weighted more
)
HEADING_CHARACTERS = 250  # a page's beginning names what it is about, where fonts and outline say nothing
_K1, _B = 1.2, 0.75  # BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009), usual values

_AMOUNT = re.compile(
    r"\b(?:how (?:much|many)|amounts?|ratio|margin|percent(?:age)?|million|billion|total|average|growth|rate"
    r"|increase|decrease|price|costs?)\b|[%$€£¥]",
    re.IGNORECASE,
)
_HOW = re.compile(r"\bhow (?:many|much|often|long|old|far|large|big|high|fast|tall|deep|wide|heavy)\b", re.IGNORECASE)
_LETTERS_OR_DIGITS = re.compile(r"[^\W\d_]+|\d+")
_WORDS = re.compile(r"[^\W_]+")
_RUN_TOGETHER = 6  # letters from which a word of a file name is looked for across the question's words
_INSIDE_NAME = 4  # letters from which a question's word is looked for inside a file name


@dataclass(frozen=True)
class PageEvidence:
    """What is known of one page that was found: `passages` are its chunks' texts, `cosines` those of found ones."""

    document: str  # display name
    passages: tuple[str, ...]
    heading: str
    cosines: tuple[float, ...]  # best first

    @property
    def text(self) -> str:
        """Return the text of the page; what passages share comes twice, which changes no feature."""
        return "\n".join(self.passages)


def page_features(question: str, pages: Sequence[PageEvidence]) -> tuple[NDArray[np.float64], float]:
    """Return the features of the pages as [pages, FEATURES], and the doubt about the question, both from 0 to 1.

    Doubt is 0 where one passage holds nearly all of the question's terms and 1 where none holds half of them: there
    words say little, and what kind of page it is says more.
    """
    if not pages:
        return np.zeros((0, len(FEATURES))), 1.0
    wanted = question_terms(question)
    names = {document: named_terms(question, document) for document in {page.document for page in pages}}
    words, best_share = _words(question, wanted, pages, names)
    shares = document_shares(question, [page.document for page in pages])
    tables = np.array([_table_share(page.text) for page in pages])
    columns = {
        "cosine": [page.cosines[0] for page in pages],
        "second": [max(0.0, page.cosines[1]) if len(page.cosines) > 1 else 0.0 for page in pages],
        "words": words.bm25,
        "pairs": words.pairs,
        "heading": [coverage(wanted, _heading_terms(page)) for page in pages],
        "table": tables,
        "amount": tables * asks_for_amount(question),
        "document": [shares[page.document] for page in pages],
    }
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in FEATURES], axis=1), doubt(best_share)


def doubt(best_share: float) -> float:
    """Return the doubt from the largest share of a question's terms that one passage holds."""
    return min(1.0, max(0.0, (0.9 - best_share) / 0.4))


def question_terms(question: str) -> list[str]:
    """Return the different terms of a question that carry meaning, in order; FY2022 and FY22 count as 2022.

    "How long" asks for a measure: its answer need not say "long". In other languages, the words that say nothing are
    left out too.
    """
    plain = plain_years(question)
    nothing = frozenset(terms(" ".join(asking_words(plain))))
    found = [term for term in content_terms(without_measure(plain)) if term not in nothing]
    return found or content_terms(plain)


def without_measure(question: str) -> str:
    """Return the question without "how many", "how long" and their like."""
    return _HOW.sub(" ", question)


def coverage(wanted: Sequence[str], found: Collection[str]) -> float:
    """Return the share of the wanted terms that were found; 0 where none is wanted."""
    return sum(term in found for term in wanted) / len(wanted) if wanted else 0.0


def asks_for_amount(question: str) -> bool:
    """Return whether a question asks for a figure: an amount, a ratio, a rate, a count."""
    return bool(_AMOUNT.search(question))


def named_terms(question: str, document: str) -> frozenset[str]:
    """Return the terms of a question that the document's name holds, also run together with others.

    Every page of the report of American Express is about American Express, whether or not the page says so.
    """
    name = name_words(document).lower()
    parts, joined = set(_LETTERS_OR_DIGITS.findall(name)), "".join(filter(str.isalnum, name))
    inside = [
        word
        for word in _WORDS.findall(plain_years(question).lower())
        if word in parts or (len(word) >= _INSIDE_NAME and word in joined)
    ]
    return frozenset(terms(" ".join(inside)))


def document_shares(question: str, documents: Iterable[str]) -> dict[str, float]:
    """Return for each document how far the question names it, 1 for the one it names most.

    Rare words of the names weigh more. What else a file's name holds, such as a date, is no sign against it.
    """
    parts = {name: set(_LETTERS_OR_DIGITS.findall(name_words(name).lower())) for name in set(documents)}
    frequency = Counter(word for words in parts.values() for word in words)
    asked = _LETTERS_OR_DIGITS.findall(plain_years(question).lower())
    joined = "".join(asked)
    named = {}
    for name, words in parts.items():
        # file names run words together: ACTIVISIONBLIZZARD
        contained = [w for w in words if w in asked or (len(w) >= _RUN_TOGETHER and w in joined)]
        named[name] = sum(inverse_frequency(frequency[word], len(parts)) for word in contained)
    most = max(named.values(), default=0.0) or 1.0
    return {name: weight / most for name, weight in named.items()}


def inverse_frequency(found: int, of: int) -> float:
    """Return how rare a term is that `found` of `of` texts hold: log(1 + (N - n + 0.5) / (n + 0.5)), never negative."""
    return math.log(1 + (of - found + 0.5) / (found + 0.5))


def plain_years(text: str) -> str:
    """Return the text with fiscal years as years: FY2022 and FY22 become 2022."""
    text = re.sub(r"\bFY\s?(\d{4})\b", r"\1", text, flags=re.IGNORECASE)
    return re.sub(r"\bFY\s?'?(\d{2})\b", r"20\1", text, flags=re.IGNORECASE)


@dataclass(frozen=True)
class _Words:
    bm25: NDArray[np.float64]  # [pages], 1 for the best
    pairs: NDArray[np.float64]  # [pages]


def _words(
    question: str, wanted: Sequence[str], pages: Sequence[PageEvidence], names: dict[str, frozenset[str]]
) -> tuple[_Words, float]:
    """Return the features that compare words, and the largest share of the terms that one passage holds.

    A term that the document's name holds counts as said once on each of its pages.
    """
    analyzed = [[passage_terms(passage) for passage in page.passages] for page in pages]
    said = [names[page.document] for page in pages]
    every = frozenset(wanted)
    asked_for = [[every.intersection(passage) for passage in passages] for passages in analyzed]
    held = Counter(term for hits, named in zip(asked_for, said, strict=True) for term in (every & named).union(*hits))
    weights = {term: inverse_frequency(held[term], len(pages)) for term in wanted}
    average = sum(len(passage) for passages in analyzed for passage in passages) / max(1, sum(map(len, analyzed)))
    asked = terms(plain_years(question))
    neighbors = {pair for pair in pairwise(asked) if weights.keys() >= set(pair)}
    bm25, pairs, best_share = np.zeros(len(pages)), np.zeros(len(pages)), 0.0
    for place, (page, passages, hits, named) in enumerate(zip(pages, analyzed, asked_for, said, strict=True)):
        context = every & named.union(passage_terms(page.heading.split(" | ")[0]))
        side_by_side: set[tuple[str, str]] = set()
        for passage, its_hits in zip(passages, hits, strict=True):
            counts = {term: passage.count(term) for term in its_hits}
            bm25[place] = max(bm25[place], _bm25(weights, counts, len(passage), named, average))
            best_share = max(best_share, coverage(wanted, context | its_hits))
            side_by_side |= neighbors.intersection(pairwise(passage))
        pairs[place] = _share_of_pairs(neighbors, side_by_side, named)
    return _Words(bm25 / max(bm25.max(), 1e-9), pairs), best_share


def _bm25(
    weights: dict[str, float], counts: Mapping[str, int], words: int, named: Collection[str], average: float
) -> float:
    length = 1 - _B + _B * words / max(average, 1.0)
    score = 0.0
    for term, weight in weights.items():
        if term in named:
            score += weight
        elif count := counts.get(term, 0):
            score += weight * count * (_K1 + 1) / (count + _K1 * length)
    return score


def _share_of_pairs(
    pairs: Collection[tuple[str, str]], found: Collection[tuple[str, str]], named: Collection[str]
) -> float:
    if not pairs:
        return 0.0
    return sum(pair in found or (pair[0] in named and pair[1] in named) for pair in pairs) / len(pairs)


def _heading_terms(page: PageEvidence) -> set[str]:
    beginning = page.passages[0][:HEADING_CHARACTERS] if page.passages else ""
    return set(passage_terms(f"{beginning}\n{page.heading}"))


@lru_cache(maxsize=20_000)
def passage_terms(text: str) -> tuple[str, ...]:
    """Return the terms of a text, remembered: questions to a library find the same pages again and again."""
    return tuple(terms(text))


@lru_cache(maxsize=4_000)
def _table_share(text: str) -> float:
    return table_share(text)
