"""Chat templates (ChatML, Alpaca ...): messages to text and tokens, in Python, Jinja and Go."""
