"""The command `quire docs`: what is in a library, and changes to it."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ingest.cli.flags import add_download_flag, add_embedder_flag, add_library_flags, add_ocr_flag, opened_store
from ingest.cli.terminal import confirm, offer_download, progress_lines
from ingest.config import STORES, load_config
from ingest.errors import IngestError
from quire import UsageError, add_json_flag, command_parser, pluralize, print_json, printable

if TYPE_CHECKING:
    from ingest.store.contract import Document
    from ingest.text.chunks import Chunk


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = command_parser(
        "docs",
        "List and manage the documents of a library.",
        "quire docs list",
        "quire docs show report.pdf",
        "quire docs remove report.pdf --yes",
        "quire docs reocr scan.pdf",
        "quire docs reindex --embedder ollama:nomic-embed-text",
        "quire docs copy --to weaviate",
    )
    add_library_flags(parser)
    add_json_flag(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="default: list")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        # SUPPRESS: a flag that is not given after the action must not reset one given before it
        add_library_flags(action, default=argparse.SUPPRESS)
        add_json_flag(action, default=argparse.SUPPRESS)
        action.set_defaults(run=run)
        return action

    add("list", "list the documents with their pages, passages, date and size", _list)
    show = add("show", "show a document's record, outline and notices, or the passages of one page", _show)
    show.add_argument("document", metavar="DOCUMENT", help="name or id")
    show.add_argument("--page", type=int, metavar="N", help="show the passages of this page")
    remove = add("remove", "remove a document with its passages and its stored PDF", _remove)
    remove.add_argument("documents", nargs="+", metavar="DOCUMENT", help="name or id")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    add_embedder_flag(add("reindex", "embed all stored text again, without reading the PDFs", _reindex))
    reocr = add("reocr", "have OCR read pages that are pictures, again or for the first time", _reocr)
    reocr.add_argument("documents", nargs="*", metavar="DOCUMENT", help="name or id (default: all with such pages)")
    add_ocr_flag(reocr)
    copy = add("copy", "copy a whole library with its vectors to another store", _copy)
    copy.add_argument("--to", required=True, choices=STORES, help="the store to copy to")
    copy.add_argument("--to-library", metavar="L", help="name of the copy (default: the same)")
    copy.add_argument("--to-tenant", metavar="T", help="tenant of the copy")
    add_download_flag(copy)
    parser.set_defaults(run=_list)
    return parser


def _list(args: argparse.Namespace) -> int:
    with opened_store(args) as (config, store):
        documents = store.documents()
    if args.json:
        print_json({"library": config.library, "documents": [dataclasses.asdict(d) for d in documents]})
        return 0
    for d in documents:
        numbers = f"{pluralize(d.pages, 'page', width=5)} {pluralize(d.chunks, 'passage', width=6)}"
        size = f"{d.size_bytes / 1e6:.1f} MB"
        print(f"{numbers} {size:>9}  {d.added_at[:10]}  {printable(d.name)}")
    pages, passages = sum(d.pages for d in documents), sum(d.chunks for d in documents)
    totals = (pluralize(len(documents), "document"), pluralize(pages, "page"), pluralize(passages, "passage"))
    print(f"library {config.library!r}: {', '.join(totals)}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from ingest.library import find_document
    from ingest.store.records import chunk_record

    page: int | None = args.page
    with opened_store(args) as (_, store):
        document = find_document(store, args.document)
        if page is not None and not 1 <= page <= document.pages:
            pages = pluralize(document.pages, "page")
            raise IngestError(f"{document.name} has no page {page}", f"it has {pages}, numbered from 1")
        chunks = store.page_chunks([(document.id, page)]).get((document.id, page), []) if page else []
    if args.json:
        passages = {"passages": [chunk_record(chunk) for chunk in chunks]} if page else {}
        print_json(dataclasses.asdict(document) | passages)
        return 0
    return _print_page(document, page, chunks) if page else _print_record(document)


def _print_page(document: Document, page: int, chunks: list[Chunk]) -> int:
    if not chunks:
        print(f"page {page} of {printable(document.name)} has no passages", file=sys.stderr)
        return 1
    for chunk in chunks:
        print(f"--- page {chunk.page} ({chunk.page_label}), characters {chunk.start}-{chunk.end}")
        print(printable(chunk.text, keep="\n"))
    return 0


def _print_record(document: Document) -> int:
    for name, value in dataclasses.asdict(document).items():
        if name != "outline" and value not in ("", [], {}):
            print(f"{name:<14} {printable(str(value))}")
    for level, title, page in document.outline:
        print(f"{'  ' * level}{printable(title)} ... {page}")
    return 0


def _remove(args: argparse.Namespace) -> int:
    from ingest.library import find_document, remove_document

    with opened_store(args) as (config, store):
        documents = [find_document(store, name, whole=True) for name in args.documents]
        names = ", ".join(printable(d.name) for d in documents)
        if not confirm(f"Remove {names} from library {config.library!r}?", args):
            return 1
        removed = {d.name: remove_document(config, store, d) for d in documents}
    if args.json:
        print_json({"library": config.library, "removed": removed})
        return 0
    for name, passages in removed.items():
        print(f"removed {printable(name)} ({pluralize(passages, 'passage')})")
    return 0


def _reindex(args: argparse.Namespace) -> int:
    from ingest.embed.load import load_embedder
    from ingest.library import reindex

    with opened_store(args, embedder=args.embedder) as (config, store), progress_lines(quiet=args.json) as progress:
        embedder = load_embedder(config)
        passages = reindex(config, store, embedder=embedder, progress=progress)
    name = embedder.identity().name
    if args.json:
        print_json({"library": config.library, "passages": passages, "embedder": name})
    else:
        print(f"library {config.library!r}: {pluralize(passages, 'passage')} embedded again with {name}")
    return 0


def _reocr(args: argparse.Namespace) -> int:
    from ingest.cli.ingest import print_report
    from ingest.library import find_document
    from ingest.pipeline import reocr

    with opened_store(args, ocr=args.ocr) as (config, store):
        documents = [find_document(store, name) for name in args.documents] or [
            document for document in store.documents() if document.scanned_pages or document.ocr_pages
        ]
    with progress_lines(quiet=args.json) as progress:
        report = reocr(config, documents, progress=progress)
    if args.json:
        print_json(dataclasses.asdict(report))
    else:
        print_report(report)
    return 1 if report.failed else 0


def _copy(args: argparse.Namespace) -> int:
    from ingest.library import copy_library, library_key
    from ingest.store.opening import open_store

    with opened_store(args) as (config, source), progress_lines(quiet=args.json) as progress:
        flags = {
            "library": args.to_library or config.library,
            "store": args.to,
            # the data of a tenant becomes a library where the target has no tenants
            "tenant": args.to_tenant or ("" if args.to == "sqlite" else config.tenant),
        }
        target_config, _ = load_config(flags=flags)
        if library_key(target_config) == library_key(config):
            raise UsageError(
                f"cannot copy library {config.library!r} onto itself", "name another library with --to-library"
            )
        offer_download(target_config, agreed=args.yes)
        target = open_store(target_config, create=True)
        try:
            passages = copy_library(source, target, progress=progress)
        finally:
            target.close()
    if args.json:
        print_json({"library": target_config.library, "store": args.to, "passages": passages})
    else:
        print(f"copied {pluralize(passages, 'passage')} to library {target_config.library!r} in {args.to}")
    return 0
