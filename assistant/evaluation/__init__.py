"""Measures retrieval (hit@k) and answers on question files: metrics, judge, statistics, report."""
