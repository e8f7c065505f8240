"""The normalized text of a page, and the position of each of its characters in the text from PDFium."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import chain

Edit = tuple[int, int, str]  # start, end, replacement
Run = tuple[int, int, int, int]  # start and end in the result, start and end in the original

HYPHEN = "\ufffe"  # PDFium writes this for a hyphen at a line end, without the line end

# After these words a hyphen at a line end belongs to a compound; syllable breaks rarely leave one of them.
_COMPOUND = re.compile(
    r"\W*(non|self|third|first|second|long|short|high|low|mid|full|part|half|year|month|day|cash|tax|asset|stock"
    r"|share|market|time|risk|cost|value|well|off|co|ex|semi|cross|fair|debt|equity|forward|follow|so)",
    re.IGNORECASE,
)
_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\uffff\ud800-\udfff"
_UNUSUAL = re.compile(f"[\t\xa0\xad{HYPHEN}{_CONTROL}]")  # what must be edited besides line ends
_EDITS = re.compile(f"\r\n?|\t|\xa0|\xad(?:[ ]*(?:\r\n?|\n))?|{HYPHEN}(?:\r\n?|\n)?|[{_CONTROL}]")
# In TeX documents about a tenth of the lines end in a hyphen; in annual reports 0.4 %, nearly all of them compounds.
_MIN_HYPHENATED_SHARE = 0.03


def normalize(raw: str) -> str:
    r"""Return text with \n line ends, no control characters, words joined across line ends, in NFC."""
    cleaned = _apply(raw, _edits(raw))[0] if _UNUSUAL.search(raw) else raw.replace("\r\n", "\n").replace("\r", "\n")
    return cleaned if _is_composed(cleaned) else _apply(cleaned, _compositions(cleaned))[0]


def origins(raw: str, start: int, end: int) -> list[int]:
    """Return the positions in `raw` of the characters from `start` to `end` of the normalized text."""
    cleaned, cleaning = _apply(raw, _edits(raw))
    if not _is_composed(cleaned):
        _, composing = _apply(cleaned, _compositions(cleaned))
        positions = _original_positions(composing, start, end)
        start, end = (positions[0], positions[-1] + 1) if positions else (0, 0)
    return _original_positions(cleaning, start, end)


def alignment(raw: str) -> list[int]:
    """Return for each character of the normalized text the position in `raw` of what it stands for."""
    cleaned, cleaning = _apply(raw, _edits(raw))
    places = _starts(cleaning)
    if not _is_composed(cleaned):
        places = [places[at] for at in _starts(_apply(cleaned, _compositions(cleaned))[1])]
    return places


def _starts(runs: list[Run]) -> list[int]:
    found: list[int] = []
    for to_start, to_end, from_start, from_end in runs:
        same = to_end - to_start == from_end - from_start
        found += range(from_start, from_end) if same else [from_start] * (to_end - to_start)
    return found


def _apply(text: str, edits: Iterator[Edit]) -> tuple[str, list[Run]]:
    """Apply edits to a text; the runs map ranges of the result to ranges of the text."""
    parts: list[str] = []
    runs: list[Run] = []
    length = last = 0
    for start, end, replacement in chain(edits, [(len(text), len(text), "")]):
        for part, part_start, part_end in ((text[last:start], last, start), (replacement, start, end)):
            if part:
                parts.append(part)
                runs.append((length, length + len(part), part_start, part_end))
                length += len(part)
        last = end
    return "".join(parts), runs


def _original_positions(runs: list[Run], start: int, end: int) -> list[int]:
    found: list[int] = []
    for to_start, to_end, from_start, from_end in runs:
        low, high = max(start, to_start), min(end, to_end)
        if low >= high:
            continue
        if to_end - to_start == from_end - from_start:
            found.extend(range(from_start + low - to_start, from_start + high - to_start))
        else:  # the whole range maps to the whole range
            found.extend(range(from_start, from_end))
    return found


def _is_composed(text: str) -> bool:
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def _edits(raw: str) -> Iterator[Edit]:
    joins = _joins_syllables(raw)
    for match in _EDITS.finditer(raw):
        yield match.start(), match.end(), _replacement(raw, match, joins)


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
    return bool(breaks) and breaks >= _MIN_HYPHENATED_SHARE * (raw.count("\n") + breaks + 1)


def _is_compound(raw: str, match: re.Match[str]) -> bool:
    left = re.search(r"[^\s\ufffe]*$", raw[max(0, match.start() - 40) : match.start()])
    word = left.group() if left else ""
    following = raw[match.end() : match.end() + 1]
    if not word or not word[-1].isalpha() or not following.islower():
        return True  # "13a-15", "S-T", "Non-GAAP": not a syllable break
    return "-" in word or bool(_COMPOUND.fullmatch(word))


def _compositions(text: str) -> Iterator[Edit]:
    """Yield the NFC form of each letter with accents that differs; letter by letter, to keep the positions."""
    place = 0
    while place < len(text):
        stop = place + 1
        while stop < len(text) and _joins_previous(text[stop]):
            stop += 1
        composed = unicodedata.normalize("NFC", text[place:stop])
        if composed != text[place:stop]:
            yield place, stop, composed
        place = stop


def _joins_previous(character: str) -> bool:
    if unicodedata.combining(character) or "\u1160" <= character <= "\u11ff":  # Hangul vowels and finals
        return True
    return unicodedata.category(character) in ("Mn", "Mc")
