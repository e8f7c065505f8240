"""Stored conversations: history, feedback, export and the operator's log."""
