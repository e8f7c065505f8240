"""What a page's lines are (running header, heading, body), told from repetition and type, not from words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ingest.pdf.pdfium import Line

_EDGE_LINES = 4  # lines at either end of a page among which headers and footers are looked for
_FEWEST_PAGES = 3  # below this nothing can be said to repeat
_REPEATED = 0.3  # share of pages; left and right pages often carry different headers, each on under half
_LARGER = 1.15  # size of a heading against the body
_MOST_HEADINGS = 8  # of one page

_ROMAN = re.compile(r"\b[ivxlc]+\b")


def running_lines(texts: Sequence[str]) -> list[tuple[tuple[int, int], ...]]:
    """Return each page's character ranges of top and bottom lines that many pages share, digits masked.

    Where that would leave most pages without a body (forms, payslips: alike but for their numbers), such pages have no
    running_lines, for what repeats is what they say.
    """
    places = [_line_places(text) for text in texts]
    seen: Counter[str] = Counter()
    written = 0
    for text, spans in zip(texts, places, strict=True):
        edge = spans[:_EDGE_LINES] + spans[-_EDGE_LINES:]
        seen.update({_masked(text[a:b]) for a, b in edge})
        written += bool(spans)
    needed = max(_FEWEST_PAGES, _REPEATED * written)
    running = {key for key, count in seen.items() if count >= needed}
    found = [_running_ranges(text, spans, running) for text, spans in zip(texts, places, strict=True)]
    bare = [bool(spans) and len(ranges) == len(spans) for ranges, spans in zip(found, places, strict=True)]
    if sum(bare) * 2 > written:
        return [() if nothing_left else ranges for ranges, nothing_left in zip(found, bare, strict=True)]
    return found


def _running_ranges(text: str, spans: list[tuple[int, int]], running: set[str]) -> tuple[tuple[int, int], ...]:
    top = 0
    while top < min(_EDGE_LINES, len(spans)) and _masked(text[slice(*spans[top])]) in running:
        top += 1
    bottom = len(spans)
    while bottom > max(top, len(spans) - _EDGE_LINES) and _masked(text[slice(*spans[bottom - 1])]) in running:
        bottom -= 1
    return tuple(spans[:top] + spans[bottom:])


def _line_places(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[^\s](?:[^\n]*[^\s])?", text)]


def _masked(line: str) -> str:
    folded = " ".join(line.casefold().split())
    return re.sub(r"\d+", "#", _ROMAN.sub("#", folded))


def body_size(pages: Sequence[Sequence[Line]]) -> float:
    """Return the size of type that most characters of a document are set in, 0 without any."""
    weights: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            weights[round(line.size, 1)] += line.end - line.start
    return max(weights, key=lambda size: (weights[size], -size)) if weights else 0.0


def headings(raw: str, lines: Sequence[Line], *, body: float) -> list[tuple[int, int]]:
    """Return the places of lines in clearly larger or bolder type than the body, in reading order."""
    bold = sum(line.bold for line in lines)
    bold_tells = bold <= 0.3 * len(lines)
    found = [
        (line.start, line.end)
        for line in lines
        if _is_title_like(raw[line.start : line.end])
        and (line.size >= _LARGER * body or (line.bold and bold_tells and line.size >= 0.95 * body))
    ]
    return found[:_MOST_HEADINGS]


def _is_title_like(line: str) -> bool:
    letters = sum(c.isalpha() for c in line)
    if not 3 <= len(line) <= 120 or letters < 3 or letters < 0.6 * len(line.replace(" ", "")):
        return False
    first = next(c for c in line if c.isalpha())
    return not first.islower() and line[-1] not in ",;"
