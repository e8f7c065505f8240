"""The `Embedder` protocol, and what identifies an embedder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class EmbedderIdentity:
    """What must be equal for vectors of two embedders to be comparable."""

    name: str
    revision: str  # hash of the weights and of how they are run, or the digest that a server reports
    dimension: int
    normalised: bool = True
    query_prefix: str = ""  # written before a question
    passage_prefix: str = ""  # written before a text to be found


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    def identity(self) -> EmbedderIdentity:
        """Return the identity that is recorded with the vectors."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [texts, dimension], rows in the order of `texts`. Raises EmbedderUnavailable."""
        ...

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector [dimension] of a question. Raises EmbedderUnavailable."""
        ...


def to_unit_length(rows: Vectors) -> Vectors:
    """Return rows [n, dimension] at length 1; a row of zeros stays zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(rows / lengths, np.float32)
