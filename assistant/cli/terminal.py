"""What the assistant's commands print: answers, sources, passages, scores, notes and progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from assistant.errors import AssistantError
from quire import printable

if TYPE_CHECKING:
    from assistant.answering.answer import Answer, Event
    from assistant.answering.citations import Citation
    from assistant.retrieval.search import Passage


def clean(text: str) -> str:
    """Return text without control characters: a PDF or a model must not steer the terminal."""
    return printable(text, keep="\n\t")


def print_notes(*notes: str) -> None:
    """Print each note that is not empty to stderr."""
    for note in notes:
        if note:
            print(f"note: {clean(note)}", file=sys.stderr, flush=True)


def print_stream(events: Iterable[Event]) -> Answer:
    """Print an answer while it is generated, and return it; notices go to stderr."""
    from assistant.answering.answer import Done, Notice, Token

    line_is_open = False
    for event in events:
        if isinstance(event, Done):
            return event.answer
        if isinstance(event, Token):
            print(clean(event.text), end="", flush=True)
            line_is_open = True
        elif isinstance(event, Notice):
            if line_is_open:
                print(flush=True)
                line_is_open = False
            print_notes(event.text)
    raise AssistantError("the answer ended without a result", "this is a bug: please report it")


def print_sources(answer: Answer) -> None:
    """Print the sources of an answer, the sentences that no passage supports, and the quotes beside them."""
    print()
    if answer.interrupted == "stopped":
        print("\n(stopped: the answer is not complete)")
    if answer.citations:
        print("\nsources:")
        for citation in answer.citations:
            quote = "" if answer.mode == "quotes" else f": {_quoted(citation.quote)}"
            found = ", matched by quire" if citation.by == "house" and answer.mode == "model" else ""
            print(f"  {source_line(citation.number, citation)}{found}{quote}")
            if answer.mode == "model":
                _print_rows(citation)
    elif answer.mode == "model" and answer.text and not answer.refused and answer.passages:
        print("\nThe answer cites nothing. It was given these passages:")
        for passage in answer.passages:
            print(f"  {source_line(passage.rank, passage)}")
    for span in answer.unsupported:
        print(f"\nnot supported by the passages: {_quoted(span.text)}")
    if answer.quotes:
        print("\nThe passages closest to the question say:")
        for closest in answer.quotes:
            print(f"  {source_line(closest.number, closest)}: {_quoted(closest.quote)}")
            _print_rows(closest)


def print_passages(passages: Iterable[Passage]) -> None:
    """Print passages with their source, score and text."""
    for passage in passages:
        text = "\n".join(f"    {line}" for line in clean(passage.text).splitlines())
        print(f"{source_line(passage.rank, passage)}  score {passage.score:.2f}\n{text}\n")


def source_line(number: int, source: Passage | Citation) -> str:
    """Return `[1] report.pdf, page 3`, with the printed page label where it differs, and whether OCR read the page."""
    label = source.page_label
    printed = "" if label in ("", str(source.page)) else f" (printed {clean(label)})"
    return f"[{number}] {clean(source.document)}, page {source.page}{printed}{', read by OCR' if source.ocr else ''}"


def print_scores(scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table of scores, each with its interval and the number of cases."""
    for name, score in scores.items():
        print(f"  {name:<26} {score['mean']:>9.3f}  [{score['low']:.3f}, {score['high']:.3f}]  n {score['n']}")


def print_download(states: Iterable[tuple[str, int, int]]) -> None:
    """Print the progress of a download to stderr, from (status, bytes done, bytes in all)."""
    for status, done, total in states:
        if sys.stderr.isatty():
            share = done / total if total else 0.0
            bar = "#" * int(30 * share)
            print(f"\r{clean(status)[:30]:<30} [{bar:<30}] {share:>4.0%}", end="", file=sys.stderr, flush=True)
        elif not total or done == total:
            print(clean(status), file=sys.stderr, flush=True)
    print(file=sys.stderr)


def count_printer(seconds: float = 30.0) -> Callable[[int, int, str], None]:
    """Return a function that prints `3/59 NAME` to stderr.

    On a terminal, each replaces the one before, and the last one ends the line. Elsewhere a line is printed every
    `seconds`, so that a log shows that a long run goes on.
    """
    printed = time.monotonic()

    def show(done: int, total: int, name: str) -> None:
        nonlocal printed
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r\x1b[K{done}/{total} {clean(name)[:60]}", end=end, file=sys.stderr, flush=True)
        elif time.monotonic() - printed >= seconds:
            printed = time.monotonic()
            print(f"{done}/{total} {clean(name)[:60]}", file=sys.stderr, flush=True)

    return show


def _print_rows(citation: Citation) -> None:
    for row in citation.rows:
        print(f"    {clean(row)}")


def _quoted(text: str) -> str:
    return f"“{clean(' '.join(text.split()))}”"
