"""What is kept of conversations: history, feedback, log."""
