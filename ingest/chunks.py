"""Splits pages into passages of bounded size with their exact place on the page; it does not read or embed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chunk:
    """One passage: `text` is the page's text from `start` to `end`, verbatim."""

    id: str  # UUID5 of document id, bytes hash, chunking settings and position
    document_id: str
    document: str  # display name
    page: int  # 1-based
    page_label: str
    start: int  # character range on the page's text
    end: int
    text: str
    heading: str = ""  # the page's headings joined with " | "
    margins: tuple[tuple[int, int], ...] = ()  # running header and footer ranges, relative to `text`
    parser: str = ""
