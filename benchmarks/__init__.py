"""Measurements, each in one module: it prints one table and writes JSON to bench-out; never part of the tests."""
