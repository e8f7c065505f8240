"""Chat templates: messages to the text and tokens of a model, in Python, Jinja and Go."""
