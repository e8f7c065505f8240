"""The command `quire ingest`: adds PDFs to a library."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ingest.cli.flags import add_download_flag, add_embedder_flag, add_library_flags, add_ocr_flag, library_flags
from ingest.cli.terminal import offer_download, progress_lines
from ingest.config import load_config
from quire import add_json_flag, command_parser, pluralize, print_json, printable

if TYPE_CHECKING:
    from ingest.report import IngestReport


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = command_parser(
        "ingest",
        "Add PDFs to a library. Files that are already there and unchanged are skipped.",
        "quire ingest report.pdf ~/papers",
        "quire ingest https://example.org/a.pdf --library news",
        "quire ingest secret.pdf --password openpassword",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH_OR_LINK", help="file, folder or http(s) link")
    add_library_flags(parser)
    parser.add_argument("--password", metavar="P", help="password of encrypted PDFs (default: ask for it)")
    parser.add_argument("--jobs", type=int, metavar="N", help="parser processes (default: one per core)")
    add_embedder_flag(parser)
    parser.add_argument("--chunk-size", type=int, metavar="C", help="characters of a chunk (default 500)")
    parser.add_argument("--chunk-overlap", type=int, metavar="C", help="characters that neighbors share (default 75)")
    add_ocr_flag(parser)
    parser.add_argument("--allow-private", action="store_true", help="let links lead to private or loopback addresses")
    add_download_flag(parser)
    add_json_flag(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Ingest the paths and links; return 1 if any of them failed."""
    from ingest.pipeline import ingest

    names = ("jobs", "embedder", "chunk_size", "chunk_overlap", "ocr")
    config, _ = load_config(flags=library_flags(args) | {name: getattr(args, name) for name in names})
    offer_download(config, agreed=args.yes)
    ask = _ask_password if sys.stdin.isatty() and not args.json else None
    try:
        with _stop_on_signal() as cancel, progress_lines(quiet=args.json) as progress:
            report = ingest(
                args.paths,
                config,
                password=args.password,
                ask_password=ask,
                allow_private=args.allow_private,
                progress=progress,
                cancel=cancel,
            )
    except KeyboardInterrupt as exc:
        print("stopped: documents added so far are kept; run the same command again to continue", file=sys.stderr)
        return 128 + int(exc.args[0] if exc.args else signal.SIGINT)
    if args.json:
        print_json(dataclasses.asdict(report))
    else:
        print_report(report)
    return 1 if report.failed else 0


def print_report(report: IngestReport) -> None:
    """Print what became of each document."""
    for word, entries in (("added", report.added), ("replaced", report.replaced)):
        for entry in entries:
            numbers = f"{pluralize(entry.pages, 'page')}, {pluralize(entry.chunks, 'passage')}"
            print(f"{word:<10} {printable(entry.document)}  ({numbers})")
            for notice in entry.notices:
                print(f"{'':<10} note: {printable(notice)}")
    for name in report.unchanged:
        print(f"{'unchanged':<10} {printable(name)}")
    for failure in report.failed:
        print(f"{'failed':<10} {printable(failure.document)}: {printable(failure.reason)}")
        if failure.hint:
            print(f"{'':<10} fix: {printable(failure.hint)}")
    for notice in report.notices:
        print(f"{'note':<10} {printable(notice)}")
    lists = {name: getattr(report, name) for name in ("added", "replaced", "unchanged", "failed")}
    counts = ", ".join(f"{len(entries)} {name}" for name, entries in lists.items() if entries)
    print(f"library {report.library!r}: {counts or 'nothing to do'} in {report.seconds:.1f} s")


def _ask_password(document: str, wrong: bool) -> str | None:
    start = "That password is wrong. Password" if wrong else "Password"
    try:
        return getpass.getpass(f"{start} of {printable(document)} (empty: skip it): ") or None
    except EOFError:
        return None


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into a cancel, so that no document is stored in part."""
    cancel = threading.Event()

    def stop(number: int, _frame: object) -> None:
        cancel.set()
        raise KeyboardInterrupt(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
