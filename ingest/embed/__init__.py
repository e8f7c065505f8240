"""Texts to unit vectors: MiniLM, a model of a folder or of the hub, or one behind HTTP."""
