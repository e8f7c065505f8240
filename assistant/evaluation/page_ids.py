"""Ids of pages for formats whose ids must hold no blank: `annual%20report.pdf#p12`."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

_PAGE_ID = re.compile(r"(.+)#p(\d+)")


def page_id(document: str, page: int) -> str:
    """Return the id of a page of a document, such as `annual%20report.pdf#p12`."""
    return f"{encoded(document)}#p{page}"


def page_of(identifier: str) -> tuple[str, int] | None:
    """Return (document, page) of an id that `page_id` wrote, None for another id."""
    match = _PAGE_ID.fullmatch(identifier)
    return (unquote(match[1]), int(match[2])) if match else None


def encoded(text: str) -> str:
    """Return a text percent-encoded, "-" for an empty one."""
    return quote(text, safe="/:") or "-"
