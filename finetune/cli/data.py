"""`quire finetune data list|check|show`: public sets, problems of a data set, rendered rows."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.cli.data_convert import add_convert
from finetune.cli.data_options import SOURCE_HELP, add_data_options, load_source
from finetune.errors import FinetuneError, TemplateError
from quire import UsageError, add_json_flag, positive_int, print_json

_RAW = argparse.RawDescriptionHelpFormatter


def register(subparsers: Any) -> None:
    """Add `data` and its commands."""
    data = subparsers.add_parser(
        "data",
        help="list, check, show and convert training data",
        description="List, check, show and convert training data.",
    )
    commands = data.add_subparsers(dest="data_command", metavar="list|check|show|convert", required=True)

    listing = commands.add_parser("list", help="list well-known public data sets and their licenses",
                                  description="List well-known public data sets and their licenses.",
                                  epilog="example:\n  quire finetune data list", formatter_class=_RAW)  # fmt: skip
    add_json_flag(listing)
    listing.set_defaults(run=run_list)

    checking = commands.add_parser(
        "check", help="find duplicates, contradictions, leakage and other problems",
        description="Find duplicates, contradictions, leakage and other problems in training data.",
        epilog="examples:\n  quire finetune data check rows.jsonl\n"
        "  quire finetune data check train.jsonl --test held-out.jsonl --json", formatter_class=_RAW)  # fmt: skip
    checking.add_argument("files", nargs="+", metavar="FILE", help=SOURCE_HELP)
    checking.add_argument("--test", metavar="FILE", help="held-out rows that must not occur in the training rows")
    checking.add_argument(
        "--max-length", type=int, default=2048, metavar="TOKENS", help="report rows longer than this (default 2048)"
    )
    checking.add_argument("--weights", metavar="A,B", help="also report the mixture with one weight for each file")
    add_json_flag(checking)
    checking.set_defaults(run=run_check)
    _add_model(checking)
    add_data_options(checking)

    showing = commands.add_parser(
        "show", help="show rows as the model sees them, with the trained text highlighted",
        description="Show rows as the model sees them, with the trained text highlighted.",
        epilog="examples:\n  quire finetune data show rows.jsonl --template chatml --rows 2\n"
        "  quire finetune data show rows.jsonl --model Qwen/Qwen2.5-1.5B-Instruct --html rows.html", formatter_class=_RAW)  # fmt: skip
    showing.add_argument("file", metavar="FILE", help=SOURCE_HELP)
    showing.add_argument("--rows", type=positive_int, default=3, metavar="N", help="number of records (default 3)")
    showing.add_argument("--row", type=positive_int, metavar="N", help="only the records of row N (1-based)")
    showing.add_argument("--html", metavar="FILE", help="write an HTML page instead")
    add_json_flag(showing)
    showing.add_argument(
        "--color", "--colour", choices=("auto", "always", "never"), default="auto", help="use color (default auto)"
    )
    showing.set_defaults(run=run_show)
    _add_model(showing)
    add_data_options(showing)
    add_convert(commands)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help="folder or name of a model, for its template and tokenizer")
    parser.add_argument("--template", metavar="NAME", help="name of a template (show: chatml by default)")


def _template_and_tokenizer(args: argparse.Namespace) -> tuple[Any, Any]:
    """Return the template, and the tokenizer of --model; None for what is not given."""
    from finetune.templates.find import choose_template, describe_end

    if not args.template and not args.model:
        return None, None
    tokenizer = _tokenizer(args.model) if args.model else None
    template = choose_template(args.template or "", args.model or "", tokenizer)
    if tokenizer is not None:
        print(describe_end(template), file=sys.stderr)
    return template, tokenizer


def _tokenizer(model: str) -> Any:
    """Return the tokenizer of a folder, or of a hub name if it is in the cache: nothing is downloaded."""
    from transformers import AutoTokenizer

    folder = Path(model).expanduser()
    try:
        return AutoTokenizer.from_pretrained(str(folder if folder.is_dir() else model), local_files_only=True)
    except (OSError, ValueError) as exc:
        if folder.is_dir():
            raise TemplateError(
                f"{model} has no readable tokenizer: {str(exc).splitlines()[0]}", "name the folder of a model"
            ) from exc
        print(f"the tokenizer of {model} is not in the cache: tokens are estimated", file=sys.stderr)
        return None


def run_list(args: argparse.Namespace) -> int:
    """Print the catalog."""
    from finetune.data.catalog import CATALOG

    if args.json:
        print_json({"sets": [entry.to_dict() for entry in CATALOG]})
        return 0
    for entry in CATALOG:
        print(f"{entry.name}  ({entry.hub})")
        print(f"  {entry.rows:,} rows, {entry.licence}, {entry.task}, format {entry.format}")
        if entry.split != "train":
            print(f"  split to train on: {entry.split}, held-out rows: {entry.test_split}")
        print(f"  fields: {entry.fields}")
        if entry.note:
            print(f"  {entry.note}")
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Check the files and print a report; exit code 1 if no row is left to train on, or training would refuse a row."""
    from finetune.data.check import check
    from finetune.data.sources.loaded import join

    if args.max_length < 1:
        raise UsageError(f"--max-length must be a number of tokens above 0, found {args.max_length}", "2048 is usual")
    template, tokenizer = _template_and_tokenizer(args)
    parts = [load_source(file, args, strict=False) for file in args.files]
    shares = _shares(args, parts)
    test = load_source(args.test, args, strict=False).records if args.test else ()
    loaded = join(parts)
    report = check(loaded, test=test, template=template, tokenizer=tokenizer, max_length=args.max_length)
    if args.json:
        mixture = {"mixture": [share.to_dict() for share in shares]} if shares else {}
        print_json({**report.to_dict(), **mixture})
    else:
        _print_report(report, shares, loaded)
    return 0 if report.kept and "malformed" not in report.counts else 1


def _shares(args: argparse.Namespace, parts: Sequence[Any]) -> list[Any]:
    """Return the share of each file in the mixture that a training run with these --weights would make."""
    from finetune.data.mix import mix

    if not args.weights:
        return []
    try:
        weights = [float(weight) for weight in args.weights.split(",")]
    except ValueError:
        weights = []
    if len(weights) != len(parts) or any(not 0 < weight < math.inf for weight in weights):
        raise UsageError(
            f"--weights {args.weights} does not fit {len(parts)} files", "write one number above 0 for each file"
        )
    records = {file: part.records for file, part in zip(args.files, parts, strict=True)}
    return mix(records, dict(zip(args.files, weights, strict=True))).shares


def _print_report(report: Any, shares: Sequence[Any], loaded: Any) -> None:
    several = len({problem.source for problem in report.problems}) > 1
    for problem in report.problems:
        malformed = problem.kind == "malformed"
        place = f"row {problem.row}" if problem.row else "all rows"
        place = f"line {problem.line}, {place}" if malformed else place
        file = f"{problem.source}, " if several or malformed else ""
        print(f"{file}{place}: {problem.problem}{' (dropped)' if problem.dropped else ''}")
    print(f"format {report.format}: {report.rows} rows, {report.kept} kept, {report.records} records")
    for line in loaded.sentences():
        print(line)
    if report.counts:
        print("problems: " + ", ".join(f"{count} {kind}" for kind, count in report.counts.items()))
    for share in shares:
        print(share.sentence())
    if report.lengths:
        print("lengths: " + ", ".join(f"{name} {value:.10g}" for name, value in report.lengths.items()))


def run_show(args: argparse.Namespace) -> int:
    """Show records as the model sees them."""
    from finetune.data.show import as_html, for_terminal, views_of
    from finetune.templates.builtin import TEMPLATE_NAMES, get_template

    template, tokenizer = _template_and_tokenizer(args)
    if template is None:
        template = get_template("chatml")
        others = ", ".join(TEMPLATE_NAMES)
        print(f"using template chatml; choose another with --template ({others}) or --model", file=sys.stderr)
    views = [view for record in _chosen_records(args) for view in views_of(record, template, tokenizer)]
    if args.html:
        page = as_html(views, title=f"{Path(args.file).name} in template {template.name}")
        try:
            Path(args.html).write_text(page, encoding="utf-8")
        except OSError as exc:
            raise FinetuneError(f"{args.html} cannot be written: {exc}", "name another file") from exc
        if args.json:
            print_json({"html": args.html, "views": len(views)})
        else:
            print(args.html)
    elif args.json:
        print_json({"template": template.name, "views": [view.to_dict() for view in views]})
    else:
        auto = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(for_terminal(views, color=args.color == "always" or (args.color == "auto" and auto)))
    return 0


def _chosen_records(args: argparse.Namespace) -> list[Any]:
    """Return the records of --row, or the first ones; raises FinetuneError if there are none."""
    loaded = load_source(args.file, args, strict=True)
    for line in loaded.sentences():
        print(line, file=sys.stderr)
    records = [record for record in loaded.records if args.row in (None, record.row)][: args.rows]
    dropped = [p.problem for p in loaded.problems if args.row and p.row == args.row and p.dropped]
    if dropped:
        raise FinetuneError(f"row {args.row} of {args.file} was dropped: {dropped[0]}", "show another row")
    if not records:
        raise FinetuneError(f"{args.file} has no record of row {args.row}" if args.row else f"{args.file} has no record",
                            "`quire finetune data check` lists the rows that were dropped")  # fmt: skip
    return records
