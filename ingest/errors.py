"""What can go wrong while PDFs become searchable passages; every message names what was found, where, and the next step.

IngestError
├── UnreadablePDF           the bytes are no PDF that can be read
│   ├── PasswordRequired    encrypted, and no or a wrong password was given
│   ├── NoTextInPDF         opens, but holds no text (scanned)
│   └── ParserLimit         reading took too long, too much memory or too many pages
├── LinkRefused             an address that may not be fetched, or did not answer with a PDF
├── EmbedderUnavailable     no weights, or the embedding endpoint does not answer
├── StoreError              the library cannot be read or written
│   ├── StoreUnreachable    the server does not answer
│   ├── IdentityMismatch    the library was made with another embedder or chunking
│   └── SchemaTooNew        the library was written by a newer version
└── UnknownDocument         no such document in the library
"""

from quire import QuireError


class IngestError(QuireError):
    """Base of all errors of this package."""


class UnreadablePDF(IngestError):
    """The bytes are not a PDF that any of the two parsers can read."""


class PasswordRequired(UnreadablePDF):
    """The PDF is encrypted and no password, or a wrong one, was given."""


class NoTextInPDF(UnreadablePDF):
    """The PDF opens but no page holds text."""


class ParserLimit(UnreadablePDF):
    """Reading the PDF went past the limit of time, memory or pages."""


class LinkRefused(IngestError):
    """The address may not be fetched, or what it answered is no PDF."""


class EmbedderUnavailable(IngestError):
    """The embedding model's weights or endpoint cannot be had."""


class StoreError(IngestError):
    """The library cannot be read or written."""


class StoreUnreachable(StoreError):
    """The store's server does not answer."""


class IdentityMismatch(StoreError):
    """The library was made with another embedder or other chunking."""


class SchemaTooNew(StoreError):
    """The library was written by a newer version of quire."""


class UnknownDocument(IngestError):
    """The library holds no document of that name or id."""
