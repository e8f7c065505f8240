"""PDFs to searchable passages: reading, splitting, embedding and storing."""

from quire.lazy import public_names

__getattr__, __dir__ = public_names(__name__)
