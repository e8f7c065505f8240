"""Loads the embedder with a given name."""

from __future__ import annotations

from ingest.config import IngestConfig
from ingest.embed.identity import Embedder
from ingest.embed.weights import find_weights
from quire import UsageError

MINILM_PRECISION = "int8"  # docs/embedding.md has the measurements


def load_embedder(config: IngestConfig, *, threads: int | None = None) -> Embedder:
    """Return the embedder that `config.embedder` names; `threads` None means one per core.

    Raises EmbedderUnavailable if its weights are missing or its endpoint does not answer, UsageError for an unknown name.
    """
    kind, _, name = config.embedder.partition(":")
    if kind == "minilm" or (kind == "hf" and name):
        from ingest.embed.encoder import MINILM, SentenceEncoder
        from ingest.embed.model_settings import read_settings

        weights, models = find_weights(config, download=True), config.home / "models"
        if kind == "minilm":
            return SentenceEncoder(weights, models, MINILM, precision=MINILM_PRECISION, threads=threads or 0)
        return SentenceEncoder(
            weights, models, read_settings(weights.folder, weights.name), precision="fp32", threads=threads or 0
        )
    if kind == "ollama" and name:
        from ingest.embed.endpoint import OllamaEmbedder

        return OllamaEmbedder(name, config.ollama_host)
    if kind == "openai" and name:
        from ingest.embed.endpoint import OpenAIEmbedder

        return OpenAIEmbedder(name, config.openai_base_url, config.openai_api_key)
    raise UsageError(
        f"embedder is {config.embedder!r}",
        "use minilm, minilm:FOLDER, hf:FOLDER_OR_NAME, ollama:MODEL or openai:MODEL",
    )
