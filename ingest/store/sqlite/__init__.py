"""The embedded store: a library in one SQLite file, with a text index beside it."""
