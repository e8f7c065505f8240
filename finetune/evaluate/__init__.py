"""Evaluation: scores of runs on pairs, and their answers side by side."""
