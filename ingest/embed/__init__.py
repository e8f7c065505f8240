"""Texts to unit vectors: MiniLM in this process, or a model behind Ollama or an OpenAI-compatible server."""
