"""Measures retrieval and answers on question files."""
