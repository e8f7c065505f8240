"""Loads the embedder with a given name."""

from __future__ import annotations

from ingest.config import IngestConfig
from ingest.embed.identity import Embedder
from ingest.embed.weights import find_weights
from quire import UsageError


def load_embedder(config: IngestConfig, *, threads: int | None = None) -> Embedder:
    """Return the embedder that `config.embedder` names; `threads` None means one per core.

    Raises EmbedderUnavailable if its weights are missing or its endpoint does not answer, UsageError for an unknown name.
    """
    kind, _, name = config.embedder.partition(":")
    if kind == "minilm":
        from ingest.embed.minilm import MiniLM

        return MiniLM(find_weights(config, download=True), config.home / "models", threads=threads or 0)
    if kind == "ollama" and name:
        from ingest.embed.endpoint import OllamaEmbedder

        return OllamaEmbedder(name, config.ollama_host)
    if kind == "openai" and name:
        from ingest.embed.endpoint import OpenAIEmbedder

        return OpenAIEmbedder(name, config.openai_base_url, config.openai_api_key)
    raise UsageError(f"embedder is {config.embedder!r}", "use minilm, minilm:FOLDER, ollama:MODEL or openai:MODEL")
