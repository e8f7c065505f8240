"""Stored conversations: history, transcripts, thumbs and edits as training rows, the log."""
