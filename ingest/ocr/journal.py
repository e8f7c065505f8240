"""The pages of a document that OCR has read so far: a run that is stopped goes on where it was."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from ingest.ocr.page import PageText
from ingest.ocr.words import Word

FOLDER = "ocr"  # in the home folder
_KEPT_SECONDS = 30 * 86_400  # of a run that nobody continued


class Journal:
    """One line a page, at `home/ocr/SHA256.jsonl`, readable by its owner only; lines of another engine do not count."""

    def __init__(self, home: Path, sha256: str, engine: str) -> None:
        self._path = home / FOLDER / f"{sha256}.jsonl"
        self._engine = engine

    def read(self) -> tuple[dict[int, PageText], dict[int, str]]:
        """Return the pages (from 1) that were read, and why others could not be."""
        texts: dict[int, PageText] = {}
        failed: dict[int, str] = {}
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}, {}
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):  # the last line of a killed run
                entry = json.loads(line)
                if entry["engine"] != self._engine:
                    continue
                if "failed" in entry:
                    failed[entry["page"]] = entry["failed"]
                else:
                    texts[entry["page"]] = _text(entry)
        return texts, failed

    def add(self, page: int, text: PageText) -> None:
        """Record what was read of a page."""
        rows = [[[w.text, *_rounded(w)] for w in row] for row in text.rows]
        self._write({"page": page, "turn": text.turn, "tilt": text.tilt, "confidence": text.confidence, "rows": rows})

    def give_up(self, page: int, reason: str) -> None:
        """Record that a page cannot be read, so that it is not tried for ever."""
        self._write({"page": page, "failed": reason})

    def forget(self) -> None:
        """Delete the journal: the document is stored."""
        self._path.unlink(missing_ok=True)

    def _write(self, entry: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            torn = end > 0 and os.pread(handle, 1, end - 1) != b"\n" if hasattr(os, "pread") else False
            line = json.dumps({**entry, "engine": self._engine}, ensure_ascii=False)
            file.write((b"\n" if torn else b"") + line.encode("utf-8", "replace") + b"\n")


def sweep(home: Path) -> None:
    """Delete journals that nobody continued for a month."""
    for path in (home / FOLDER).glob("*.jsonl"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                path.unlink()


def _rounded(word: Word) -> list[float]:
    return [round(value, 5) for value in (word.left, word.top, word.right, word.bottom, word.confidence)]


def _text(entry: dict[str, Any]) -> PageText:
    rows = tuple(tuple(Word(*values) for values in row) for row in entry["rows"])
    return PageText(rows, int(entry["turn"]), float(entry["tilt"]), float(entry["confidence"]))
