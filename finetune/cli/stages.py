"""`quire finetune sft|dpo|run`: train one stage, or both one after the other."""

import argparse
import json
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.cli.dry_run import add_dry_run, print_dry_runs
from finetune.cli.parsing import add_command, add_data, add_settings, command_line, config_of, print_progress
from finetune.config import TrainConfig
from finetune.errors import DataError
from finetune.train.device import is_main_process
from quire import UsageError, add_json_flag, print_json


def register(subparsers: Any) -> None:
    """Add the three commands."""
    for stage, text, example in (
        ("sft", "train on example answers", "quire finetune sft rows.jsonl --recipe qwen2.5-1.5b-sft --name my-sft"),
        (
            "dpo",
            "train on preferences: DPO, IPO, KTO, ORPO, SimPO and others",
            "quire finetune dpo pairs.jsonl --recipe qwen2.5-1.5b-dpo --parent my-sft --name my-dpo",
        ),
    ):
        parser = add_command(subparsers, stage, text, example, run_stage)
        add_data(parser)
        add_settings(parser)
        add_dry_run(parser)
        parser.add_argument(
            "--print-config", action="store_true", help="print the settings as resolved, as TOML for --recipe, and stop"
        )
        parser.add_argument("--resume", action="store_true", help="continue an unfinished run from its last checkpoint")
        add_json_flag(parser)
        parser.set_defaults(stage=stage)

    both = add_command(
        subparsers,
        "run",
        "check the data, train SFT, then DPO on top of it",
        "quire finetune run --sft-data rows.jsonl --dpo-data pairs.jsonl --sft-recipe phi-2-sft --dpo-recipe phi-2-dpo "
        "--name phi",
        run_both,
    )
    for stage in ("sft", "dpo"):
        both.add_argument(
            f"--{stage}-data",
            action="append",
            required=True,
            metavar="FILE",
            help=f"data for {stage.upper()}; may be repeated",
        )
    for stage in ("sft", "dpo"):
        both.add_argument(
            f"--{stage}-recipe", default="", metavar="FILE", help=f"recipe for {stage.upper()}: a TOML file or a name"
        )
    both.add_argument("--model", "--model-name", "--model-name-or-path", help="base model; overrides the recipe's")
    both.add_argument("--name", help="name of the two runs; -sft and -dpo are added to it", required=True)
    both.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.SETTING=VALUE",
        help="one setting of one stage, such as sft.rank=8; may be repeated",
    )
    add_dry_run(both)
    both.add_argument("--resume", action="store_true", help="skip finished runs and continue unfinished ones")
    add_json_flag(both)


def run_stage(args: argparse.Namespace) -> int:
    """Train one stage and print the result and its folder."""
    from finetune.train.complete import complete, require_data
    from finetune.train.run import train
    from finetune.train.stages import resolved_toml

    config = config_of(args, stage=args.stage)
    if args.print_config:
        print_json(config.to_dict()) if args.json else print(resolved_toml(config), end="")
        return 0
    if args.dry_run:
        require_data(config)
        return print_dry_runs([complete(config)], resume=args.resume, as_json=args.json)
    started = time.time()
    try:
        folder = train(config, command=command_line(), resume=args.resume, progress=print_progress)
    except KeyboardInterrupt:
        print_progress(_describe_stop(config.name, started))
        return 130
    _print_result(folder, as_json=args.json)
    return 0


def _describe_stop(name: str, started: float) -> str:
    """Return what a run that was stopped can continue from; without a name, it is the one written to since it started."""
    from finetune.runs.manifest import runs_folder
    from finetune.train.run import last_checkpoint

    for folder in [runs_folder() / name] if name else sorted(runs_folder().glob("*")):
        checkpoint = last_checkpoint(folder)
        if checkpoint and (name or folder.stat().st_mtime >= started):
            named = "" if name else f" --name {folder.name}"
            return f"stopped; the same command with --resume{named} continues from {Path(checkpoint).name}"
    return "stopped before the first checkpoint: the same command starts again; --save-every sets when one is written"


def _print_result(folder: Path, *, as_json: bool = False) -> None:
    if not is_main_process():
        return
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if as_json:
        print_json({"run": folder.name, "folder": str(folder), **report})
        return
    loss = report["loss"]
    speed = f", {report['tokens_per_second']:,.0f} tokens/s" if report["tokens_per_second"] else ""
    first, last = (f"{value:.4f}" if value is not None else "-" for value in (loss["first"], loss["last"]))
    print(f"{folder.name}: {report['steps']} steps in {report['seconds']:.1f} s{speed}, loss {first} to {last}")
    print(f"  {folder}")


def run_both(args: argparse.Namespace) -> int:
    """Check both data sets, train SFT, then DPO from it; nothing is trained when a data set has no usable row."""
    from finetune.train.complete import complete
    from finetune.train.dry_run import continued
    from finetune.train.run import train
    from finetune.train.stages import stage_config, train_unless_finished

    own = {"data": args.sft_data, "name": f"{args.name}-sft", "model": args.model}
    sft = stage_config("sft", {**_assignments(args.set, "sft"), **own}, recipe=args.sft_recipe)
    own = {"data": args.dpo_data, "name": f"{args.name}-dpo", "parent": sft.name, "method": sft.method}
    dpo = stage_config("dpo", {**_assignments(args.set, "dpo"), **own}, recipe=args.dpo_recipe)
    for config in (sft, dpo):
        _check_data(config, first=sft)
    if args.dry_run:
        first = complete(sft)
        return print_dry_runs([first, continued(dpo, first)], resume=args.resume, as_json=args.json)
    start = train_unless_finished if args.resume else train
    folders = [start(config, command=command_line(), progress=print_progress) for config in (sft, dpo)]
    if args.json:
        print_json({"runs": [{"run": folder.name, "folder": str(folder)} for folder in folders]})
    else:
        for folder in folders:
            _print_result(folder)
    return 0


def _assignments(items: Sequence[str], stage: str) -> dict[str, Any]:
    """Return the settings of one stage in texts like `sft.rank=8`; a value that is not TOML is text."""
    found: dict[str, Any] = {}
    for item in items:
        name, mark, value = item.partition("=")
        where, dot, key = name.partition(".")
        if not mark or not dot or where not in ("sft", "dpo"):
            raise UsageError(f"--set {item!r} is not valid", "write sft.SETTING=VALUE or dpo.SETTING=VALUE")
        if where == stage:
            try:
                found[key.replace("-", "_")] = tomllib.loads(f"v = {value}")["v"]
            except tomllib.TOMLDecodeError:
                found[key.replace("-", "_")] = value
    return found


def _check_data(config: TrainConfig, *, first: TrainConfig) -> None:
    """Print what `quire finetune data check` finds in a run's files; raises DataError when no row is usable.

    `first` is the SFT run, whose model, template and system message the DPO run takes over.
    """
    from finetune.data.check import check
    from finetune.data.sources.loader import load_data
    from finetune.templates.find import choose_template, describe_end
    from finetune.train.load import load_tokenizer

    tokenizer = load_tokenizer(first.model, first.revision)
    name, system = config.template or first.template, config.system or first.system
    template = choose_template(name, first.model, tokenizer, system=system)
    print_progress(describe_end(template))
    for name in config.data:
        loaded = load_data(name, task=config.task)
        report = check(loaded, template=template, tokenizer=tokenizer, max_length=config.max_length)
        kinds = Counter(problem.kind for problem in report.problems)
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "no problems"
        print_progress(f"checked {name}: {report.format}, {report.kept:,} of {report.rows:,} rows kept; {found}")
        if not loaded.records:
            raise DataError(f"{name} has no rows to train on", f"quire finetune data check {name}")
