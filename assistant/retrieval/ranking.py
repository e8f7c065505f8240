"""Orders the pages that a search found, by cosine, words, headings, tables and names.

Each feature is a share between 0 and 1 and is added to the page's cosine, so that the same weights serve every store
and every library; none needs counts over the whole library. docs/retrieval.md says how each was chosen and what else
was tried.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ingest import content_terms, name_words, table_share, terms

SECOND_BEST = 0.3  # a page with two good chunks beats a page with one
COVERAGE = 0.2  # share of the question's terms that the page contains
HEADING = 0.4  # the same for the page's beginning and its headings
TABLE = 0.1  # share of the page's lines that are table rows
TABLE_FOR_AMOUNT = 0.4  # added to TABLE where the question asks for an amount
DOCUMENT = 0.3  # share of the document's name that the question contains
HEADING_CHARACTERS = 250  # a page's beginning names what it is about, where fonts and outline say nothing

_AMOUNT = re.compile(
    r"\b(?:how much|how many|amount|ratio|margin|percent(?:age)?|usd|million|billion|total|average|growth|rate"
    r"|increase|decrease|round|days)\b|[%$€£]"
    r"|what (?:is|was) the (?:\w+ )?(?:value|number)",
    re.IGNORECASE,
)
_LETTERS_OR_DIGITS = re.compile(r"[^\W\d_]+|\d+")
_RUN_TOGETHER = 6  # letters from which a word of a file name is looked for across the question's words


@dataclass(frozen=True)
class PageEvidence:
    """What is known of one page that was found: `cosines` of its chunks, best first."""

    document: str  # display name
    text: str
    heading: str
    cosines: tuple[float, ...]


def score_pages(question: str, pages: Sequence[PageEvidence]) -> list[float]:
    """Return one score for each page, higher is better; scores of different questions are not comparable."""
    wanted = question_terms(question)
    table_weight = TABLE + (TABLE_FOR_AMOUNT if asks_for_amount(question) else 0.0)
    named = document_shares(question, [page.document for page in pages])
    return [
        _dense_score(page.cosines)
        + COVERAGE * coverage(wanted, set(terms(page.text)))
        + HEADING * coverage(wanted, set(terms(f"{page.text[:HEADING_CHARACTERS]}\n{page.heading}")))
        + table_weight * table_share(page.text)
        + DOCUMENT * named[page.document]
        for page in pages
    ]


def question_terms(question: str) -> list[str]:
    """Return the different terms of a question that carry meaning, in order; FY2022 and FY22 count as 2022."""
    return content_terms(plain_years(question))


def coverage(wanted: Sequence[str], found: Collection[str]) -> float:
    """Return the share of the wanted terms that were found; 0 where none is wanted."""
    return sum(term in found for term in wanted) / len(wanted) if wanted else 0.0


def asks_for_amount(question: str) -> bool:
    """Return whether a question asks for a figure: an amount, a ratio, a rate, a count."""
    return bool(_AMOUNT.search(question))


def document_shares(question: str, documents: Iterable[str]) -> dict[str, float]:
    """Return for each document the share of its name that the question contains; rare words of the names weigh more."""
    parts = {name: set(_LETTERS_OR_DIGITS.findall(name_words(name).lower())) for name in set(documents)}
    frequency = Counter(word for words in parts.values() for word in words)
    asked = _LETTERS_OR_DIGITS.findall(plain_years(question).lower())
    joined = "".join(asked)
    shares = {}
    for name, words in parts.items():
        weight = {w: math.log(1 + (len(parts) - frequency[w] + 0.5) / (frequency[w] + 0.5)) for w in words}
        # file names run words together: ACTIVISIONBLIZZARD
        contained = [w for w in words if w in asked or (len(w) >= _RUN_TOGETHER and w in joined)]
        shares[name] = sum(weight[w] for w in contained) / sum(weight.values()) if words else 0.0
    return shares


def plain_years(text: str) -> str:
    """Return the text with fiscal years as years: FY2022 and FY22 become 2022."""
    text = re.sub(r"\bFY\s?(\d{4})\b", r"\1", text, flags=re.IGNORECASE)
    return re.sub(r"\bFY\s?'?(\d{2})\b", r"20\1", text, flags=re.IGNORECASE)


def _dense_score(cosines: Sequence[float]) -> float:
    best, second = (*sorted(cosines, reverse=True), 0.0, 0.0)[:2]
    return best + SECOND_BEST * max(0.0, second)
