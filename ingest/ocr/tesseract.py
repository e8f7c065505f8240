"""Tesseract: a program found on PATH, one process a page, which gets our picture on its stdin."""

from __future__ import annotations

import csv
import functools
import itertools
import os
import shutil
import subprocess
from typing import Any

from ingest.errors import IngestError, ParserLimit
from ingest.ocr.words import Piece, Word

_PROGRAM = "tesseract"
_MAX_LANGUAGES = 4  # each makes it slower; more are installed only by "all of them"
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
        """Return the lines of a gray picture, uint8 [height, width]; raise ParserLimit after `seconds`."""
        height, width = picture.shape
        command = [self._program, "stdin", "stdout", "-l", self._languages, "--dpi", str(self.dpi), "--psm", "3", "tsv"]
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
    found = []
    for _, line in itertools.groupby(words, key=lambda row: (row["block_num"], row["par_num"], row["line_num"])):
        items = list(line)
        # a word has the height of its own letters; PDFium takes words of one line for one if they are alike
        top, bottom = min(int(row["top"]) for row in items), max(int(row["top"]) + int(row["height"]) for row in items)
        tall = 2.0 * sorted(int(row["height"]) for row in items)[len(items) // 2]
        level = bottom - top <= tall  # else the line is turned, or a picture was taken for a letter
        found.append(Piece(tuple(_word(row, (top, bottom) if level else None) for row in items)))
    return found


def _word(row: dict[str, str], height: tuple[int, int] | None) -> Word:
    left, top = int(row["left"]), int(row["top"])
    high, low = height or (top, top + int(row["height"]))
    return Word(row["text"].strip(), left, high, left + int(row["width"]), low, float(row["conf"]) / 100)
