"""Finds the passages that may answer a question, by text search and vector search."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.features import (
    PageEvidence,
    document_shares,
    inverse_frequency,
    passage_terms,
    plain_years,
    question_terms,
)
from assistant.retrieval.ranking import score_pages
from assistant.retrieval.relevance import page_probabilities
from ingest import Chunk, Hit, Store, split_sentences, terms

RRF_K = (
    10  # with these weights better than either search alone, and than RRF at 60 with equal weights: docs/retrieval.md
)
TEXT_WEIGHT = 0.3
VECTOR_WEIGHT = 0.7
TEXT_LIMIT = 100  # chunks taken from text search
VECTOR_LIMIT = 300  # chunks taken from vector search: about 150 pages of a large library
CANDIDATES = 100  # pages that are read whole and scored; twice as many found nothing more (docs/retrieval.md)
NAMED_SHARE = 0.8  # of a document's name that a question must contain for it to be searched by itself too
MAX_NAMED = 5  # such documents; more are named by a year or a word that says little
NAMED = 3.0  # how much a page of a document that the question names is preferred as a candidate
RERANKED = 30  # pages of which a reranker reads a passage
_GAP = 4  # characters of white space allowed between neighbors
PASSAGE_CHARACTERS = 1200  # a passage grows by its neighbors on the page up to this size
_SENTENCE_REACH = 300  # characters within which the end of a sentence is looked for
# Which chunk of a page is shown: all words of the question are worth 1, its neighboring words PAIRS, being what the
# search found up to FOUND (docs/retrieval.md).
PAIRS = 0.2
FOUND = 0.2
REFERENCES = 0.3  # taken off a list of references, which repeats the words of titles and answers nothing
REFERENCE_MARK = re.compile(r"\bet al\b|\bdoi\b|\barXiv\b|\bIS[BS]N\b|\bpp\.|https?:", re.IGNORECASE)
_MIN_REFERENCES = 3  # marks of one in a chunk


class QueryEmbedder(Protocol):
    """Turns a question into a vector of the library's space."""

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return a float32 [dimension] vector, normalized where the library's vectors are."""
        ...


class PassageOrder(Protocol):
    """Orders the first passages again, as a reranker does."""

    def order(self, question: str, texts: Sequence[str]) -> list[int]:
        """Return the positions of the texts, best first."""
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
    score: float  # probability that the page holds the answer; falls with rank
    chunk_id: str  # of the chunk that it grew from
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
    reranker: PassageOrder | None = None,
) -> list[Passage]:
    """Return the best `k` passages for a question, best first, one a page; `documents` are document ids, None means all."""
    found, chunks = candidates(store, embedder, question, documents=documents)
    wanted = max(k, RERANKED) if reranker else k
    passages = []
    for rank, (page, probability) in enumerate(order_pages(question, found, chunks)[:wanted], 1):
        whole = chunks.get(page.key) or [page.best]
        best = answering_chunk(question, page, whole)
        grown = merge(best, (page.best, *page.others), whole)
        passages.append(_passage(rank, in_sentences(grown, best, whole), probability, best.id))
    return _rerank(reranker, question, passages)[:k] if reranker else passages


def _rerank(reranker: PassageOrder, question: str, passages: Sequence[Passage]) -> list[Passage]:
    """Return the passages with the first RERANKED in the reranker's order.

    The scores stay at their places, since the logits of a reranker have no common scale: whether the library answers is
    decided as without one, and which pages are shown is the reranker's choice.
    """
    order = reranker.order(question, [passage.text for passage in passages[:RERANKED]])
    moved = [*(passages[i] for i in order), *passages[RERANKED:]]
    return [replace(new, rank=old.rank, score=old.score) for new, old in zip(moved, passages, strict=True)]


def candidates(
    store: Store, embedder: QueryEmbedder, question: str, *, documents: Sequence[str] | None = None
) -> tuple[list[RankedPage], dict[tuple[str, int], list[Chunk]]]:
    """Return the pages that may answer a question, at most CANDIDATES, with all chunks of each."""
    vector = embedder.embed_query(question)

    def search_in(documents: Sequence[str] | None) -> list[RankedPage]:
        return rank_pages(
            store.search_text(question, limit=TEXT_LIMIT, documents=documents),
            store.search_vector(vector, limit=VECTOR_LIMIT, documents=documents),
        )

    pages = search_in(documents)
    shares = document_shares(question, [page.best.document for page in pages])
    named = list({page.best.document_id: None for page in pages if shares[page.best.document] >= NAMED_SHARE})
    best: dict[tuple[str, int], tuple[float, RankedPage]] = {}
    apart = 0 < len(named) <= MAX_NAMED and len(named) < len({page.best.document_id for page in pages})
    for of_pages in (pages, search_in(named) if apart else []):
        for rank, page in enumerate(of_pages, 1):
            nearness = (1 + NAMED * shares.get(page.best.document, 0.0)) / (RRF_K + rank)
            if nearness >= best.get(page.key, (0.0, page))[0]:
                best[page.key] = (nearness, page)
    found = [page for _, page in sorted(best.values(), key=lambda scored: -scored[0])[:CANDIDATES]]
    return found, store.page_chunks([page.key for page in found])


def order_pages(
    question: str, pages: Sequence[RankedPage], chunks: Mapping[tuple[str, int], Sequence[Chunk]]
) -> list[tuple[RankedPage, float]]:
    """Return the pages, best first, each with its probability to hold the answer; `chunks` holds all of each page.

    A page whose text is that of a better one is left out: copies of a file would take the places of other pages.
    """
    evidence = page_evidence(pages, chunks)
    scores = score_pages(question, evidence)
    order = _first_of_each_text(sorted(range(len(pages)), key=lambda i: -scores[i]), evidence)
    probabilities = page_probabilities(question, [evidence[i] for i in order], [scores[i] for i in order])
    return [(pages[i], probability) for i, probability in zip(order, probabilities, strict=True)]


def _first_of_each_text(order: Sequence[int], evidence: Sequence[PageEvidence]) -> list[int]:
    seen: dict[str, int] = {}
    for i in order:
        seen.setdefault(" ".join(evidence[i].text.split()).lower(), i)
    return list(seen.values())


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
    """One page that was found: its best chunk, and the other chunks found on it."""

    best: Chunk
    others: tuple[Chunk, ...]
    cosines: tuple[float, ...]  # of the chunks that were found, best first

    @property
    def key(self) -> tuple[str, int]:
        """Return document id and page number."""
        return (self.best.document_id, self.best.page)


def rank_pages(text_hits: Sequence[Hit], vector_hits: Sequence[Hit]) -> list[RankedPage]:
    """Fuse both searches by reciprocal rank and return the pages in the order of their best chunk.

    A chunk that only text search found gets the lowest cosine that vector search returned: its
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
        ranked.append(RankedPage(found[0], tuple(found[1:]), cosines))
    return ranked


def answering_chunk(question: str, page: RankedPage, chunks: Sequence[Chunk]) -> Chunk:
    """Return the chunk of a page that holds most of the question: rare words of the page weigh more."""
    wanted = question_terms(question)
    neighbors = {pair for pair in pairwise(terms(plain_years(question))) if set(pair) <= set(wanted)}
    analyzed = [passage_terms(chunk.body) for chunk in chunks]
    held = Counter(term for found in analyzed for term in set(found).intersection(wanted))
    weights = {term: inverse_frequency(held[term], len(chunks)) for term in wanted}
    places = {chunk.id: place for place, chunk in enumerate((page.best, *page.others))}

    def bearing(number: int) -> float:
        found = analyzed[number]
        words = sum(weights[term] for term in set(found).intersection(wanted)) / (sum(weights.values()) or 1.0)
        pairs = len(neighbors.intersection(pairwise(found))) / (len(neighbors) or 1)
        place = places.get(chunks[number].id)
        return words + PAIRS * pairs + (FOUND / (1 + place) if place is not None else 0.0)

    scores = [bearing(number) for number in range(len(chunks))]
    near = [number for number, score in enumerate(scores) if score > max(scores) - REFERENCES]
    return chunks[max(near, key=lambda n: scores[n] - REFERENCES * _lists_references(chunks[n].text))]


def _lists_references(text: str) -> bool:
    return len(REFERENCE_MARK.findall(text)) >= _MIN_REFERENCES


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


def _passage(rank: int, part: Chunk, score: float, chunk_id: str) -> Passage:
    return Passage(
        rank=rank,
        document=part.document,
        document_id=part.document_id,
        page=part.page,
        page_label=part.page_label,
        start=part.start,
        end=part.end,
        text=part.text,
        score=score,
        chunk_id=chunk_id,
        heading=part.heading,
        margins=part.running_lines,
        ocr=part.ocr,
    )


def _fits(one: Chunk, other: Chunk) -> bool:
    touches = one.start <= other.end + _GAP and other.start <= one.end + _GAP
    return touches and max(one.end, other.end) - min(one.start, other.start) <= PASSAGE_CHARACTERS


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    page, *others = sorted(chunks, key=lambda chunk: (chunk.start, chunk.end))
    for chunk in others:
        page = _join(page, chunk)
    return page


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


def in_sentences(part: Chunk, best: Chunk, chunks: Sequence[Chunk]) -> Chunk:
    """Return a part of a page around its `best` chunk in whole sentences, at most PASSAGE_CHARACTERS long."""
    reach = (part.start - _SENTENCE_REACH, part.end + _SENTENCE_REACH)
    page = _joined([part, *(chunk for chunk in chunks if chunk.end > reach[0] and chunk.start < reach[1])])
    start, end = part.start - page.start, part.end - page.start
    first, past = _sentence_at(page.text, start)
    fits = end - first <= PASSAGE_CHARACTERS or page.start + past > best.start
    start = first if fits or first == start else past
    end = min(end, start + PASSAGE_CHARACTERS)
    last, past = _sentence_at(page.text, end - 1)
    end = past if past - start <= PASSAGE_CHARACTERS else last if last > start else end
    start += len(page.text[start:end]) - len(page.text[start:end].lstrip())
    text = page.text[start:end].rstrip()
    ranges = ((max(0, a - start), min(len(text), b - start)) for a, b in page.running_lines)
    lines = tuple((a, b) for a, b in ranges if a < b)
    start += page.start
    return replace(part, start=start, end=start + len(text), text=text, running_lines=lines)


def _sentence_at(text: str, place: int) -> tuple[int, int]:
    """Return where the sentence or table row at a place begins and ends; the place itself where that is far away."""
    left, right = max(0, place - _SENTENCE_REACH), min(len(text), place + _SENTENCE_REACH)
    for sentence in split_sentences(text[left:right]):
        start, end = sentence.start + left, sentence.end + left
        if start <= place < end:
            return place if left and start == left else start, place + 1 if right < len(text) and end == right else end
    return place, place + 1


def whole_page(chunks: Sequence[Chunk]) -> Passage:
    """Return all chunks of one page as one passage, of rank 0 and score 1 because the page itself was asked for."""
    page = _joined(chunks)
    return _passage(0, page, 1.0, page.id)
