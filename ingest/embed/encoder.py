"""A sentence-embedding model with its weights on this machine: texts to unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ingest.embed.identity import EmbedderIdentity, Vectors, to_unit_length
from ingest.embed.model_settings import ModelSettings
from ingest.embed.runtime import Runtime
from ingest.embed.weights import Weights

# of all-MiniLM-L6-v2, whose tokenizer.json says 128 tokens
MINILM = ModelSettings(max_tokens=256)


class SentenceEncoder:
    """An embedding model, loaded once; safe to call from one thread at a time."""

    def __init__(
        self, weights: Weights, models: Path, settings: ModelSettings = MINILM, *, precision: str, threads: int = 0
    ) -> None:
        self._settings = settings
        self._runtime = Runtime(
            weights,
            models,
            head=settings.pooling,
            precision=precision,
            max_tokens=settings.max_tokens,
            threads=threads,
        )
        if settings.lower_case:
            _lower_case(self._runtime.tokenizer)
        self._identity = EmbedderIdentity(
            weights.name,
            self._revision(),
            self._runtime.width,
            query_prefix=settings.query_prefix,
            passage_prefix=settings.passage_prefix,
        )

    def identity(self) -> EmbedderIdentity:
        """Return name, hash of the weights with how they are run, dimension and prefixes."""
        return self._identity

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [texts, dimension], rows in the order of `texts`."""
        return self._embed([self._settings.passage_prefix + text for text in texts])

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector [dimension] of a question."""
        row: Vectors = self._embed([self._settings.query_prefix + text])[0]
        return row

    def _embed(self, texts: list[str]) -> Vectors:
        rows = np.empty((len(texts), self._identity.dimension), np.float32)
        for indices, output, mask in self._runtime.run(texts):
            rows[indices] = output if output.ndim == 2 else _pool(output, mask, self._settings.pooling)
        return rows if self._runtime.output == "vectors" else to_unit_length(rows)

    def _revision(self) -> str:
        """Return what must be equal for vectors to be comparable; libraries made with MiniLM hold the short form."""
        runtime, settings = self._runtime, self._settings
        if settings is MINILM:
            return f"{runtime.fingerprint[:12]}-{runtime.precision}"
        lower = "-lower" * settings.lower_case
        return f"{runtime.fingerprint}-{runtime.precision}-{settings.pooling}-{settings.max_tokens}{lower}"


def _pool(hidden: Vectors, mask: np.ndarray, pooling: str) -> Vectors:
    """Pool the output [batch, tokens, hidden] of an exported graph that has no pooling."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "max":
        return np.asarray(np.where(mask[:, :, None] == 1, hidden, -np.inf).max(axis=1), np.float32)
    return np.asarray((hidden * mask[:, :, None]).sum(axis=1), np.float32)  # as a unit vector the same as the mean


def _lower_case(tokenizer: object) -> None:
    from tokenizers.normalizers import Lowercase, Sequence

    before = tokenizer.normalizer  # type: ignore[attr-defined]
    tokenizer.normalizer = Sequence([Lowercase(), before] if before else [Lowercase()])  # type: ignore[attr-defined]
