"""`quire finetune data convert`: data of any format as one file of rows to train on."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.cli.data_options import SOURCE_HELP, add_data_options, load_source
from quire import UsageError, add_json_flag, print_json

_SHOWN_ROWS = 10  # row numbers printed for each reason; --json has all
_EXAMPLES = """\
examples:
  quire finetune data convert oasst1 --language en --depth 4 --pick best --out rows.jsonl
  quire finetune data convert quotes.csv --text-column quote --out rows.jsonl
  quire finetune data convert rows.jsonl --out train.jsonl --valid held.jsonl --valid-share 0.05
"""


def add_convert(commands: Any) -> None:
    """Add `convert` to the commands of `data`."""
    parser = commands.add_parser(
        "convert",
        help="write data of any format as one file of rows to train on",
        description="Write data of any format as one file of rows to train on. What is in the file is what is trained.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCE_HELP)
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write: .jsonl or .jsonl.gz")
    parser.add_argument("--valid", metavar="FILE", help="also hold out rows, and write them to this file")
    parser.add_argument("--valid-share", type=float, metavar="X",
                        help="share of the rows to hold out, whole groups (default 0.05)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_json_flag(parser)
    add_data_options(parser)
    parser.set_defaults(run=run_convert)


def run_convert(args: argparse.Namespace) -> int:
    """Convert the sources and print what was dropped; exit code 1, and no file, if no row is left."""
    from finetune.data.convert import write_rows
    from finetune.data.sources.loaded import join

    files = _files_to_write(args)
    parts = []
    for source in args.sources:
        part = load_source(source, args, strict=False)
        _progress(f"{source}: {part.format}, {part.kept:,} of {part.rows:,} rows kept, {len(part.records):,} records")
        for line in part.sentences():
            _progress(f"{source}: {line}")
        parts.append(part)
    loaded = join(parts)
    written = dict(zip(files, _divide(loaded.records, args), strict=True)) if loaded.records else {}
    for file, records in written.items():
        write_rows(records, file)
        _progress(f"wrote {len(records):,} rows to {file}")
    if args.json:
        print_json(_as_json(args, loaded, {str(file): len(records) for file, records in written.items()}))
    else:
        _print_summary(loaded)
    if not loaded.records:
        _progress("no row is left to train on: nothing was written")
    return 0 if loaded.records else 1


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _files_to_write(args: argparse.Namespace) -> list[Path]:
    """Return the files of --out and --valid; raises UsageError for one that must not be written."""
    from finetune.data.convert import require_rows_file

    if args.valid_share is not None and not args.valid:
        raise UsageError("--valid-share needs --valid", "name the file for the held-out rows: --valid FILE")
    if args.valid_share is not None and not 0 < args.valid_share < 1:
        raise UsageError(f"--valid-share must be above 0 and below 1, found {args.valid_share:g}", "0.05 is usual")
    flags = {"--out": args.out, "--valid": args.valid} if args.valid else {"--out": args.out}
    files = [Path(name).expanduser() for name in flags.values()]
    sources = {Path(source).expanduser().resolve() for source in args.sources}
    for flag, file in zip(flags, files, strict=True):
        require_rows_file(file, flag=flag, overwrite=args.force)
        if {file.resolve(), file.resolve().parent} & sources:
            raise UsageError(f"{flag} {file} is one of the sources, or in one", "name a file in another folder")
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError(f"--out and --valid are the same file, {files[0]}", "name two files")
    return files


def _divide(records: Sequence[Any], args: argparse.Namespace) -> list[list[Any]]:
    """Return the records of each file to write: all of them, or training and held-out ones as training splits them."""
    from finetune.data.split import split
    from finetune.errors import DataError

    if not args.valid:
        return [list(records)]
    train, held_out = split(records, held_out=args.valid_share or 0.05, seed=args.seed)
    if not held_out:
        raise DataError("all rows belong to one group, so none can be held out", "leave --valid out")
    return [train, held_out]


def _print_summary(loaded: Any) -> None:
    several = len({problem.source for problem in loaded.problems}) > 1
    reasons: dict[str, list[Any]] = {}
    for problem in sorted(loaded.problems, key=lambda problem: (problem.source, problem.row)):
        reasons.setdefault(_reason(problem), []).append(problem)
    for reason, problems in sorted(reasons.items()):
        places = [f"{problem.source} {problem.row}" if several else f"{problem.row}" for problem in problems]
        more = f" and {len(places) - _SHOWN_ROWS:,} more" if len(places) > _SHOWN_ROWS else ""
        rows = f"row{'s' if len(places) > 1 else ''} {', '.join(places[:_SHOWN_ROWS])}{more}"
        print(f"{reason}: {rows} ({problems[0].problem})")
    print(f"format {loaded.format}: {loaded.rows:,} rows, {loaded.kept:,} kept, {len(loaded.records):,} records")


def _reason(problem: Any) -> str:
    """Return what rows are counted by: the kind of a dropped row, or why a part of a tree was dropped."""
    return f"dropped, {problem.kind}" if problem.dropped else f"tree, {problem.problem.rpartition(': ')[2]}"


def _as_json(args: argparse.Namespace, loaded: Any, written: dict[str, int]) -> dict[str, Any]:
    return {
        "out": args.out,
        "valid": args.valid,
        "format": loaded.format,
        "rows": loaded.rows,
        "kept": loaded.kept,
        "records": len(loaded.records),
        "written": written,
        "counts": dict(sorted(Counter(problem.kind for problem in loaded.problems).items())),
        "problems": [problem.to_dict() for problem in loaded.problems],
    }
