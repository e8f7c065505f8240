"""Texts to unit vectors: built-in MiniLM, or a model of Ollama or of an OpenAI-compatible server."""
