"""Finds the passages that may answer a question, by text search and vector search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.features import PageEvidence, document_shares
from assistant.retrieval.ranking import score_pages
from assistant.retrieval.relevance import query_terms, relevance
from ingest import Chunk, Hit, Store

RRF_K = (
    10  # with these weights better than either search alone, and than RRF at 60 with equal weights: docs/retrieval.md
)
TEXT_WEIGHT = 0.3
VECTOR_WEIGHT = 0.7
TEXT_LIMIT = 100  # chunks taken from text search
VECTOR_LIMIT = 300  # chunks taken from vector search: about 150 pages of a large library
CANDIDATES = 120  # pages that are read whole and scored; twice as many found nothing more (docs/retrieval.md)
NAMED = 3.0  # how much a page of a document that the question names is preferred as a candidate
_GAP = 4  # characters of white space allowed between neighbors
PASSAGE_CHARACTERS = 1200  # a passage grows by its neighbors on the page up to this size


class QueryEmbedder(Protocol):
    """Turns a question into a vector of the library's space."""

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return a float32 [dimension] vector, normalized where the library's vectors are."""
        ...


@dataclass(frozen=True)
class Passage:
    """A part of one page that may contain the answer: `text` is the page's text from `start` to `end`."""

    rank: int  # 1-based
    document: str  # display name
    document_id: str
    page: int  # 1-based
    page_label: str
    start: int
    end: int
    text: str
    score: float  # 0 to 1, comparable between questions and stores
    chunk_id: str  # of the chunk that was found
    heading: str = ""
    margins: tuple[tuple[int, int], ...] = ()  # running header and footer ranges, relative to `text`
    ocr: bool = False  # the page is a picture that OCR read: its figures may be wrong

    def as_dict(self) -> dict[str, object]:
        """Return what `quire search --json` prints of it."""
        return {
            "rank": self.rank,
            "document": self.document,
            "page": self.page,
            "page_label": self.page_label,
            "score": round(self.score, 4),
            "text": self.text,
            "chunk_id": self.chunk_id,
            "document_id": self.document_id,
            "start": self.start,
            "end": self.end,
            "ocr": self.ocr,
        }


def search(
    store: Store,
    embedder: QueryEmbedder,
    question: str,
    *,
    k: int = 6,
    documents: Sequence[str] | None = None,
) -> list[Passage]:
    """Return the best `k` passages for a question, best first, one a page; `documents` are document ids, None means all."""
    found, chunks = candidates(store, embedder, question, documents=documents)
    pages = order_pages(question, found, chunks)[:k]
    query = query_terms(question)
    passages = []
    for rank, page in enumerate(pages, 1):
        whole = chunks.get(page.key) or [page.best]
        passage = _passage(rank, page, whole)
        score = relevance(query, page.score, page_text(whole), passage.document)
        passages.append(replace(passage, score=score))
    return passages


def candidates(
    store: Store, embedder: QueryEmbedder, question: str, *, documents: Sequence[str] | None = None
) -> tuple[list[RankedPage], dict[tuple[str, int], list[Chunk]]]:
    """Return the pages that may answer a question, at most CANDIDATES, with all chunks of each."""
    vector = embedder.embed_query(question)
    text_hits = store.search_text(question, limit=TEXT_LIMIT, documents=documents)
    vector_hits = store.search_vector(vector, limit=VECTOR_LIMIT, documents=documents)
    pages = rank_pages(text_hits, vector_hits)
    shares = document_shares(question, [page.best.document for page in pages])
    nearness = [(1 + NAMED * shares[page.best.document]) / (RRF_K + rank) for rank, page in enumerate(pages, 1)]
    order = sorted(range(len(pages)), key=lambda i: -nearness[i])
    found = [pages[i] for i in order[:CANDIDATES]]
    return found, store.page_chunks([page.key for page in found])


def order_pages(
    question: str, pages: Sequence[RankedPage], chunks: Mapping[tuple[str, int], Sequence[Chunk]]
) -> list[RankedPage]:
    """Return the pages, best first, by `score_pages`; `chunks` holds all chunks of each page."""
    scores = score_pages(question, page_evidence(pages, chunks))
    order = sorted(range(len(pages)), key=lambda i: -scores[i])
    return [pages[i] for i in order]


def page_evidence(pages: Sequence[RankedPage], chunks: Mapping[tuple[str, int], Sequence[Chunk]]) -> list[PageEvidence]:
    """Return what the ranking reads of each page."""
    return [
        PageEvidence(
            page.best.document,
            tuple(chunk.body for chunk in chunks.get(page.key) or [page.best]),
            page.best.heading,
            page.cosines,
        )
        for page in pages
    ]


def page_text(chunks: Sequence[Chunk]) -> str:
    """Return the text of a page from its chunks in order; text that neighbors share comes once."""
    parts, end = [], 0
    for chunk in chunks:
        parts.append("\n" * (chunk.start > end) + chunk.text[max(0, end - chunk.start) :])
        end = max(end, chunk.end)
    return "".join(parts)


@dataclass(frozen=True)
class RankedPage:
    """One page that was found: its best chunk, the other chunks found on it, and its score."""

    best: Chunk
    others: tuple[Chunk, ...]
    score: float
    cosines: tuple[float, ...]  # of the chunks that were found, best first

    @property
    def key(self) -> tuple[str, int]:
        """Return document id and page number."""
        return (self.best.document_id, self.best.page)


def rank_pages(text_hits: Sequence[Hit], vector_hits: Sequence[Hit]) -> list[RankedPage]:
    """Fuse both searches by reciprocal rank and return the pages in the order of their best chunk.

    The score is the best cosine of the page's chunks: fused ranks are not comparable between questions, nor text
    scores between stores. A chunk that only text search found gets the lowest cosine that vector search returned: its
    own is not higher.
    """
    floor = min((hit.score for hit in vector_hits), default=0.0)
    fused: dict[str, float] = {}
    cosine: dict[str, float] = {}
    chunks: dict[str, Chunk] = {}
    for hits, weight in ((vector_hits, VECTOR_WEIGHT), (text_hits, TEXT_WEIGHT)):
        for position, hit in enumerate(hits, 1):
            chunks[hit.chunk.id] = hit.chunk
            fused[hit.chunk.id] = fused.get(hit.chunk.id, 0.0) + weight / (RRF_K + position)
            cosine.setdefault(hit.chunk.id, hit.score if hits is vector_hits else floor)
    pages: dict[tuple[str, int], list[Chunk]] = {}
    for chunk_id in sorted(fused, key=lambda chunk_id: (-fused[chunk_id], chunk_id)):
        chunk = chunks[chunk_id]
        pages.setdefault((chunk.document_id, chunk.page), []).append(chunk)
    ranked = []
    for found in pages.values():
        cosines = tuple(sorted((cosine[chunk.id] for chunk in found), reverse=True))
        ranked.append(RankedPage(found[0], tuple(found[1:]), min(1.0, max(0.0, cosines[0])), cosines))
    return ranked


def merge(best: Chunk, others: Sequence[Chunk], neighbours: Sequence[Chunk]) -> Chunk:
    """Return `best` extended by found chunks beside it, then by other neighbors, up to PASSAGE_CHARACTERS."""
    everything = {chunk.id: chunk for chunk in (best, *others, *neighbours)}.values()
    ordered = sorted(everything, key=lambda chunk: (chunk.start, chunk.end))
    position = next(i for i, chunk in enumerate(ordered) if chunk.id == best.id)
    before, after = ordered[:position], ordered[position + 1 :][::-1]  # the nearest ones last
    wanted = {chunk.id for chunk in others}
    grown = best
    while True:
        sides = [side for side in (after, before) if side and _fits(grown, side[-1])]
        if not sides:
            return grown
        # what the search found comes first, then the text that follows, then the text before
        side = min(sides, key=lambda side: side[-1].id not in wanted)
        grown = _join(grown, side.pop())


def _passage(rank: int, page: RankedPage, neighbours: Sequence[Chunk]) -> Passage:
    chunk = merge(page.best, page.others, neighbours)
    return Passage(
        rank=rank,
        document=chunk.document,
        document_id=chunk.document_id,
        page=chunk.page,
        page_label=chunk.page_label,
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
        score=page.score,
        chunk_id=page.best.id,
        heading=chunk.heading,
        margins=chunk.running_lines,
        ocr=chunk.ocr,
    )


def _fits(one: Chunk, other: Chunk) -> bool:
    touches = one.start <= other.end + _GAP and other.start <= one.end + _GAP
    return touches and max(one.end, other.end) - min(one.start, other.start) <= PASSAGE_CHARACTERS


def _join(one: Chunk, other: Chunk) -> Chunk:
    first, second = (one, other) if one.start <= other.start else (other, one)
    # only white space was removed between two chunks; line ends replace it, so that ranges stay true
    gap = "\n" * max(0, second.start - first.end)
    text = first.text + gap + second.text[max(0, first.end - second.start) :]
    running_lines = {
        (left + chunk.start - first.start, right + chunk.start - first.start)
        for chunk in (first, second)
        for left, right in chunk.running_lines
    }
    end = max(first.end, second.end)
    return replace(one, start=first.start, end=end, text=text, running_lines=tuple(sorted(running_lines)))


def whole_page(chunks: Sequence[Chunk]) -> Passage:
    """Return all chunks of one page as one passage, of rank 0 and score 1 because the page itself was asked for."""
    ordered = sorted(chunks, key=lambda chunk: (chunk.start, chunk.end))
    page = ordered[0]
    for chunk in ordered[1:]:
        page = _join(page, chunk)
    return _passage(0, RankedPage(page, (), 1.0, (1.0,)), [page])
