"""The text of a page as people read it, and where each of its characters came from in what PDFium gave."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

HYPHEN = "\ufffe"  # what PDFium writes for a hyphen at a line's end, the break itself left out

# Words after which a hyphen at a line's end is a compound's; syllable breaks seldom leave one of these.
_COMPOUND = re.compile(
    r"\W*(non|self|third|first|second|long|short|high|low|mid|full|part|half|year|month|day|cash|tax|asset|stock"
    r"|share|market|time|risk|cost|value|well|off|co|ex|semi|cross|fair|debt|equity|forward|follow|so)",
    re.IGNORECASE,
)
_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\uffff\ud800-\udfff"
_EDITS = re.compile(f"\r\n?|\t|\xa0|\xad(?:[ ]*(?:\r\n?|\n))?|{HYPHEN}(?:\r\n?|\n)?|[{_CONTROL}]")
# In text set by TeX about a tenth of the lines end in a hyphen; in annual reports 0.4 %, nearly all of them compounds.
_SYLLABLE_BREAKS = 0.03


def normalise(raw: str) -> str:
    r"""Return text with \n line ends, no control characters, words joined across line ends, in NFC."""
    return normalise_with_origins(raw)[0]


def normalise_with_origins(raw: str) -> tuple[str, list[tuple[int, int, int, int]]]:
    """Return the normalised text and its runs: (start, end) in it came from (start, end) in `raw`.

    A run of equal lengths is verbatim, character for character; of another length, all of it came from all of that.
    Raw characters in no run were dropped.
    """
    parts: list[str] = []
    runs: list[tuple[int, int, int, int]] = []
    length = 0

    def take(text: str, start: int, end: int) -> None:
        nonlocal length
        if text:
            parts.append(text)
            runs.append((length, length + len(text), start, end))
            length += len(text)

    last = 0
    for start, end, replacement in _edits(raw):
        take(raw[last:start], last, start)
        take(replacement, start, end)
        last = end
    take(raw[last:], last, len(raw))
    return "".join(parts), runs


def origins(runs: list[tuple[int, int, int, int]], start: int, end: int) -> list[int]:
    """Return the raw positions that the characters from `start` to `end` of the normalised text came from."""
    found: list[int] = []
    for text_start, text_end, raw_start, raw_end in runs:
        low, high = max(start, text_start), min(end, text_end)
        if low >= high:
            continue
        if text_end - text_start == raw_end - raw_start:
            found.extend(range(raw_start + low - text_start, raw_start + high - text_start))
        else:
            found.extend(range(raw_start, raw_end))
    return found


def _edits(raw: str) -> Iterator[tuple[int, int, str]]:
    joins = _joins_syllables(raw)
    last = 0
    for match in _EDITS.finditer(raw):
        yield from _compositions(raw, last, match.start())
        yield match.start(), match.end(), _replacement(raw, match, joins)
        last = match.end()
    yield from _compositions(raw, last, len(raw))


def _replacement(raw: str, match: re.Match[str], joins_syllables: bool) -> str:
    first = match.group()[0]
    if first in "\r\n":
        return "\n"
    if first in "\t\xa0":
        return " "
    if first == HYPHEN:
        return "" if joins_syllables and not _is_compound(raw, match) else "-"
    return ""


def _joins_syllables(raw: str) -> bool:
    breaks = raw.count(HYPHEN)
    return bool(breaks) and breaks >= _SYLLABLE_BREAKS * (raw.count("\n") + breaks + 1)


def _is_compound(raw: str, match: re.Match[str]) -> bool:
    left = re.search(r"[^\s\ufffe]*$", raw[max(0, match.start() - 40) : match.start()])
    word = left.group() if left else ""
    following = raw[match.end() : match.end() + 1]
    if not word or not word[-1].isalpha() or not following.islower():
        return True  # "13a-15", "S-T", "Non-GAAP": no syllable break
    return "-" in word or bool(_COMPOUND.fullmatch(word))


def _compositions(raw: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    piece = raw[start:end]
    if piece.isascii() or unicodedata.is_normalized("NFC", piece):
        return
    place = 0
    while place < len(piece):
        stop = place + 1
        while stop < len(piece) and _joins_previous(piece[stop]):
            stop += 1
        composed = unicodedata.normalize("NFC", piece[place:stop])
        if composed != piece[place:stop]:
            yield start + place, start + stop, composed
        place = stop


def _joins_previous(character: str) -> bool:
    if unicodedata.combining(character) or "\u1160" <= character <= "\u11ff":  # Hangul vowels and finals
        return True
    return unicodedata.category(character) in ("Mn", "Mc")
