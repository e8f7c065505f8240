"""The training demo on tiny models."""
