"""The vectors of a library in memory, for exact search."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

BLOCK = 16_384  # minimum rows of a block; appending never copies existing rows
MAX_DEAD_SHARE = 0.25  # of rows of removed documents, before the blocks are packed again


@dataclass(frozen=True)
class _Span:
    """The rows `start` to `start + count` of a block, which hold one version of a document."""

    version: int
    block: int
    start: int
    count: int


class Snapshot:
    """The vectors at one point in time; appending to the matrix does not change it."""

    def __init__(self, blocks: tuple[Vectors, ...], spans: dict[int, _Span]) -> None:
        self._blocks, self._spans = blocks, spans
        self._offsets = np.cumsum([0, *(len(block) for block in blocks)])
        order = sorted(spans.items(), key=lambda item: (item[1].block, item[1].start))
        order = [(key, span) for key, span in order if span.count]
        self._keys = np.array([key for key, _ in order], dtype=np.int64)
        self._starts = np.array([self._offsets[s.block] + s.start for _, s in order], dtype=np.int64)
        self._counts = np.array([s.count for _, s in order], dtype=np.int64)

    def search(self, vector: Vectors, limit: int, documents: Collection[int] | None) -> list[tuple[int, int, float]]:
        """Return (document key, position, cosine) of the best chunks, best first; ties by key and position."""
        if limit <= 0 or not len(self._keys):
            return []
        if documents is None:
            keys, starts, scores = self._keys, self._starts, self._all_scores(vector)
        else:
            keys, starts, scores = self._scores_of(documents, vector)
        best = _largest(scores, limit)
        best = best[scores[best] > -np.inf]
        which = np.searchsorted(starts, best, side="right") - 1
        found = zip(keys[which].tolist(), (best - starts[which]).tolist(), scores[best].tolist(), strict=True)
        return sorted(found, key=lambda row: (-row[2], row[0], row[1]))

    def _all_scores(self, vector: Vectors) -> Vectors:
        scores = np.empty(int(self._offsets[-1]), dtype=np.float32)
        for block, (start, end) in zip(self._blocks, pairwise(self._offsets), strict=True):
            np.dot(block, vector, out=scores[start:end])
        ends = self._starts + self._counts
        if int(self._counts.sum()) < len(scores):
            for start, end in zip([0, *ends], [*self._starts, len(scores)], strict=True):
                scores[start:end] = -np.inf  # rows of removed documents
        return scores

    def _scores_of(
        self, documents: Collection[int], vector: Vectors
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Vectors]:
        """Return keys, first rows and scores of these documents only, as if there were no others."""
        chosen = [(k, self._spans[k]) for k in dict.fromkeys(documents) if k in self._spans and self._spans[k].count]
        ends = np.cumsum([s.count for _, s in chosen], dtype=np.int64)
        scores = np.empty(int(ends[-1]) if chosen else 0, dtype=np.float32)
        for (_, span), end in zip(chosen, ends, strict=True):
            rows = self._blocks[span.block][span.start : span.start + span.count]
            np.dot(rows, vector, out=scores[end - span.count : end])
        keys = np.array([key for key, _ in chosen], dtype=np.int64)
        return keys, ends - np.array([s.count for _, s in chosen], dtype=np.int64), scores


class Matrix:
    """A growing set of documents' unit vectors, float32; one thread may change it while others search."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._blocks: list[Vectors] = []  # each allocated whole, filled from the front
        self._used: list[int] = []
        self._spans: dict[int, _Span] = {}

    def versions(self) -> dict[int, int]:
        """Return the version of each document's vectors, by key."""
        return {key: span.version for key, span in self._spans.items()}

    def discard(self, keys: Iterable[int]) -> None:
        """Drop documents; their memory is freed once they are a quarter of all rows."""
        for key in keys:
            self._spans.pop(key, None)
        live, held = sum(s.count for s in self._spans.values()), sum(self._used)
        if held - live > max(BLOCK // 4, MAX_DEAD_SHARE * held):
            self._pack()

    def reserve(self, rows: int) -> None:
        """Allocate one block for `rows` rows if they exceed the minimum block."""
        if rows > BLOCK:
            self._add_block(rows)

    def append(self, key: int, version: int, vectors: NDArray[np.floating]) -> None:
        """Add one document's vectors, [n, dimension] of any float type, replacing an earlier version."""
        count = len(vectors)
        if not self._blocks or self._used[-1] + count > len(self._blocks[-1]):
            self._add_block(max(BLOCK, count))
        block, start = len(self._blocks) - 1, self._used[-1]
        self._blocks[block][start : start + count] = vectors
        self._used[block] += count
        self._spans[key] = _Span(version, block, start, count)

    def snapshot(self) -> Snapshot:
        """Return the present vectors for searching, without copying them."""
        views = tuple(block[:used] for block, used in zip(self._blocks, self._used, strict=True))
        return Snapshot(views, dict(self._spans))

    def _add_block(self, rows: int) -> None:
        self._blocks.append(np.empty((rows, self.dimension), dtype=np.float32))
        self._used.append(0)

    def _pack(self) -> None:
        old_blocks, old_spans = self._blocks, self._spans
        self._blocks, self._used, self._spans = [], [], {}
        for key, span in old_spans.items():
            rows = old_blocks[span.block][span.start : span.start + span.count]
            self.append(key, span.version, rows)


def _largest(scores: Vectors, limit: int) -> NDArray[np.int64]:
    """Return the indices of the `limit` largest scores; ties at the limit go to the first."""
    if limit >= len(scores):
        return np.arange(len(scores))
    edge = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    above = np.flatnonzero(scores > edge)
    return np.concatenate([above, np.flatnonzero(scores == edge)[: limit - len(above)]])
