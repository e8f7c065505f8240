"""Questions to cited answers: search, models, answers, conversations and evaluation."""

from quire.lazy import public_names

__getattr__, __dir__ = public_names(__name__)
