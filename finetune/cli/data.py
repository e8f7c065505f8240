"""`quire finetune data list|check|show`: what data there is, what is wrong with it, what a model sees of it."""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError, TemplateError
from quire import UsageError

_RAW = argparse.RawDescriptionHelpFormatter


def register(subparsers: Any) -> None:
    """Add `data` and its three commands."""
    data = subparsers.add_parser("data", help="list, check and show training data")
    commands = data.add_subparsers(dest="data_command", metavar="list|check|show", required=True)

    listing = commands.add_parser("list", help="the usual public sets, with licences",
                                  epilog="example:\n  quire finetune data list", formatter_class=_RAW)  # fmt: skip
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    listing.set_defaults(run=run_list)

    checking = commands.add_parser(
        "check", help="find what spoils training",
        epilog="examples:\n  quire finetune data check rows.jsonl\n"
        "  quire finetune data check train.jsonl --test held-out.jsonl --json", formatter_class=_RAW)  # fmt: skip
    checking.add_argument("files", nargs="+", metavar="FILE", help="file, folder, catalogue or hub name")
    checking.add_argument("--test", metavar="FILE", help="held-out rows that training rows may not repeat")
    checking.add_argument("--max-length", type=int, default=2048, metavar="TOKENS", help="truncation (2048)")
    checking.add_argument(
        "--weights", metavar="A,B", help="share of each file in a mixture, in their order: say what it would be"
    )
    checking.add_argument("--json", action="store_true", help="print one JSON object")
    checking.set_defaults(run=run_check)
    _add_shared(checking)

    showing = commands.add_parser(
        "show", help="rendered rows with the loss mask in colour",
        epilog="examples:\n  quire finetune data show rows.jsonl --template chatml --rows 2\n"
        "  quire finetune data show rows.jsonl --model Qwen/Qwen2.5-1.5B-Instruct --html rows.html", formatter_class=_RAW)  # fmt: skip
    showing.add_argument("file", metavar="FILE", help="file, folder, catalogue or hub name")
    showing.add_argument("--rows", type=_count, default=3, metavar="N", help="how many records (3)")
    showing.add_argument("--row", type=_count, metavar="N", help="only the records of this row (1-based)")
    showing.add_argument("--html", metavar="FILE", help="write an HTML page instead")
    showing.add_argument("--json", action="store_true", help="print one JSON object")
    showing.add_argument("--color", "--colour", choices=("auto", "always", "never"), default="auto")
    showing.set_defaults(run=run_show)
    _add_shared(showing)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", metavar="NAME", help="the shape of the rows, where detection is not wanted")
    parser.add_argument("--task", choices=("sft", "preference", "label"), help="what to make of the rows")
    parser.add_argument("--pairs", choices=("best-worst", "best-random", "all"), help="pairs of ranked answers")
    parser.add_argument("--pick", choices=("best", "all", "concat"), default="best", help="threads of message trees")
    parser.add_argument("--language", action="append", default=[], metavar="CODE", help="messages of trees to keep")
    parser.add_argument("--depth", type=_count, metavar="N", help="longest thread of a tree, in messages")
    parser.add_argument("--reviews", type=int, default=0, metavar="N", help="fewest reviews of a tree's message")
    parser.add_argument("--synthetic", action="store_true", help="keep a tree's machine-written messages")
    parser.add_argument("--split", default="train", help="split of a hub data set (train)")
    parser.add_argument("--model", metavar="M", help="a model's folder or name: its template and tokenizer")
    parser.add_argument("--template", metavar="NAME", help="a template by name (show: chatml)")


def _count(text: str) -> int:
    """Read a number of things, at least one."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _load(source: str, args: argparse.Namespace, *, strict: bool) -> Any:
    from finetune.data.sources.loader import load_data
    from finetune.data.sources.oasst import TreeFilter

    trees = TreeFilter(args.pick, tuple(args.language), args.depth, args.reviews, args.synthetic)
    return load_data(source, format=args.format, task=args.task, pairs=args.pairs, tree_filter=trees, split=args.split,
                strict=strict)  # fmt: skip


def _model_side(args: argparse.Namespace) -> tuple[Any, Any]:
    """Give the template and, where a model's folder is named, its tokenizer."""
    from finetune.templates.builtin import get_template
    from finetune.templates.find import find_template

    chosen = get_template(args.template) if args.template else find_template(args.model) if args.model else None
    if not args.model or not Path(args.model).expanduser().is_dir():
        return chosen, None
    from transformers import AutoTokenizer

    try:
        return chosen, AutoTokenizer.from_pretrained(str(Path(args.model).expanduser()))
    except (OSError, ValueError) as exc:
        raise TemplateError(
            f"{args.model} holds no tokenizer that can be read: {str(exc).splitlines()[0]}", "name a model's folder"
        ) from exc


def run_list(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    from finetune.data.catalog import CATALOG

    if args.json:
        print(json.dumps({"sets": [entry.to_dict() for entry in CATALOG]}, ensure_ascii=False))
        return 0
    for entry in CATALOG:
        print(f"{entry.name}  ({entry.hub})")
        print(f"  {entry.rows:,} rows, {entry.licence}, {entry.task}, format {entry.format}")
        print(f"  fields: {entry.fields}")
        if entry.note:
            print(f"  {entry.note}")
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Check the files and print a report; exit code 1 when no row is left to train on."""
    from finetune.data.check import check
    from finetune.data.sources.loaded import join

    if args.max_length < 1:
        raise UsageError(f"--max-length is a number of tokens above 0, found {args.max_length}", "2048 is usual")
    template, tokenizer = _model_side(args)
    parts = [_load(file, args, strict=False) for file in args.files]
    shares = _shares(args, parts)
    loaded = join(parts)
    test = _load(args.test, args, strict=False).records if args.test else ()
    report = check(loaded, test=test, template=template, tokenizer=tokenizer, max_length=args.max_length)
    if args.json:
        mixture = {"mixture": [share.to_dict() for share in shares]} if shares else {}
        print(json.dumps({**report.to_dict(), **mixture}, ensure_ascii=False))
        return 0 if report.kept else 1
    several = len({problem.source for problem in report.problems}) > 1
    for problem in report.problems:
        malformed = problem.kind == "malformed"
        place = f"row {problem.row}" if problem.row else "all rows"
        place = f"line {problem.line}, {place}" if malformed else place
        left_out = " (left out)" if problem.dropped else ""
        print(f"{problem.source + ', ' if several or malformed else ''}{place}: {problem.problem}{left_out}")
    print(f"format {report.format}: {report.rows} rows, {report.kept} kept, {report.records} records")
    if report.counts:
        print("problems: " + ", ".join(f"{count} {kind}" for kind, count in report.counts.items()))
    for share in shares:
        print(share.sentence())
    if report.lengths:
        print("lengths: " + ", ".join(f"{name} {value:.10g}" for name, value in report.lengths.items()))
    return 0 if report.kept else 1


def _shares(args: argparse.Namespace, parts: Sequence[Any]) -> list[Any]:
    """Mix what the files gave by --weights, as a run would, for the shares that come about."""
    from finetune.data.mix import mix

    if not args.weights:
        return []
    try:
        weights = [float(weight) for weight in args.weights.split(",")]
    except ValueError:
        weights = []
    if len(weights) != len(parts) or any(not 0 < weight < math.inf for weight in weights):
        raise UsageError(
            f"--weights {args.weights} does not fit {len(parts)} files", "give one number above 0 for each file"
        )
    records = {file: part.records for file, part in zip(args.files, parts, strict=True)}
    return mix(records, dict(zip(args.files, weights, strict=True))).shares


def run_show(args: argparse.Namespace) -> int:
    """Show records as the model sees them."""
    from finetune.data import show
    from finetune.templates.builtin import TEMPLATE_NAMES, get_template

    template, tokenizer = _model_side(args)
    if template is None:
        template = get_template("chatml")
        print(f"in template chatml; another by --template ({', '.join(TEMPLATE_NAMES)}) or --model", file=sys.stderr)
    loaded = _load(args.file, args, strict=True)
    records = [r for r in loaded.records if args.row in (None, r.row)][: args.rows]
    if left_out := [p for p in loaded.problems if args.row and p.row == args.row and p.dropped]:
        raise FinetuneError(f"row {args.row} of {args.file} was left out: {left_out[0].problem}", "show another row")
    if not records:
        raise FinetuneError(f"{args.file} has no record of row {args.row}" if args.row else f"{args.file} has no record",
                            "quire finetune data check names the rows that were left out")  # fmt: skip
    views = [view for record in records for view in show.views(record, template, tokenizer)]
    if args.html:
        page = show.as_html(views, title=f"{Path(args.file).name} in template {template.name}")
        try:
            Path(args.html).write_text(page, encoding="utf-8")
        except OSError as exc:
            raise FinetuneError(f"{args.html} cannot be written: {exc}", "name another file") from exc
        print(json.dumps({"html": args.html, "views": len(views)}) if args.json else args.html)
        return 0
    if args.json:
        shown = [{"title": v.title, "tokens": v.tokens, "trained": v.trained,
                  "segments": [s._asdict() for s in v.segments]} for v in views]  # fmt: skip
        print(json.dumps({"template": template.name, "views": shown}, ensure_ascii=False))
        return 0
    auto = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(show.terminal(views, colour=args.color == "always" or (args.color == "auto" and auto)))
    return 0
