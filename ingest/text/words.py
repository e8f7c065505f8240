"""The words of a text: stemmed terms, stop words, numbers, and the words of a file name.

Terms come from tantivy, which the text index needs anyway: its tokenizer knows Unicode, and with its Snowball stemmer
120 pages take 41 ms, a Python regular expression without any stemming 35 ms.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import PurePath
from typing import Any
from unicodedata import normalize

from quire import encodable

MAX_TERM_BYTES = 40  # longer runs of letters are rules, keys and noise of broken encodings
MAX_QUERY_TERMS = 64  # where the query is a whole page, its first different terms

# What says nothing about the subject of a question: left out of queries and comparisons, never out of the index.
# The last line holds what the tokenizer leaves of "company's", "don't", "we'll" and "they've".
_STOP_WORDS = """
a about above after again all also am an and any are as at be because been before being below between both but by can
could did do does doing down during each few for from further give given had has have having he her here hers him his how
i if in into is it its itself just may me more most my no nor not now of off on once only or other our ours out over own
per please same she should so some such tell than that the their theirs them then there these they this those through to
too under until up us very was we were what when where which while who whom whose why will with would you your yours get gets got need needs happen happens
s t ll re ve don doesn didn isn aren wasn
"""
_RAISED = re.compile(r"(?<=[^\W⁰¹²³⁴⁵⁶⁷⁸⁹])[⁰¹²³⁴⁵⁶⁷⁸⁹]+|(?<=[0-9])[ᵃᵇᶜᵈᶠᵍʰ]")  # not ᵉ: "19ᵉ siècle"
_ANY_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᶠᵍʰ]")  # tells in a tenth of the time that there is nothing to set apart
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")


def searchable(text: str) -> str:
    """Return a text as it is searched: look-alike characters and ligatures as plain ones, raised digits set apart.

    "ＡＸ４７１１" becomes "AX4711" and "ﬁle" becomes "file" (NFKC), but "$320¹" becomes "$320 1", not "$3201".
    """
    if text.isascii():
        return text
    return normalize("NFKC", _RAISED.sub(r" \g<0>", text) if _ANY_RAISED.search(text) else text)


def terms(text: str) -> list[str]:
    """Return the stemmed, lower-case terms of a text in order, without those longer than MAX_TERM_BYTES."""
    found: list[str] = _analyzer().analyze(encodable(searchable(text)))
    return found


def content_terms(text: str) -> list[str]:
    """Return the different terms of a text in order, without stop words."""
    stop_terms = _stop_terms()
    return [term for term in dict.fromkeys(terms(text)) if term not in stop_terms]


def query_terms(query: str) -> list[str]:
    """Return the terms a query is searched by, at most MAX_QUERY_TERMS; its stop words too where it has nothing else."""
    return (content_terms(query) or list(dict.fromkeys(terms(query))))[:MAX_QUERY_TERMS]


def numbers(text: str) -> set[str]:
    """Return the numbers of a text without thousands separators: {"1577", "2018", "3.5"}."""
    return {number.replace(",", "").rstrip(".") for number in _NUMBER.findall(searchable(text))}


def name_words(name: str) -> str:
    """Return the words of a file name or link: "3M_2018_10K.pdf" gives "3M 2018 10K"."""
    last = PurePath(name.removeprefix("upload:").split("?")[0].rstrip("/")).name
    stem = re.sub(r"\.pdf$", "", last, flags=re.IGNORECASE)
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"[_\-+.\s]+|%20", " ", stem))  # annualReport -> annual Report
    return " ".join(spaced.split())


@cache
def _stop_terms() -> frozenset[str]:
    return frozenset(terms(_STOP_WORDS))


@cache
def _analyzer() -> Any:
    import tantivy

    # tantivy's own "en_stem", spelled out so that a store without tantivy's index uses the same terms
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(MAX_TERM_BYTES))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.stemmer("English"))
        .build()
    )
