"""Orders pages by what else speaks for them than nearness in meaning: words, headings, tables, the document's name.

Five figures are added to a page's cosine, each a share between 0 and 1, so that the same weights serve every store and
every library; none needs counts over the whole library. How each was chosen, and what was tried and left, stands in
docs/retrieval.md.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SECOND_BEST = 0.3  # a page with two good chunks beats a page with one
COVERAGE = 0.2  # share of the question's words that stand on the page
HEADING = 0.4  # the same for the page's beginning and its headings
TABLE = 0.1  # share of the page's lines that are table rows
TABLE_FOR_AMOUNT = 0.4  # added to TABLE where the question asks for an amount
DOCUMENT = 0.3  # share of the document's name that stands in the question
HEADING_CHARACTERS = 250  # a page's beginning names what it is about, where fonts and outline say nothing


@dataclass(frozen=True)
class PageEvidence:
    """What is known of one page that was found: `cosines` of its chunks, best first."""

    document: str  # display name
    text: str
    heading: str
    cosines: tuple[float, ...]


def score_pages(question: str, pages: Sequence[PageEvidence]) -> list[float]:
    """Return one figure a page, higher is better; it orders the pages of one question and says nothing across questions."""
    words = word_forms(question)
    table_weight = TABLE + (TABLE_FOR_AMOUNT if asks_for_amount(question) else 0.0)
    named = document_shares(question, [page.document for page in pages])
    return [
        _nearness(page.cosines)
        + COVERAGE * share(words, words_of(page.text))
        + HEADING * share(words, words_of(f"{page.text[:HEADING_CHARACTERS]}\n{page.heading}"))
        + table_weight * table_share(page.text)
        + DOCUMENT * named[page.document]
        for page in pages
    ]


def content_words(question: str) -> list[str]:
    """Return the stems of a question's words that carry meaning, in order, each once; FY2022 counts as 2022."""
    words = _WORD.findall(_plain_years(question).lower())
    return [stem for stem in dict.fromkeys(map(_stem, words)) if stem not in _STOP]


def word_forms(question: str) -> tuple[frozenset[str], ...]:
    """Return the question's content words, each as the set of all its forms."""
    return tuple(_forms(stem) for stem in content_words(question))


def words_of(text: str) -> set[str]:
    """Return the words and numbers of a text, in lower case."""
    return set(_WORD.findall(text.lower()))


def share(words: Sequence[frozenset[str]], found: set[str]) -> float:
    """Return which share of the words, each given by all its forms, is among those found; 0 where there are none."""
    return sum(not forms.isdisjoint(found) for forms in words) / len(words) if words else 0.0


def asks_for_amount(question: str) -> bool:
    """Say whether a question wants a figure: an amount, a ratio, a rate, a count."""
    return bool(_AMOUNT.search(question))


def table_share(text: str) -> float:
    """Return the share of lines that hold two figures or more: amounts, decimals, percentages, not years or item numbers."""
    lines = [line for line in text.splitlines() if line.strip()]
    return sum(sum(map(_is_figure, _NUMBER.findall(line))) >= 2 for line in lines) / len(lines) if lines else 0.0


def document_shares(question: str, documents: Iterable[str]) -> dict[str, float]:
    """Return for each document which share of its name the question says, rare words of the names counting more."""
    parts = {name: set(_name_words(name)) for name in set(documents)}
    frequency = Counter(word for words in parts.values() for word in words)
    question = _plain_years(question).lower()
    said, squashed = set(re.findall(r"[a-z]+|\d+", question)), re.sub(r"[^a-z0-9]", "", question)
    shares = {}
    for name, words in parts.items():
        weight = {w: math.log(1 + (len(parts) - frequency[w] + 0.5) / (frequency[w] + 0.5)) for w in words}
        # file names run words together: ACTIVISIONBLIZZARD
        hit = sum(weight[w] for w in words if w in said or (len(w) > 5 and w in squashed))
        shares[name] = hit / sum(weight.values()) if words else 0.0
    return shares


def _is_figure(number: str) -> bool:
    inner = number[1:-1]
    return "," in inner or "." in inner or number[0] == "$" or number[-1] == "%"


def _nearness(cosines: Sequence[float]) -> float:
    best, second = (*sorted(cosines, reverse=True), 0.0, 0.0)[:2]
    return best + SECOND_BEST * max(0.0, second)


def _plain_years(question: str) -> str:
    question = re.sub(r"\bFY\s?(\d{4})\b", r"\1", question, flags=re.IGNORECASE)
    return re.sub(r"\bFY\s?'?(\d{2})\b", r"20\1", question, flags=re.IGNORECASE)


def _name_words(document: str) -> list[str]:
    stem = re.sub(r"\.pdf$", "", document.rsplit("/", 1)[-1], flags=re.IGNORECASE)
    return re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1 \2", stem).lower())


def _stem(word: str) -> str:
    """Cut the commonest English endings: enough to make 'ratios' and 'ratio' one."""
    return _ENDING.sub("", word) if len(word) > 4 else word


def _forms(stem: str) -> frozenset[str]:
    """Return all words that have this stem: looking for them in a page is ten times cheaper than stemming the page."""
    return frozenset(word for word in (stem, *(stem + ending for ending in _ENDINGS)) if _stem(word) == stem)


_ENDINGS = ("ing", "ed", "es", "s", "ly")
_ENDING = re.compile(f"(?:{'|'.join(_ENDINGS)})$")
_AMOUNT = re.compile(
    r"\b(?:how much|how many|amount|ratio|margin|percent(?:age)?|usd|million|billion|total|average|growth|rate"
    r"|increase|decrease|round|days)\b|[%$€£]"
    r"|what (?:is|was) the (?:\w+ )?(?:value|number)",
    re.IGNORECASE,
)
# plain patterns and a test in Python: one pattern that says it all took twice the time, on 120 pages a question
_WORD = re.compile(r"\w+(?:[.,]\d+)*")
_NUMBER = re.compile(r"\d[\d,.]*(?:\s?%)?|\$\s*\d[\d,.]*")
_STOP = frozenset(
    map(
        _stem,
        [
            "a",
            "an",
            "the",
            "of",
            "to",
            "in",
            "for",
            "on",
            "and",
            "or",
            "is",
            "are",
            "was",
            "were",
            "be",
            "by",
            "with",
            "as",
            "at",
            "from",
            "that",
            "this",
            "it",
            "its",
            "what",
            "which",
            "how",
            "does",
            "did",
            "do",
            "has",
            "have",
            "had",
            "if",
            "not",
            "no",
            "than",
            "then",
            "there",
            "their",
            "they",
            "them",
            "into",
            "about",
            "between",
            "using",
            "use",
            "used",
            "based",
            "please",
            "your",
            "you",
            "give",
            "me",
            "we",
            "us",
            "our",
            "can",
            "could",
            "would",
            "should",
            "will",
            "may",
            "any",
            "all",
            "each",
            "per",
            "only",
            "also",
            "more",
            "most",
            "such",
            "other",
            "primarily",
            "answer",
            "question",
            "response",
            "information",
            "shown",
            "provided",
            "details",
            "who",
            "whom",
            "whose",
            "when",
            "where",
            "why",
            "i",
            "my",
        ],
    )
)
