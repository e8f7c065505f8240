"""The command `quire libraries`: which libraries there are, and the tenants of one."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable

from ingest.cli.terminal import confirm
from ingest.config import STORES, IngestConfig, load_config
from quire import UsageError, add_json_flag, command_parser, pluralize, print_json, printable


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = command_parser(
        "libraries",
        "List or remove libraries, and manage the tenants of a Weaviate library.",
        "quire libraries",
        "quire libraries remove old-reports --yes",
        "quire libraries tenants shared",
        "quire libraries deactivate shared --tenant sales",
        "quire libraries remove shared --tenant sales --yes",
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=tuple(_ACTIONS),
        default="list",
        help="list (default), remove a library or one tenant of it, list its tenants, or take a tenant out of memory",
    )
    parser.add_argument("name", nargs="?", help="name of the library")
    parser.add_argument("--store", choices=STORES, help="where libraries are stored (default: QUIRE_STORE or sqlite)")
    parser.add_argument("--tenant", metavar="T", help="one tenant of a Weaviate library instead of the whole library")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json_flag(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    config, _ = load_config(flags={"store": args.store, "tenant": args.tenant})
    if args.action != "list" and not args.name:
        raise UsageError("the name of the library is missing", f"quire libraries {args.action} NAME")
    return _ACTIONS[args.action](args, config)


def _list(args: argparse.Namespace, config: IngestConfig) -> int:
    from ingest.store.opening import libraries

    found = libraries(config)
    if args.json:
        print_json({"libraries": [dataclasses.asdict(summary) for summary in found]})
        return 0
    for s in found:
        numbers = f"{pluralize(s.documents, 'document', width=6)} {pluralize(s.passages, 'passage', width=9)}"
        size = f"{s.bytes / 1e6:.1f} MB" if s.bytes else ""
        print(f"{printable(s.name):<24} {numbers} {size:>12}  {s.store}")
        for line in filter(None, (s.problem, s.note)):
            print(f"{'':<24} {printable(line)}")
    if not found:
        print("no libraries yet: quire ingest PATH creates the first", file=sys.stderr)
    return 0


def _remove(args: argparse.Namespace, config: IngestConfig) -> int:
    from ingest.files.pdf_store import PdfStore
    from ingest.library import library_key
    from ingest.store.opening import remove_library

    what = f"tenant {args.tenant!r} of library {args.name!r}" if args.tenant else f"library {args.name!r}"
    if not confirm(f"Remove {what} with all its documents?", args):
        return 1
    # only the flag names a tenant to remove: the tenant of the settings is for daily work
    config = dataclasses.replace(config, tenant=args.tenant or "")
    tenants = _tenants_of(config, args.name)
    remove_library(config, args.name)
    for tenant in tenants:
        key = library_key(dataclasses.replace(config, library=args.name, tenant=tenant))
        PdfStore(config.home).release_library(key)
    if args.json:
        print_json({"removed": args.name, "tenant": config.tenant})
    else:
        print(f"removed {what}")
    return 0


def _tenants_of(config: IngestConfig, library: str) -> list[str]:
    """Return the tenants whose documents are removed: the named one, or all; "" is a library without tenants."""
    if config.tenant or config.store == "sqlite":
        return [config.tenant]
    from ingest.store.weaviate.tenants import list_tenants

    return ["", *(list_tenants(config, library) or ())]


def _list_tenants(args: argparse.Namespace, config: IngestConfig) -> int:
    from ingest.store.weaviate.tenants import list_tenants

    _require_weaviate(config)
    found = list_tenants(config, args.name)
    if args.json:
        print_json({"library": args.name, "tenants": found or {}})
        return 0
    if found is None:
        print(f"library {args.name!r} was created without tenants and cannot have any", file=sys.stderr)
        return 0
    for tenant, active in found.items():
        print(f"{printable(tenant):<32} {'active' if active else 'not in memory'}")
    if not found:
        print(f"library {args.name!r} has no tenants now: quire ingest --tenant creates one", file=sys.stderr)
    return 0


def _deactivate(args: argparse.Namespace, config: IngestConfig) -> int:
    from ingest.store.weaviate.tenants import deactivate_tenant

    _require_weaviate(config)
    if not args.tenant:
        raise UsageError("the tenant is missing", f"quire libraries deactivate {args.name} --tenant T")
    deactivate_tenant(config, args.name, args.tenant)
    if args.json:
        print_json({"library": args.name, "deactivated": args.tenant})
    else:
        print(f"tenant {args.tenant!r} of library {args.name!r} is out of memory; its next use loads it again")
    return 0


def _require_weaviate(config: IngestConfig) -> None:
    if config.store == "sqlite":
        raise UsageError("the SQLite store has no tenants", "use --store weaviate, or one library for each tenant")


_ACTIONS: dict[str, Callable[[argparse.Namespace, IngestConfig], int]] = {
    "list": _list,
    "remove": _remove,
    "tenants": _list_tenants,
    "deactivate": _deactivate,
}
