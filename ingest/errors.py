"""The errors of this package; a message says what was found and where, its hint what to do next.

IngestError
├── UnreadablePDF           the file is not a readable PDF
│   ├── PasswordRequired    encrypted, and the password is missing or wrong
│   ├── NoTextInPDF         has no text (scanned)
│   └── ParserLimit         too slow, too much memory or too many pages
├── LinkRefused             an address that is not allowed, or did not answer with a PDF
├── EmbedderUnavailable     weights are missing, or the endpoint does not answer
├── StoreError              the library cannot be read or written
│   ├── StoreUnreachable    the server does not answer
│   ├── IdentityMismatch    the library was created with another embedder or chunking
│   └── SchemaTooNew        the library was written by a newer version
└── UnknownDocument         the document is not in the library
"""

from quire import QuireError


class IngestError(QuireError):
    """Base of all errors of this package."""


class UnreadablePDF(IngestError):
    """The file is not a PDF that either of the two parsers can read."""


class PasswordRequired(UnreadablePDF):
    """The PDF is encrypted and no password, or a wrong one, was given."""


class NoTextInPDF(UnreadablePDF):
    """The PDF opens, but no page has text."""


class ParserLimit(UnreadablePDF):
    """Reading the PDF exceeded the limit of time, memory, pages or characters."""


class LinkRefused(IngestError):
    """The address is not allowed, or did not answer with a PDF."""


class EmbedderUnavailable(IngestError):
    """The weights of the embedding model are missing, or its endpoint does not answer."""


class StoreError(IngestError):
    """The library cannot be read or written."""


class StoreUnreachable(StoreError):
    """The server of the store does not answer."""


class IdentityMismatch(StoreError):
    """The library was created with another embedder or chunking."""


class SchemaTooNew(StoreError):
    """The library was written by a newer version of quire."""


class UnknownDocument(IngestError):
    """The library has no document with that name or id."""
