"""Reads the picture of one page; where the engine is not sure, also turned, leveled and cleaned."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ingest.errors import ParserLimit
from ingest.ocr.engine import Engine
from ingest.ocr.words import Piece, Word, confidence, evened, in_lines, in_reading_order, slope, turn_needed, turned

_MIN_SLOPE, _MAX_SLOPE, _SLOPES = 0.005, 0.09, 73  # 0.3 to 5 degrees, in steps of 0.14
_INK_POINTS = 60_000  # of a page, for its slope
_TRUST = 0.5  # words below it count against a reading


@dataclass(frozen=True)
class PageText:
    """What was read of a page: rows of words, their boxes in fractions of the page once it is upright and level."""

    rows: tuple[tuple[Word, ...], ...] = ()
    turn: int = 0  # degrees clockwise that set the page upright, a multiple of 90
    tilt: float = 0.0  # degrees counterclockwise that then make it level, a few at most
    confidence: float = 0.0


def read_page(engine: Engine, picture: Any, seconds: float) -> PageText:
    """Return the text of a gray picture, uint8 [height, width].

    Raises ParserLimit if the first reading takes longer than `seconds`; further ones share what is left of them.
    """
    end = time.monotonic() + seconds
    found = _reading(engine, picture, seconds)
    try:
        if found.turn:  # lines that run up or down are read less well than level ones
            upright = _turned(picture, found.turn)
            again = _reading(engine, upright, end - time.monotonic(), found.turn)
            found = max(found, again, key=lambda one: one.score)
        if found.pieces and not found.is_sure(engine):
            found = _try_again(engine, picture, found, end)
    except ParserLimit:
        pass  # what was read first is better than nothing
    return found.as_page(picture.shape)


def _reading(engine: Engine, picture: Any, seconds: float, turn: int = 0, fall: float = 0.0) -> _Reading:
    """Read a picture that was turned and leveled; engines read some lines that run up or down."""
    pieces = engine.read(picture, seconds)
    more = turn_needed(pieces)
    if not more:
        return _Reading(pieces, turn, fall)
    height, width = picture.shape
    return _Reading(turned(pieces, more, width, height), (turn + more) % 360)


@dataclass(frozen=True)
class _Reading:
    """The pieces of a picture that was turned clockwise by `turn` degrees, then leveled by `fall`."""

    pieces: Sequence[Piece]
    turn: int = 0
    fall: float = 0.0  # pixels down a pixel to the right

    @property
    def score(self) -> float:
        """How much was read, unsure words counted against it."""
        return sum(len(word.text) * (word.confidence - _TRUST) for piece in self.pieces for word in piece.words)

    def is_sure(self, engine: Engine) -> bool:
        return confidence(self.pieces) >= engine.low_confidence

    def as_page(self, shape: tuple[int, int]) -> PageText:
        height, width = shape if self.turn % 180 == 0 else shape[::-1]
        fall = self.fall + slope(self.pieces)
        tilt = math.atan(fall) if abs(fall) >= _MIN_SLOPE else 0.0
        level = [
            Piece(tuple(self._level(word, tilt, width, height) for word in piece.words))
            for piece in evened(self.pieces)
        ]
        rows = tuple(
            tuple(
                replace(
                    word,
                    left=word.left / width,
                    top=word.top / height,
                    right=word.right / width,
                    bottom=word.bottom / height,
                )
                for word in row
            )
            for row in in_lines(in_reading_order(level))
        )
        return PageText(rows, self.turn, round(math.degrees(tilt), 2), round(confidence(self.pieces), 3))

    def _level(self, word: Word, tilt: float, width: int, height: int) -> Word:
        """Return a word where it is once the page is turned about its center; its box stays upright."""
        x = (word.left + word.right) / 2 - width / 2
        y = (word.top + word.bottom) / 2 + (x + width / 2) * self.fall - height / 2
        x, y = x * math.cos(tilt) + y * math.sin(tilt) + width / 2, y * math.cos(tilt) - x * math.sin(tilt) + height / 2
        wide, high = (word.right - word.left) / 2, (word.bottom - word.top) / 2
        return replace(word, left=x - wide, top=y - high, right=x + wide, bottom=y + high)


def _try_again(engine: Engine, picture: Any, first: _Reading, end: float) -> _Reading:
    best = first
    turn = _best_turn(engine, picture, end)
    upright = _turned(picture, turn)
    if turn:
        best = max(best, _reading(engine, upright, end - time.monotonic(), turn), key=lambda one: one.score)
    if not best.is_sure(engine):
        upright = upright if turn == best.turn else _turned(picture, best.turn)
        fall = _slope_of_ink(upright)
        cleaned = _without_specks(_leveled(upright, fall))
        again = _reading(engine, cleaned, end - time.monotonic(), best.turn, fall)
        best = max(best, again, key=lambda one: one.score)
    return best


def _best_turn(engine: Engine, picture: Any, end: float) -> int:
    """Return by how many degrees to turn the picture, from the readings of its quarter with most ink."""
    part = _inky_part(picture)
    readings = [_reading(engine, _turned(part, turn), end - time.monotonic(), turn) for turn in (0, 90, 180, 270)]
    return max(readings, key=lambda one: one.score).turn


def _turned(picture: Any, degrees: int) -> Any:
    import numpy as np

    return np.ascontiguousarray(np.rot90(picture, -degrees // 90))


def _inky_part(picture: Any) -> Any:
    height, width = picture.shape
    parts = [
        picture[row * height // 4 : row * height // 4 + height // 2, column * width // 4 : (column + 2) * width // 4]
        for row in range(3)
        for column in range(3)
    ]
    return max(parts, key=lambda part: float((part[::2, ::2] < 128).mean()))


def _slope_of_ink(picture: Any) -> float:
    """Return the slope along which the ink of a page gathers in lines, 0 if the page is level."""
    import numpy as np

    rows, columns = np.nonzero(picture < 0.7 * picture.mean())
    if not rows.size:
        return 0.0
    step = max(1, rows.size // _INK_POINTS)
    rows, columns = rows[::step], columns[::step]
    slopes = np.linspace(-_MAX_SLOPE, _MAX_SLOPE, _SLOPES)
    margin = round(picture.shape[1] * _MAX_SLOPE) + 1

    def gathering(fall: float) -> float:
        lines = np.bincount((rows - columns * fall).astype(np.int64) + margin)
        return float((lines.astype(np.float64) ** 2).sum())

    best = float(max(slopes, key=gathering))
    return best if abs(best) >= _MIN_SLOPE else 0.0


def _leveled(picture: Any, fall: float) -> Any:
    """Return the picture with each column moved up by its distance times `fall`, filled with its paper."""
    import numpy as np

    if not fall:
        return picture
    height, width = picture.shape
    places = np.arange(height)[:, None] + np.rint(np.arange(width) * fall).astype(np.int64)[None, :]
    moved = np.take_along_axis(picture, np.clip(places, 0, height - 1), axis=0)
    moved[(places < 0) | (places >= height)] = np.median(picture)
    return moved


def _without_specks(picture: Any) -> Any:
    """Return the picture with each pixel replaced by the median of it and its four neighbors."""
    import numpy as np

    inner = [picture[1:-1, 1:-1], picture[:-2, 1:-1], picture[2:, 1:-1], picture[1:-1, :-2], picture[1:-1, 2:]]
    cleaned = picture.copy()
    cleaned[1:-1, 1:-1] = np.partition(np.stack(inner), 2, axis=0)[2]
    return cleaned
