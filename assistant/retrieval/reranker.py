"""The reranker: a cross-encoder that reads the question together with each of the first passages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from assistant.config import AssistantConfig
from ingest import CrossEncoder, load_cross_encoder

_SENTENCE = "Net sales of the segment rose by 7 % to 31.4 billion dollars in the fiscal year. "


@dataclass(frozen=True)
class RerankingCost:
    """What one question costs: time, and the memory that the model takes as long as it is loaded."""

    seconds: float
    megabytes: float | None  # None where the platform does not say
    origin: str  # where the model was found


class Reranker:
    """Orders passages by a cross-encoder."""

    def __init__(self, model: CrossEncoder) -> None:
        self._model = model

    def order(self, question: str, texts: Sequence[str]) -> list[int]:
        """Return the positions of the texts, the one that answers best first; equal ones keep their order."""
        return [int(position) for position in np.argsort(-self._model.logits(question, texts), kind="stable")]


def load_reranker(config: AssistantConfig) -> Reranker | None:
    """Return the reranker that `config.reranker` names, None if it names none; it is loaded once.

    Raises EmbedderUnavailable if the model is not there or not a cross-encoder.
    """
    return _load(config.reranker, config.home) if config.reranker else None


@cache
def _load(name: str, home: Path) -> Reranker:
    return Reranker(load_cross_encoder(name, home))


def measure_reranker(config: AssistantConfig, *, passages: int, characters: int) -> RerankingCost:
    """Load the reranker without downloading it, order some passages, and return what it took."""
    before = _resident_bytes()
    model = load_cross_encoder(config.reranker, config.home, download=False)
    text = (_SENTENCE * (characters // len(_SENTENCE) + 1))[:characters]
    began = time.perf_counter()
    model.logits("By how much did net sales rise?", [text] * passages)
    seconds = time.perf_counter() - began
    return RerankingCost(seconds, (_resident_bytes() - before) / 1e6 if before else None, model.origin)


def _resident_bytes() -> int:
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()
    except (OSError, ImportError):  # macOS and Windows have no such file
        return 0
