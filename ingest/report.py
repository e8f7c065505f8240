"""What an ingest reports: its progress while it runs, and what became of each document."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ingest.files.sources import Failed

Stage = Literal["reading", "recognizing", "embedding", "storing", "copying", "done"]


@dataclass(frozen=True)
class Progress:
    """The current step of an ingest: `fraction` is of the current document, `seconds_left` of the whole run.

    `seconds_left` is None until it can be estimated.
    """

    stage: Stage
    document: str
    fraction: float
    documents_done: int
    documents_total: int
    seconds_left: float | None
    pages: int = 0  # of the document, to be read by OCR


@dataclass(frozen=True)
class Stored:
    """One document that was stored."""

    document: str
    pages: int
    chunks: int
    notices: tuple[str, ...] = ()
    uncertain_order: tuple[int, ...] = ()  # pages whose text may be in another order than on the page


@dataclass
class IngestReport:
    """The result of an ingest: each document is in exactly one of the first four lists."""

    library: str
    added: list[Stored] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[Stored] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0


class ProgressMeter:
    """Counts finished documents and estimates the time left from their bytes.

    Bytes measure the work because pages and chunks of files that are not opened yet are unknown.
    """

    def __init__(self, callback: Callable[[Progress], None] | None, *, documents: int, size: int) -> None:
        self._callback = callback
        self._documents, self._bytes = documents, size
        self._documents_done = self._bytes_done = 0
        self._started = time.monotonic()

    def show(self, stage: Stage, document: str, fraction: float, size: int = 0) -> None:
        """Report the stage of a document of `size` bytes."""
        if self._callback is None:
            return
        done = self._bytes_done + size * fraction
        elapsed = time.monotonic() - self._started
        left = elapsed / done * (self._bytes - done) if done > 0 and elapsed > 2 else None
        self._callback(Progress(stage, document, fraction, self._documents_done, self._documents, left))

    def show_ocr(self, document: str, *, done: int, pages: int, seconds_left: float) -> None:
        """Report how many pages of a document OCR has read, and the time it will take for the others."""
        if self._callback is not None:
            counts = self._documents_done, self._documents
            self._callback(Progress("recognizing", document, done / max(1, pages), *counts, seconds_left, pages))

    def finish(self, document: str, size: int) -> None:
        """Count a document as done, whether it was stored or not."""
        self._documents_done += 1
        self._bytes_done += size
        self.show("done", document, 1.0)
