"""Texts to unit vectors, by MiniLM in this process or a model behind Ollama or an OpenAI API."""
