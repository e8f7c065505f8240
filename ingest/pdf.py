"""Reads a PDF into pages of text, with what the file says about itself; it does not split, store or render."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PageKind = Literal["text", "scanned", "blank"]


@dataclass(frozen=True)
class Page:
    """One page as read: `text` is normalised (\\n line ends, no control characters) and is what character ranges count in."""

    number: int  # 1-based position in the file
    label: str  # printed page label, e.g. "iv"; str(number) where the file names none
    text: str
    kind: PageKind = "text"
    headings: tuple[
        str, ...
    ] = ()  # outline titles that point here, then lines set in clearly larger type, in reading order
    margins: tuple[tuple[int, int], ...] = ()  # character ranges of running headers and footers


@dataclass(frozen=True)
class PDF:
    """One parsed file: its pages and what its metadata says."""

    pages: tuple[Page, ...]
    title: str  # metadata title, cleaned; "" where it is absent or meaningless
    parser: str  # "pypdfium2 5.15.2"
    outline: tuple[tuple[int, str, int], ...] = ()  # (level from 0, title, page number)
    attachments: tuple[str, ...] = ()  # names of embedded files; never opened
    encrypted: bool = False  # a password was needed
    notices: tuple[str, ...] = field(default=())  # what a person should know, in whole sentences
