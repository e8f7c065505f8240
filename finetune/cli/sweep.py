"""`quire finetune sweep`: train combinations of settings and rank them on held-out rows."""

import argparse
from typing import Any

from finetune.cli.dry_run import add_dry_run, print_dry_runs
from finetune.cli.parsing import add_command, add_data, add_settings, command_line, print_progress, settings_of
from quire import add_json_flag, print_json


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "sweep",
        "train every combination of some settings and rank them on held-out rows",
        "quire finetune sweep pairs.jsonl --parent my-sft --vary beta=0.05,0.1,0.3 --vary loss=sigmoid,ipo --name betas",
        run_sweep,
    )
    add_data(parser)
    parser.add_argument("--stage", choices=("sft", "dpo"), default="dpo", help="default: dpo")
    parser.add_argument(
        "--vary",
        action="append",
        required=True,
        metavar="SETTING=A,B",
        help="values to try for a setting; may be repeated",
    )
    parser.add_argument("--name", required=True, help="name of the sweep: its folder, and the start of its runs' names")
    add_settings(parser, without=("name",))
    add_dry_run(parser)
    add_json_flag(parser)


def run_sweep(args: argparse.Namespace) -> int:
    """Train a sweep and print its table."""
    from finetune.runs.manifest import runs_folder
    from finetune.train.complete import complete, require_data
    from finetune.train.sweep import combinations, parse_variations, sweep, to_markdown

    variations = parse_variations(args.vary)
    settings = settings_of(args)
    if "parent" in variations:
        settings.pop("parent", None)
    configs = combinations(args.stage, settings, variations, name=args.name, recipe=args.recipe or "")
    for config in configs:
        require_data(config)
    if args.dry_run:
        return print_dry_runs([complete(config) for config in configs], resume=True, as_json=args.json)
    table = sweep(configs, list(variations), name=args.name, command=command_line(), progress=print_progress)
    if args.json:
        print_json(table)
    else:
        print(to_markdown(table), end="")
        print(f"best on held-out rows: {table['best']} (by accuracy, then by the margin in nats at the same KL)")
        print(f"table and plot: {runs_folder() / args.name}")
    return 0
