"""Data sets to rows that a trainer takes: reading, checking, splitting, mixing, encoding."""
