"""Which lines of a page are headers, footers or headings, by their repetition and type size."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ingest.pdf.pdfium import Line

_EDGE_LINES = 4  # at the top and at the bottom of a page; headers and footers are looked for there
_MIN_PAGES = 3  # a line on fewer pages does not count as repeated
_REPEATED_SHARE = 0.3  # of the pages; left and right pages often have different headers, each on under half of them
_HEADING_SIZE = 1.15  # of the size of the body
_MAX_HEADINGS = 8  # of one page

_ROMAN = re.compile(r"\b[ivxlc]+\b")


def running_lines(texts: Sequence[str]) -> list[tuple[tuple[int, int], ...]]:
    """Return for each page the character ranges of its headers and footers: edge lines that repeat, digits ignored.

    In forms and payslips whole pages repeat except for their numbers. If most pages would keep no body, pages without a
    body have no running lines.
    """
    places = [_line_ranges(text) for text in texts]
    seen: Counter[str] = Counter()
    written = 0
    for text, spans in zip(texts, places, strict=True):
        edge = spans[:_EDGE_LINES] + spans[-_EDGE_LINES:]
        seen.update({_masked(text[a:b]) for a, b in edge})
        written += bool(spans)
    needed = max(_MIN_PAGES, _REPEATED_SHARE * written)
    running = {key for key, count in seen.items() if count >= needed}
    found = [_running_ranges(text, spans, running) for text, spans in zip(texts, places, strict=True)]
    bodiless = [bool(spans) and len(ranges) == len(spans) for ranges, spans in zip(found, places, strict=True)]
    if sum(bodiless) * 2 > written:
        return [() if no_body else ranges for ranges, no_body in zip(found, bodiless, strict=True)]
    return found


def _running_ranges(text: str, spans: list[tuple[int, int]], running: set[str]) -> tuple[tuple[int, int], ...]:
    top = 0
    while top < min(_EDGE_LINES, len(spans)) and _masked(text[slice(*spans[top])]) in running:
        top += 1
    bottom = len(spans)
    while bottom > max(top, len(spans) - _EDGE_LINES) and _masked(text[slice(*spans[bottom - 1])]) in running:
        bottom -= 1
    return tuple(spans[:top] + spans[bottom:])


def _line_ranges(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[^\s](?:[^\n]*[^\s])?", text)]


def _masked(line: str) -> str:
    folded = " ".join(line.casefold().split())
    return re.sub(r"\d+", "#", _ROMAN.sub("#", folded))


def body_size(pages: Sequence[Sequence[Line]]) -> float:
    """Return the type size of most characters of a document, 0 if it has none."""
    weights: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            weights[round(line.size, 1)] += line.end - line.start
    return max(weights, key=lambda size: (weights[size], -size)) if weights else 0.0


def headings(raw: str, lines: Sequence[Line], *, body: float) -> list[tuple[int, int]]:
    """Return the ranges of lines in clearly larger or bolder type than the body, in reading order."""
    bold_is_rare = sum(line.bold for line in lines) <= 0.3 * len(lines)
    found = [
        (line.start, line.end)
        for line in lines
        if (line.size >= _HEADING_SIZE * body or (line.bold and bold_is_rare and line.size >= 0.95 * body))
        and _is_title_like(raw[line.start : line.end])
    ]
    return found[:_MAX_HEADINGS]


def _is_title_like(line: str) -> bool:
    letters = sum(c.isalpha() for c in line)
    if not 3 <= len(line) <= 120 or letters < 3 or letters < 0.6 * len(line.replace(" ", "")):
        return False
    first = next(c for c in line if c.isalpha())
    return not first.islower() and line[-1] not in ",;"
