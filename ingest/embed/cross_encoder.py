"""A cross-encoder with its weights on this machine: a question and texts to one logit each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ingest.embed.identity import Vectors
from ingest.embed.model_settings import longest_text
from ingest.embed.runtime import Runtime
from ingest.embed.weights import Weights, find_model
from ingest.errors import EmbedderUnavailable

# question and text together: what rerankers of 8,192 tokens were trained with; 1,200 characters are 300 tokens of
# English, and at most about 1,000 of Chinese
_MAX_TOKENS = 1024


class CrossEncoder:
    """A model for sequence classification with one output, loaded once."""

    def __init__(self, weights: Weights, models: Path, *, threads: int = 0) -> None:
        self.origin = weights.origin
        self._runtime = Runtime(
            weights,
            models,
            head="logit",
            precision="fp32",
            max_tokens=min(longest_text(weights.folder), _MAX_TOKENS),
            threads=threads,
        )
        if self._runtime.width != 1:
            raise EmbedderUnavailable(
                f"{weights.name} has {self._runtime.width} outputs, a reranker has one",
                "use a model made for reranking",
            )

    def logits(self, question: str, texts: Sequence[str]) -> Vectors:
        """Return one logit a text [texts]: the higher, the better the text answers the question."""
        found = np.empty(len(texts), np.float32)
        for indices, output, _ in self._runtime.run([(question, text) for text in texts]):
            found[indices] = output[:, 0]
        return found


def load_cross_encoder(name: str, home: Path, *, download: bool = True) -> CrossEncoder:
    """Return the cross-encoder that `name` names: a folder, or OWNER/NAME of the hub, with or without @REVISION.

    Raises EmbedderUnavailable if it is not there, if it cannot be downloaded, or if it is not such a model.
    """
    return CrossEncoder(find_model(name.removeprefix("hf:"), download=download), home / "models")
