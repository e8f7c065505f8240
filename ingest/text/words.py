"""The words a passage is found by: text to stemmed terms, alike for every store; it does not search."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ingest.files.names import file_name
from ingest.text.chunks import Chunk, embedding_text

LONGEST = 40  # characters; longer runs are rules, keys and noise of broken encodings
MOST_QUERY_TERMS = 64  # of a query that is a whole page, the first different words

# Words that stand nearly everywhere: left out of queries (never of the index), unless the query has no others.
_STOPWORDS = """
a an and are as at be but by for from had has have he her his how i if in into is it its no not of on or our she so such
that the their then there these they this to was we were what when where which who why will with would you your do does
did can could should may me my us am been being than about
"""
STOPWORDS = frozenset(_STOPWORDS.split())


def indexed_text(chunk: Chunk, source: str, title: str) -> str:
    """Return the text a passage is found by: the text that is embedded, so that both legs see the same."""
    return embedding_text(chunk, name=file_name(source), title=title)


def terms(text: str) -> list[str]:
    """Return the stemmed, lower-case terms of an English text in order; words longer than LONGEST are left out."""
    found: list[str] = _analyzer().analyze(_sound(text))
    return found


def query_terms(query: str) -> list[str]:
    """Return the different terms of a question, without stop words where others remain; at most MOST_QUERY_TERMS."""
    words = re.findall(r"\w+", _sound(query))
    telling = [word for word in words if word.lower() not in STOPWORDS]
    return list(dict.fromkeys(terms(" ".join(telling or words))))[:MOST_QUERY_TERMS]


def _sound(text: str) -> str:
    """Return the text without lone surrogates, which no index can encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _analyzer() -> Any:
    import tantivy

    # tantivy's own "en_stem", spelled out so that a store without tantivy's index uses the very same terms
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(LONGEST))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.stemmer("English"))
        .build()
    )
