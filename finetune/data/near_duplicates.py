"""Rows that are nearly the same: MinHash proposes pairs, and their 3-word shingles decide."""

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetune.errors import MissingLibrary
from quire import require_extra

MIN_SIMILARITY = 0.85  # Jaccard similarity of 3-word shingles of near duplicates
_HASHES = 64  # of one row; 256 bytes, so that a million rows need 256 MB
_MIN_SHINGLES = 5  # a shorter text is too short to compare
_CACHED = 2048  # rows whose shingles are kept


class NearDuplicate(NamedTuple):
    """A row, an earlier one that it resembles, and their similarity; both rows by their index."""

    row: int
    other: int
    similarity: float


def find_near_duplicates(
    indexes: Sequence[int], text_of: Callable[[int], str], belong_together: Callable[[int, int], bool]
) -> Iterator[NearDuplicate]:
    """Yield each row that resembles an earlier one, with the first such row; rows that belong together are not compared.

    `indexes` are the rows to compare, without exact duplicates; `text_of` returns the text of one.
    """
    require_extra("finetune", "datasketch", purpose="finding near duplicates", error=MissingLibrary)
    shingles = lru_cache(_CACHED)(lambda index: shingles_of(text_of(index)))
    kept, hashes, band = _hashes(indexes, text_of)
    for place, others in _candidates(hashes, band):
        index = kept[place]
        own = shingles_of(text_of(index))
        for other in others:
            if belong_together(kept[other], index):
                continue
            similarity = _similarity(own, shingles(kept[other]))
            if similarity >= MIN_SIMILARITY:
                yield NearDuplicate(index, kept[other], similarity)
                break


def shingles_of(text: str) -> set[str]:
    """Return the overlapping groups of three words of a text."""
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def _similarity(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _hashes(indexes: Sequence[int], text_of: Callable[[int], str]) -> tuple[list[int], NDArray[np.uint32], Any]:
    """Return the rows that are long enough, their MinHash values [rows, 64], and the bands to compare."""
    from datasketch import MinHash, MinHashLSH

    band = MinHashLSH(threshold=MIN_SIMILARITY - 0.1, num_perm=_HASHES)
    sketch = MinHash(num_perm=_HASHES, seed=1)  # one for all rows: its permutations take long to draw
    values = np.empty((len(indexes), _HASHES), np.uint32)
    kept: list[int] = []
    for index in indexes:
        shingles = shingles_of(text_of(index))
        if len(shingles) < _MIN_SHINGLES:
            continue
        sketch.clear()
        sketch.update_batch([shingle.encode() for shingle in shingles])
        values[len(kept)] = sketch.hashvalues
        kept.append(index)
    return kept, values[: len(kept)], band


def _candidates(hashes: NDArray[np.uint32], band: Any) -> Iterator[tuple[int, Iterator[int]]]:
    """Yield each place whose values equal those of earlier ones in a whole band, with these in their order."""
    groups = [_groups(hashes[:, n * band.r : (n + 1) * band.r]) for n in range(band.b)]
    for place in np.flatnonzero(np.any([starts != positions for _, starts, positions in groups], axis=0)).tolist():
        earlier = [order[starts[place] : positions[place]].tolist() for order, starts, positions in groups]
        yield place, _unique(heapq.merge(*earlier))


def _groups(keys: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return an order that puts equal keys together, and for each place where its group begins and where it is in it."""
    order = np.lexsort(keys.T) if len(keys) else np.empty(0, np.intp)  # stable: equal keys keep their order
    ordered = keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.maximum.accumulate(np.where(new, np.arange(len(keys)), 0)) if len(keys) else order
    starts, positions = np.empty(len(keys), np.intp), np.empty(len(keys), np.intp)
    starts[order], positions[order] = first, np.arange(len(keys))
    return order, starts, positions


def _unique(ordered: Iterator[int]) -> Iterator[int]:
    last = -1
    for item in ordered:
        if item != last:
            yield item
        last = item
