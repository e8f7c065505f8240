"""The commands `quire ingest`, `quire docs` and `quire libraries`: parse, call one function, print, return an exit code."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ingest.config import STORES, IngestConfig, load_config
from ingest.errors import IngestError
from quire import UsageError, exit_code, pluralize, printable

if TYPE_CHECKING:
    from ingest.report import IngestReport, Progress
    from ingest.store.contract import Document, Store

COMMANDS = {
    "ingest": "put PDFs (files, folders, links) into a library",
    "docs": "what is in a library: list, show, remove, reindex, copy",
    "libraries": "which libraries there are; remove one",
}


def main(argv: list[str]) -> int:
    """Run one of COMMANDS; returns 0 done, 1 something failed and is named, 2 wrong usage."""
    parser = _PARSERS[argv[0]]()
    # flags may stand between the action and the library's name, which argparse takes only so
    parse = parser.parse_intermixed_args if argv[0] == "libraries" else parser.parse_args
    args = parse(argv[1:])
    return exit_code(lambda: args.run(args))


def add_library_flags(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """Add the flags that say which library is meant; other packages' commands share them."""

    def add(flag: str, text: str, **more: Any) -> None:
        parser.add_argument(flag, default=default, help=text, **more)

    add("--library", "name of the library (default: QUIRE_LIBRARY or 'default')", metavar="L")
    add("--store", "where libraries live (default: QUIRE_STORE or sqlite)", choices=STORES)
    add("--tenant", "tenant of a Weaviate library, one per user or team", metavar="T")


def library_flags(args: argparse.Namespace) -> dict[str, Any]:
    """Return what add_library_flags parsed, as flags for load_config."""
    return {name: getattr(args, name) for name in ("library", "store", "tenant")}


# ingest


def _ingest_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quire ingest",
        description="Put PDFs into a library. What is there already and unchanged costs nothing.",
        epilog="examples:\n  quire ingest report.pdf ~/papers\n  quire ingest https://example.org/a.pdf --library news\n"
        "  quire ingest secret.pdf --password openpassword",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="PATH_OR_LINK", help="file, folder or http(s) link")
    add_library_flags(parser)
    parser.add_argument("--password", metavar="P", help="password of encrypted PDFs (else it is asked for)")
    parser.add_argument("--jobs", type=int, metavar="N", help="parser processes (default: one a core)")
    parser.add_argument("--embedder", metavar="E", help="minilm, minilm:FOLDER, ollama:MODEL or openai:MODEL")
    parser.add_argument("--chunk-size", type=int, metavar="C", help="characters of a passage (default 500)")
    parser.add_argument("--chunk-overlap", type=int, metavar="C", help="characters neighbours share (default 75)")
    parser.add_argument("--allow-private", action="store_true", help="let links lead to private or loopback addresses")
    parser.add_argument("--yes", action="store_true", help="agree to download a server binary where one is needed")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(run=_ingest)
    return parser


def _ingest(args: argparse.Namespace) -> int:
    from ingest.pipeline import ingest

    names = ("jobs", "embedder", "chunk_size", "chunk_overlap")
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
        print("stopped: what was added stays; run the same command again to go on from here", file=sys.stderr)
        return 128 + int(exc.args[0] if exc.args else signal.SIGINT)
    if args.json:
        print(json.dumps(dataclasses.asdict(report), ensure_ascii=False))
    else:
        _print_report(report)
    return 1 if report.failed else 0


def _print_report(report: IngestReport) -> None:
    for word, entries in (("added", report.added), ("replaced", report.replaced)):
        for entry in entries:
            print(
                f"{word:<10} {printable(entry.document)}  ({pluralize(entry.pages, 'page')}, {pluralize(entry.chunks, 'passage')})"
            )
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
    counts = ", ".join(
        f"{len(entries)} {word}"
        for word, entries in (
            ("added", report.added),
            ("replaced", report.replaced),
            ("unchanged", report.unchanged),
            ("failed", report.failed),
        )
        if entries
    )
    print(f"library {report.library!r}: {counts or 'nothing to do'} in {report.seconds:.1f} s")


def _ask_password(document: str, wrong: bool) -> str | None:
    word = "That password is wrong. Password" if wrong else "Password"
    try:
        return getpass.getpass(f"{word} of {printable(document)} (empty: leave it out): ") or None
    except EOFError:
        return None


def offer_download(config: IngestConfig, *, agreed: bool) -> None:
    """Fetch the embedded Weaviate's binary where it is wanted and absent, but only when the person agreed."""
    if config.store != "weaviate-embedded":
        return
    from ingest.store.weaviate.embedded import download_binary, download_offer

    offer = download_offer()
    if offer is None:
        return
    if not agreed and sys.stdin.isatty():
        print(f"{offer} Download it now? [y/N] ", end="", file=sys.stderr, flush=True)
        agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if agreed:
        download_binary()


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Turn Ctrl-C, and a polite kill, into a cancel, so that nothing half done stays; a second one ends at once."""
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


@contextmanager
def progress_lines(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Yield a callback that draws one moving line on a terminal and prints plain lines on a pipe."""
    if quiet:
        yield None
        return
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"  # which knows no way back to a line's start
    last = {"time": 0.0, "document": ""}

    def draw(progress: Progress) -> None:
        now = time.monotonic()
        if terminal:
            if now - last["time"] < 0.1:  # type: ignore[operator]
                return
            sys.stderr.write("\r\x1b[K" + _progress_line(progress)[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()
        else:
            if progress.stage == "done" or (
                progress.document == last["document"] and now - last["time"] < 10  # type: ignore[operator]
            ):
                return
            print(_progress_line(progress), file=sys.stderr, flush=True)
        last["time"], last["document"] = now, progress.document

    try:
        yield draw
    finally:
        if terminal:
            sys.stderr.write("\r\x1b[K")


def _progress_line(progress: Progress) -> str:
    left = "" if progress.seconds_left is None else f", about {_duration(progress.seconds_left)} left"
    share = f" {progress.fraction:4.0%}" if progress.stage == "embedding" else ""
    where = f"[{min(progress.documents_done + 1, progress.documents_total)}/{progress.documents_total}]"
    return f"{where} {progress.stage}{share} {printable(progress.document)}{left}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


# docs


def _docs_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quire docs",
        description="What is in a library.",
        epilog="examples:\n  quire docs list\n  quire docs show report.pdf\n  quire docs remove report.pdf --yes\n"
        "  quire docs reindex --embedder ollama:nomic-embed-text\n  quire docs copy --to weaviate",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_library_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="list, where none is given")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        # suppressed: a flag that is not given here leaves standing what was given before the action
        add_library_flags(action, default=argparse.SUPPRESS)
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object and nothing else"
        )
        action.set_defaults(run=run)
        return action

    add("list", "documents with pages, passages, date and size", _docs_list)
    show = add("show", "one document: record, outline, notices, and with --page its passages", _docs_show)
    show.add_argument("document", metavar="DOCUMENT", help="name or id")
    show.add_argument("--page", type=int, metavar="N", help="show the passages of this page")
    remove = add("remove", "take a document out, with all its passages and its copy", _docs_remove)
    remove.add_argument("documents", nargs="+", metavar="DOCUMENT", help="name or id")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    reindex = add("reindex", "embed every passage again from the stored text, without parsing", _docs_reindex)
    reindex.add_argument("--embedder", metavar="E", help="minilm, minilm:FOLDER, ollama:MODEL or openai:MODEL")
    copy = add("copy", "copy a whole library with its vectors to another store", _docs_copy)
    copy.add_argument("--to", required=True, choices=STORES, help="the store that receives it")
    copy.add_argument("--to-library", metavar="L", help="its name there (default: the same)")
    copy.add_argument("--to-tenant", metavar="T", help="its tenant there")
    copy.add_argument("--yes", action="store_true", help="agree to download a server binary where one is needed")
    parser.set_defaults(run=_docs_list)
    return parser


def _docs_list(args: argparse.Namespace) -> int:
    with _library(args) as (config, store):
        documents = store.documents()
        if args.json:
            print(json.dumps({"library": config.library, "documents": [_record(d) for d in documents]}))
            return 0
        for d in documents:
            size = f"{d.size_bytes / 1e6:.1f} MB"
            print(
                f"{pluralize(d.pages, 'page', width=5)} {pluralize(d.chunks, 'passage', width=6)} {size:>9}  {d.added_at[:10]}  {printable(d.name)}"
            )
        pages, passages = sum(d.pages for d in documents), sum(d.chunks for d in documents)
        whole = (pluralize(len(documents), "document"), pluralize(pages, "page"), pluralize(passages, "passage"))
        print(f"library {config.library!r}: {', '.join(whole)}")
    return 0


def _docs_show(args: argparse.Namespace) -> int:
    from ingest.library import find_document
    from ingest.store.records import chunk_record

    with _library(args) as (_, store):
        document = find_document(store, args.document)
        if args.page is not None and not 1 <= args.page <= document.pages:
            raise IngestError(
                f"{document.name} has no page {args.page}",
                f"it has {pluralize(document.pages, 'page')}, pluralize from 1",
            )
        chunks = store.page_chunks([(document.id, args.page)]).get((document.id, args.page), []) if args.page else []
        if args.json:
            passages = [chunk_record(c) for c in chunks]
            print(json.dumps(_record(document) | ({"passages": passages} if args.page else {}), ensure_ascii=False))
            return 0
        if args.page:
            if not chunks:
                print(f"page {args.page} of {printable(document.name)} holds no passage", file=sys.stderr)
                return 1
            for chunk in chunks:
                print(f"--- page {chunk.page} ({chunk.page_label}), characters {chunk.start}-{chunk.end}")
                print(printable(chunk.text, keep="\n"))
            return 0
        for name, value in _record(document).items():
            if name != "outline" and value not in ("", [], {}):
                print(f"{name:<14} {printable(str(value))}")
        for level, title, page in document.outline:
            print(f"{'  ' * level}{printable(title)} ... {page}")
    return 0


def _docs_remove(args: argparse.Namespace) -> int:
    from ingest.library import find_document, remove_document

    with _library(args) as (config, store):
        documents = [find_document(store, name, whole=True) for name in args.documents]
        names = ", ".join(printable(d.name) for d in documents)
        if not _agreed(f"Remove {names} from library {config.library!r}?", args):
            return 1
        removed = {d.name: remove_document(config, store, d) for d in documents}
        if args.json:
            print(json.dumps({"library": config.library, "removed": removed}, ensure_ascii=False))
        else:
            for name, passages in removed.items():
                print(f"removed {printable(name)} ({pluralize(passages, 'passage')})")
    return 0


def _docs_reindex(args: argparse.Namespace) -> int:
    from ingest.embed.load import load_embedder
    from ingest.library import reindex

    with (
        _library(args, {"embedder": args.embedder}) as (config, store),
        progress_lines(quiet=args.json) as progress,
    ):
        embedder = load_embedder(config)
        passages = reindex(config, store, embedder=embedder, progress=progress)
        name = embedder.identity().name
        if args.json:
            print(json.dumps({"library": config.library, "passages": passages, "embedder": name}))
        else:
            print(f"library {config.library!r}: {pluralize(passages, 'passage')} embedded again with {name}")
    return 0


def _docs_copy(args: argparse.Namespace) -> int:
    from ingest.library import copy_library, library_key
    from ingest.store.opening import open_store

    with _library(args) as (config, source), progress_lines(quiet=args.json) as progress:
        flags = {
            "library": args.to_library or config.library,
            "store": args.to,
            # a tenant's share becomes a library of its own where the receiver has no tenants
            "tenant": args.to_tenant or ("" if args.to == "sqlite" else config.tenant),
        }
        target_config, _ = load_config(flags=flags)
        if library_key(target_config) == library_key(config):
            raise UsageError(
                f"library {config.library!r} was to be copied onto itself", "name another with --to-library"
            )
        offer_download(target_config, agreed=args.yes)
        target = open_store(target_config, create=True)
        try:
            passages = copy_library(source, target, progress=_copying(progress))
        finally:
            target.close()
        if args.json:
            print(json.dumps({"library": target_config.library, "store": args.to, "passages": passages}))
        else:
            print(f"copied {pluralize(passages, 'passage')} to library {target_config.library!r} in {args.to}")
    return 0


def _copying(draw: Callable[[Progress], None] | None) -> Callable[[str, int, int], None] | None:
    from ingest.report import Progress

    started = time.monotonic()

    def progress(document: str, number: int, of: int) -> None:
        left = (time.monotonic() - started) / number * (of - number)
        if draw:
            draw(Progress("copying", document, 1.0, number - 1, of, left))

    return progress


# libraries


def _libraries_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quire libraries",
        description="Which libraries there are, and the tenants of one.",
        epilog="examples:\n  quire libraries\n  quire libraries remove old-reports --yes\n"
        "  quire libraries tenants shared\n  quire libraries deactivate shared --tenant sales\n"
        "  quire libraries remove shared --tenant sales --yes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=tuple(_LIBRARY_ACTIONS),
        default="list",
        help="list (default), remove a library or one tenant of it, list its tenants, or take a tenant out of memory",
    )
    parser.add_argument("name", nargs="?", help="the library that is meant")
    parser.add_argument("--store", choices=STORES, help="where libraries live (default: QUIRE_STORE or sqlite)")
    parser.add_argument("--tenant", metavar="T", help="one tenant of a Weaviate library instead of the whole")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(run=_libraries)
    return parser


def _libraries(args: argparse.Namespace) -> int:
    config, _ = load_config(flags={"store": args.store, "tenant": args.tenant})
    if args.action != "list" and not args.name:
        raise UsageError("no library was named", f"quire libraries {args.action} NAME")
    return _LIBRARY_ACTIONS[args.action](args, config)


def _libraries_list(args: argparse.Namespace, config: IngestConfig) -> int:
    from ingest.store.opening import libraries

    found = libraries(config)
    if args.json:
        print(json.dumps({"libraries": [dataclasses.asdict(summary) for summary in found]}))
        return 0
    for s in found:
        numbers = f"{pluralize(s.documents, 'document', width=6)} {pluralize(s.passages, 'passage', width=9)}"
        size = f"{s.bytes / 1e6:.1f} MB" if s.bytes else ""  # a server elsewhere does not tell
        print(f"{printable(s.name):<24} {numbers} {size:>12}  {s.store}")
        for line in filter(None, (s.problem, s.note)):
            print(f"{'':<24} {printable(line)}")
    if not found:
        print("no library yet: quire ingest PATH makes the first", file=sys.stderr)
    return 0


def _libraries_remove(args: argparse.Namespace, config: IngestConfig) -> int:
    from ingest.files.pdf_store import PdfStore
    from ingest.library import library_key
    from ingest.store.opening import remove_library

    what = f"tenant {args.tenant!r} of library {args.name!r}" if args.tenant else f"library {args.name!r}"
    if not _agreed(f"Remove {what} with all its documents?", args):
        return 1
    # a tenant is removed only where the flag says so: one that is set for daily work is no wish to remove it
    config = dataclasses.replace(config, tenant=args.tenant or "")
    tenants = _shares(config, args.name)
    remove_library(config, args.name)
    for tenant in tenants:
        PdfStore(config.home).release_library(
            library_key(dataclasses.replace(config, library=args.name, tenant=tenant)),
        )
    print(json.dumps({"removed": args.name, "tenant": config.tenant}) if args.json else f"removed {what}")
    return 0


def _shares(config: IngestConfig, library: str) -> list[str]:
    """Return the tenants whose documents a removal takes, which is all where none is named; "" where it has none."""
    if config.tenant or config.store == "sqlite":
        return [config.tenant]
    from ingest.store.weaviate.tenants import list_tenants

    return ["", *(list_tenants(config, library) or ())]


def _libraries_tenants(args: argparse.Namespace, config: IngestConfig) -> int:
    from ingest.store.weaviate.tenants import list_tenants

    _need_weaviate(config)
    found = list_tenants(config, args.name)
    if args.json:
        print(json.dumps({"library": args.name, "tenants": found or {}}))
        return 0
    if found is None:
        print(f"library {args.name!r} was made without tenants and takes none", file=sys.stderr)
        return 0
    for tenant, active in found.items():
        print(f"{printable(tenant):<32} {'active' if active else 'not in memory'}")
    if not found:
        print(f"library {args.name!r} has no tenant now: quire ingest --tenant makes one", file=sys.stderr)
    return 0


def _libraries_deactivate(args: argparse.Namespace, config: IngestConfig) -> int:
    from ingest.store.weaviate.tenants import deactivate_tenant

    _need_weaviate(config)
    if not args.tenant:
        raise UsageError("no tenant was named", f"quire libraries deactivate {args.name} --tenant T")
    deactivate_tenant(config, args.name, args.tenant)
    if args.json:
        print(json.dumps({"library": args.name, "deactivated": args.tenant}))
    else:
        print(f"tenant {args.tenant!r} of library {args.name!r} is out of memory; its next use brings it back")
    return 0


def _need_weaviate(config: IngestConfig) -> None:
    if config.store == "sqlite":
        raise UsageError("the embedded store has no tenants", "use --store weaviate, or one library for each tenant")


_LIBRARY_ACTIONS: dict[str, Callable[[argparse.Namespace, IngestConfig], int]] = {
    "list": _libraries_list,
    "remove": _libraries_remove,
    "tenants": _libraries_tenants,
    "deactivate": _libraries_deactivate,
}

_PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "ingest": _ingest_parser,
    "docs": _docs_parser,
    "libraries": _libraries_parser,
}


@contextmanager
def _library(args: argparse.Namespace, more: dict[str, Any] | None = None) -> Iterator[tuple[IngestConfig, Store]]:
    from ingest.store.opening import open_store

    config, _ = load_config(flags=library_flags(args) | (more or {}))
    store = open_store(config, create=False)
    try:
        yield config, store
    finally:
        store.close()


def _agreed(question: str, args: argparse.Namespace) -> bool:
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(question.rstrip("?") + ": not done, because nobody was there to ask", "add --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("left as it is", file=sys.stderr)
    return False


def _record(document: Document) -> dict[str, Any]:
    return dataclasses.asdict(document)
