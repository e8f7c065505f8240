"""What an embedder is to the rest of the house: two methods, a count of shortened texts, and an identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EmbedderIdentity:
    """What must agree for two vectors to be comparable."""

    name: str
    revision: str  # hash of the weights and how they are computed, or the digest that a server gives
    dimension: int
    normalised: bool = True
    query_prefix: str = ""  # put before a question
    passage_prefix: str = ""  # put before a passage


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    truncated: int  # texts so far that were longer than the model reads, and were shortened

    def identity(self) -> EmbedderIdentity:
        """Return what must agree for two vectors to be comparable."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors [texts, dimension], rows in the order of `texts`. Raises EmbedderUnavailable."""
        ...

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the unit vector [dimension] of a question. Raises EmbedderUnavailable."""
        ...


def to_unit_length(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows [n, dimension] at length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(rows / lengths, np.float32)
