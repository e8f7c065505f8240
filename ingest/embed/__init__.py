"""Texts to unit vectors: MiniLM in this process, or an embedding model behind Ollama or an OpenAI-compatible server."""

from ingest.embed.identity import Embedder, EmbedderIdentity
from ingest.embed.load import load_embedder
from ingest.embed.weights import Weights, find_weights
from ingest.text.language import mostly_english

__all__ = [
    "Embedder",
    "EmbedderIdentity",
    "Weights",
    "find_weights",
    "load_embedder",
    "mostly_english",
]
