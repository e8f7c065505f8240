"""`quire finetune plan`: memory, trainable parameters and time of a run, before anything loads."""

import argparse
from dataclasses import replace
from typing import Any

from finetune.cli.parsing import add_command, add_settings, config_of
from finetune.export.needs import export_needs
from finetune.train.cards import GB, Card, detect_card, host_card, named_card
from finetune.train.device import machine_problems
from finetune.train.plan import STAGES, make_plan, render
from quire import UsageError, add_json_flag, positive_int, print_json


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "plan",
        "estimate the memory, trainable parameters and time of a run before anything loads",
        "quire finetune plan --model Qwen2.5-7B --card rtx4090",
        run_plan,
    )
    add_settings(parser)
    parser.add_argument(
        "--stage", choices=STAGES, dest="planned_stage", help="the stage to plan (default: the recipe's)"
    )
    parser.add_argument("--gpu-memory", type=float, metavar="GB", help="memory of the GPU in GB")
    parser.add_argument("--card", metavar="NAME", help="a known GPU, such as t4, rtx4090, a100-80 or h100")
    parser.add_argument(
        "--rows", type=positive_int, default=0, metavar="N", help="rows of data, to estimate tokens and time"
    )
    add_json_flag(parser)


def run_plan(args: argparse.Namespace) -> int:
    """Print a plan; the exit code is 1 when it does not fit, or could not start on the GPU of this machine."""
    config = config_of(args)
    if not config.model:
        raise UsageError("no model is given", "give --model or --recipe")
    card = _card(args)
    plan = make_plan(config, card=card, stage=args.planned_stage or "", rows=args.rows)
    is_here = not (args.card or args.gpu_memory or card.is_cpu)
    # another machine's GPU needs nothing of this one
    problems = machine_problems(config if is_here else replace(config, device="cpu", dtype="auto", use_kernels=False))
    needs = export_needs(plan.shape, plan.config.method)
    memory, disk = needs.memory / GB, needs.disk / GB
    if args.json:
        export = {"memory_gb": round(memory, 2), "disk_gb": round(disk, 2)}
        said = [{"problem": problem.message, "hint": problem.hint} for problem in problems]
        print_json({**plan.to_dict(), "export": export, "problems": said})
    else:
        print(render(plan))
        print(f"its export, on the CPU: {memory:.1f} GB of memory, {disk:.1f} GB of free disk")
        for problem in problems:
            print(f"cannot start here: {problem.message}\n  {problem.hint}")
    return 0 if plan.fits and not problems else 1


def _card(args: argparse.Namespace) -> Card:
    memory = args.gpu_memory
    if args.card:
        card = named_card(args.card)
    elif args.device == "cpu":
        card = host_card()
    else:
        card = detect_card() if memory is None else Card("a card", 0.0)
    if memory is None:
        return card
    if memory <= 0:
        raise UsageError(f"--gpu-memory {memory:g}: must be above 0", "give the GPU's memory in GB")
    return replace(card, memory_gb=memory)
