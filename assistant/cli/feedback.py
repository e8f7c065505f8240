"""The command `quire feedback`: thumbs and edits as training rows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from assistant.config import load_config
from quire import UsageError, add_json_flag, command_parser, pluralize, print_json, strict_json


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    text = "Export ratings and corrected answers as training data, one JSON object per line."
    parser = command_parser(
        "feedback", text, "quire feedback export --out pairs.jsonl", "quire feedback export --format kto > kto.jsonl"
    )
    commands = parser.add_subparsers(metavar="export", required=True)
    export = commands.add_parser("export", help="write the rows", description=text)
    export.add_argument(
        "--format", choices=("pairs", "kto"), default="pairs", help="preference pairs (default) or KTO rows"
    )
    export.add_argument("--out", metavar="FILE", help="file to write (default: stdout)")
    add_json_flag(export, "print one JSON object, with the rows if --out is not given")
    export.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the rows; return 0."""
    from assistant.conversations.feedback import kto_rows, preference_rows
    from assistant.conversations.history import History

    config, _ = load_config()
    feedback = History(config.home).feedback()
    rows = list(preference_rows(feedback) if args.format == "pairs" else kto_rows(feedback))
    lines = "".join(strict_json(row) + "\n" for row in rows)
    if args.out:
        try:
            Path(args.out).write_text(lines, encoding="utf-8")
        except OSError as exc:
            raise UsageError(f"cannot write {args.out}: {exc.strerror}", "choose another file") from exc
    if args.json:
        counts = {"format": args.format, "count": len(rows), "thumbs": len(feedback), "out": args.out}
        print_json(counts if args.out else counts | {"rows": rows})
        return 0
    if not args.out:
        print(lines, end="")
    print(f"{pluralize(len(rows), 'row')} from {pluralize(len(feedback), 'rating')}", file=sys.stderr)
    return 0
