"""Chat templates and the languages they are exported to."""
