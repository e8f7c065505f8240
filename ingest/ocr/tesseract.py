"""Tesseract: a program found on PATH, one process a page, which gets our picture on its stdin."""

from __future__ import annotations

import csv
import functools
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import mean, median
from typing import Any

from ingest.errors import IngestError, ParserLimit
from ingest.ocr.words import Piece, Word, confidence

_PROGRAM = "tesseract"
_MAX_LANGUAGES = 4  # each makes it slower; more are installed only by "all of them"
_ONE_BLOCK, _BY_LAYOUT = "6", "3"  # modes of the page's segmentation
_GAP = 1.5  # heights of a line; a wider one parts cells of a table, or columns
_MIN_WORDS = 4  # of a line that tells how far it falls
_NO_LANGUAGES = ("osd", "equ", "snum")


class Tesseract:
    """The program with all its installed languages."""

    dpi = 200  # finds 97 % of the numbers of report pages, 91 % at 150
    low_confidence = 0.85

    def __init__(self) -> None:
        self.name = version()
        self._program = find()
        self._languages = "+".join(_languages(self._program))
        self._environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}  # more threads mostly wait for each other

    def read(self, picture: Any, seconds: float) -> list[Piece]:
        """Return the lines of a gray picture, uint8 [height, width]; raise ParserLimit after `seconds`.

        As one block of lines first: the analysis of the layout takes columns of figures for pictures, above all beside a
        stamp. Where that is unsure, for columns of other heights or lines that run upward, as the layout says.
        """
        end = time.monotonic() + seconds
        block = self._read(picture, _ONE_BLOCK, seconds)
        if not block or confidence(block) >= self.low_confidence:
            return block
        return max(block, self._read(picture, _BY_LAYOUT, end - time.monotonic()), key=confidence)

    def _read(self, picture: Any, mode: str, seconds: float) -> list[Piece]:
        height, width = picture.shape
        command = [
            self._program,
            "stdin",
            "stdout",
            "-l",
            self._languages,
            "--dpi",
            str(self.dpi),
            "--psm",
            mode,
            "tsv",
        ]
        try:
            done = subprocess.run(
                command,
                input=b"P5 %d %d 255\n" % (width, height) + picture.tobytes(),
                capture_output=True,
                timeout=seconds,
                env=self._environment,
            )
        except subprocess.TimeoutExpired as exc:
            raise ParserLimit(f"Tesseract took longer than {seconds:g} s", "raise ocr_page_seconds") from exc
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise IngestError(f"Tesseract: {reason[0]}", "run `tesseract --list-langs`: it may lack its language files")
        return _pieces(done.stdout.decode("utf-8", "replace"))


def find() -> str:
    """Return the path of the program; raise IngestError if it is not on PATH."""
    program = shutil.which(_PROGRAM)
    if program is None:
        raise IngestError("Tesseract is not on PATH", "install it, for example with `apt install tesseract-ocr`")
    return program


def is_installed() -> bool:
    """Return whether the program is on PATH."""
    return shutil.which(_PROGRAM) is not None


def version() -> str:
    """Return "tesseract 5.3.0"."""
    lines = _output(find(), "--version").splitlines()
    words = lines[0].split() if lines else []
    return f"{_PROGRAM} {words[1].lstrip('v')}" if len(words) > 1 else _PROGRAM


def _languages(program: str) -> list[str]:
    found = [line.strip() for line in _output(program, "--list-langs").splitlines()[1:]]
    found = [name for name in found if name and name not in _NO_LANGUAGES and "/" not in name]
    found.sort(key=lambda name: (name != "eng", name))
    if not found:
        raise IngestError("Tesseract has no language files", "install one, for example `apt install tesseract-ocr-eng`")
    return found if len(found) <= _MAX_LANGUAGES else found[:1]


@functools.cache
def _output(program: str, flag: str) -> str:
    try:
        done = subprocess.run([program, flag], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).decode("utf-8", "replace")


def _pieces(table: str) -> list[Piece]:
    rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    words = [row for row in rows if row["level"] == "5" and (row["text"] or "").strip() and float(row["conf"]) >= 0]
    found: list[Piece] = []
    for _, line in itertools.groupby(words, key=lambda row: (row["block_num"], row["par_num"], row["line_num"])):
        found += _parts(_on_one_line([_word(row) for row in line]))
    return found


def _on_one_line(words: list[Word]) -> list[Word]:
    """Return words with the height of their line: each has that of its own letters, and PDFium would part them."""
    fall = _fall(words)
    drops = [(word.left + word.right) / 2 * fall for word in words]
    top = min(word.top - drop for word, drop in zip(words, drops, strict=True))
    bottom = max(word.bottom - drop for word, drop in zip(words, drops, strict=True))
    if bottom - top > 2.0 * median(word.bottom - word.top for word in words):
        return words  # the line runs upward, or a picture was taken for a letter
    return [replace(word, top=top + drop, bottom=bottom + drop) for word, drop in zip(words, drops, strict=True)]


def _fall(words: list[Word]) -> float:
    """Return how far a line falls, in pixels down a pixel to the right: the slope of least squares, 0 for a short line."""
    if len(words) < _MIN_WORDS:
        return 0.0
    xs, ys = [(w.left + w.right) / 2 for w in words], [(w.top + w.bottom) / 2 for w in words]
    x, y = mean(xs), mean(ys)
    width = sum((one - x) ** 2 for one in xs)
    return sum((one - x) * (other - y) for one, other in zip(xs, ys, strict=True)) / width if width else 0.0


def _parts(words: list[Word]) -> Iterator[Piece]:
    """Yield the words of a line, parted at wide gaps: what stands in other columns is not one text."""
    start = 0
    for at in range(1, len(words) + 1):
        height = words[at - 1].bottom - words[at - 1].top
        if at == len(words) or words[at].left - words[at - 1].right > _GAP * height:
            yield Piece(tuple(words[start:at]))
            start = at


def _word(row: dict[str, str]) -> Word:
    left, top = int(row["left"]), int(row["top"])
    right, bottom = left + int(row["width"]), top + int(row["height"])
    return Word(row["text"].strip(), left, top, right, bottom, float(row["conf"]) / 100)
