"""What the commands show and ask while they run: progress, yes or no, and the offer of a download."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ingest.config import IngestConfig
from quire import UsageError, pluralize, printable

if TYPE_CHECKING:
    from ingest.report import Progress

_STAGES = {"recognizing": "reading by OCR"}
_CLEAR_LINE = "\r\x1b[K"
_REDRAW_SECONDS = 0.1  # between two drawings of the moving line
_REPEAT_SECONDS = 10.0  # between two plain lines about the same document


@contextmanager
def progress_lines(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Yield a callback that redraws one line on a terminal and prints plain lines elsewhere; None if `quiet`."""
    if quiet:
        yield None
        return
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"  # a dumb one cannot clear a line
    last_time, last_document = 0.0, ""

    announced: set[str] = set()

    def draw(progress: Progress) -> None:
        nonlocal last_time, last_document
        if progress.stage == "recognizing" and progress.document not in announced:
            announced.add(progress.document)
            print(f"{_CLEAR_LINE if terminal else ''}{_ocr_estimate(progress)}", file=sys.stderr, flush=True)
        passed = time.monotonic() - last_time
        if terminal:
            if passed < _REDRAW_SECONDS:
                return
            sys.stderr.write(_CLEAR_LINE + _progress_line(progress)[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()
        else:
            if progress.stage == "done" or (progress.document == last_document and passed < _REPEAT_SECONDS):
                return
            print(_progress_line(progress), file=sys.stderr, flush=True)
        last_time, last_document = time.monotonic(), progress.document

    try:
        yield draw
    finally:
        if terminal:
            sys.stderr.write(_CLEAR_LINE)


def _ocr_estimate(progress: Progress) -> str:
    left = round(progress.pages * (1 - progress.fraction))
    read = f" ({progress.pages - left} were read before)" if left < progress.pages else ""
    time_left = f", about {_duration(progress.seconds_left or 0)}" if left else ""
    return f"{printable(progress.document)}: {pluralize(left, 'page')} to read by OCR{read}{time_left}"


def _progress_line(progress: Progress) -> str:
    left = "" if progress.seconds_left is None else f", about {_duration(progress.seconds_left)} left"
    percent = f" {progress.fraction:4.0%}" if progress.stage in ("recognizing", "embedding") else ""
    number = min(progress.documents_done + 1, progress.documents_total)
    return f"[{number}/{progress.documents_total}] {_STAGES.get(progress.stage, progress.stage)}{percent} {printable(progress.document)}{left}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def confirm(question: str, args: argparse.Namespace) -> bool:
    """Return whether the person agrees, or gave --yes; raises UsageError if nobody can be asked."""
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question.rstrip('?')}: not done, because there is no terminal to ask for confirmation", "add --yes"
        )
    if _answered_yes(question):
        return True
    print("nothing was changed", file=sys.stderr)
    return False


def offer_download(config: IngestConfig, *, agreed: bool) -> None:
    """Download the binary of the embedded Weaviate if it is needed and missing, but only with the person's consent."""
    if config.store != "weaviate-embedded":
        return
    from ingest.store.weaviate.embedded import download_binary, download_offer

    offer = download_offer()
    if offer is None:
        return
    if agreed or (sys.stdin.isatty() and _answered_yes(f"{offer} Download it now?")):
        download_binary()


def _answered_yes(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
