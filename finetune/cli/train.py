"""The commands of training: plan, sft, dpo, run, sweep, score, compare, generate, chat; each parses, calls one function, prints."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig, build, read_recipe, setting_notes
from quire import UsageError, positive_int

_COMMAS = ("targets", "trackers", "weights")
_HIDDEN = ("stage", "data")


def register(subparsers: Any) -> None:
    """Add the parsers of the training commands."""
    _plan(subparsers)
    for stage, text, example in (
        ("sft", "teach answers", "quire finetune sft rows.jsonl --recipe qwen2.5-1.5b-sft --name my-sft"),
        (
            "dpo",
            "teach preferences: DPO, IPO, KTO, ORPO, SimPO and kin",
            "quire finetune dpo pairs.jsonl --recipe qwen2.5-1.5b-dpo --parent my-sft --name my-dpo",
        ),
    ):
        one = _parser(subparsers, stage, text, example)
        one.add_argument("data", nargs="*", metavar="FILE", help="data files or hub names, format detected")
        _settings(one)
        one.add_argument("--resume", action="store_true", help="go on from the last checkpoint of an unfinished run")
        one.add_argument("--json", action="store_true", help="print the report as JSON")
        one.set_defaults(run=run_stage, stage=stage)
    _run(subparsers)
    _sweep(subparsers)
    _use(subparsers)


def _parser(subparsers: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return found


def _settings(parser: argparse.ArgumentParser, *, leave_out: Sequence[str] = ()) -> None:
    """Add --recipe and one flag for each setting; a flag that is not given stays None and changes nothing."""
    parser.add_argument("--recipe", metavar="FILE", help="a TOML file, or the name of a recipe that comes with quire")
    group = parser.add_argument_group("settings that lie over the recipe")
    notes = setting_notes()
    for field in fields(TrainConfig):
        if field.name in (*_HIDDEN, *leave_out):
            continue
        flag = "--" + field.name.replace("_", "-")
        default: Any = field.default
        note = notes.get(field.name, "") + (
            f" (default {default})" if default and not isinstance(default, tuple) else ""
        )
        note = note.replace("%", "%%")
        if isinstance(default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=note)
        elif field.name in _COMMAS:
            group.add_argument(flag, type=lambda text: text.split(","), metavar="A,B", default=None, help=note)
        elif isinstance(default, tuple):
            note += "; may be given several times"
            group.add_argument(flag, action="append", metavar="TEXT", default=None, help=note)
        else:
            metavar = {int: "N", float: "X"}.get(type(default), "TEXT")
            group.add_argument(flag, type=type(default), metavar=metavar, default=None, help=note)


def settings_of(args: argparse.Namespace, *, stage: str | None = None) -> TrainConfig:
    """Make the settings of a command: recipe, then flags.

    With --parent and no --model, the parent's base rules over the recipe's.
    """
    recipe = read_recipe(args.recipe) if getattr(args, "recipe", None) else {}
    names = {field.name for field in fields(TrainConfig)}
    flags = {k: v for k, v in vars(args).items() if k in names and v is not None and v != []}
    if stage:
        flags["stage"] = stage
        if recipe.get("stage", stage) != stage:
            raise UsageError(f"the recipe {args.recipe} is for {recipe['stage']}", f"quire finetune {recipe['stage']}")
    if flags.get("parent") and "model" not in flags:
        recipe = {k: v for k, v in recipe.items() if k not in ("model", "template")}
    return build(recipe, flags)


def _command() -> list[str]:
    return ["quire", *sys.argv[1:]]


def say(line: str) -> None:
    """Tell progress on stderr, for all processes of a run together: stdout belongs to results."""
    from finetune.train.run import is_main

    if is_main():
        print(line, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


# -- plan


def _plan(subparsers: Any) -> None:
    parser = _parser(
        subparsers,
        "plan",
        "memory, trainable parameters and time before anything loads",
        "quire finetune plan --model Qwen2.5-7B --card rtx4090",
    )
    _settings(parser)
    parser.add_argument(
        "--stage", choices=("sft", "dpo", "dpo_two_models", "orpo", "ppo"), default=None, help="what is planned for"
    )
    parser.add_argument("--gpu-memory", type=float, metavar="GB", help="memory of a card")
    parser.add_argument("--card", help="a known card, such as t4, rtx4090, a100-80, h100")
    parser.add_argument("--rows", type=positive_int, default=0, metavar="N", help="rows of data, for tokens and time")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run_plan)


def run_plan(args: argparse.Namespace) -> int:
    """Print a plan; 1 when it does not fit."""
    from finetune.train.plan import Card, found_card, make_plan, named_card, render

    stage = args.stage or ""
    args.stage = None
    recipe = read_recipe(args.recipe) if args.recipe else {}
    names = {field.name for field in fields(TrainConfig)}
    config = build(recipe, {k: v for k, v in vars(args).items() if k in names and v is not None})
    if not config.model:
        raise UsageError("no model is named", "give --model or --recipe")
    card = named_card(args.card) if args.card else found_card() if args.gpu_memory is None else Card("a card", 0.0)
    if args.gpu_memory is not None:
        if args.gpu_memory <= 0:
            raise UsageError(f"--gpu-memory {args.gpu_memory:g}: must be above 0", "give the card's memory in GB")
        card = Card(card.name, args.gpu_memory, card.tflops, card.bf16)
    plan = make_plan(config, card=card, stage=stage, rows=args.rows)
    if args.json:
        _print_json(plan.to_dict())
    else:
        print(render(plan))
    return 0 if plan.fits else 1


# -- training


def run_stage(args: argparse.Namespace) -> int:
    """Train one stage and print where it lies."""
    from finetune.train.run import train

    config = settings_of(args, stage=args.stage)
    try:
        folder = train(config, command=_command(), resume=args.resume, say=say)
    except KeyboardInterrupt:
        say("stopped; the same command with --resume goes on from the last checkpoint")
        return 130
    _tell_run(folder, as_json=args.json)
    return 0


def _tell_run(folder: Path, *, as_json: bool) -> None:
    from finetune.train.run import is_main

    if not is_main():  # the first process tells for all
        return
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if as_json:
        _print_json({"run": folder.name, "folder": str(folder), **report})
        return
    loss = report["loss"]
    speed = f", {report['tokens_per_second']:,.0f} tokens/s" if report["tokens_per_second"] else ""
    first, last = (f"{value:.4f}" if value is not None else "-" for value in (loss["first"], loss["last"]))
    print(f"{folder.name}: {report['steps']} steps in {report['seconds']:.1f} s{speed}, loss {first} to {last}")
    print(f"  {folder}")


def _run(subparsers: Any) -> None:
    parser = _parser(
        subparsers,
        "run",
        "check the data, then SFT, then DPO on top of it",
        "quire finetune run --sft-data rows.jsonl --dpo-data pairs.jsonl --sft-recipe phi-2-sft --dpo-recipe phi-2-dpo "
        "--name phi",
    )
    parser.add_argument("--sft-data", action="append", required=True, metavar="FILE")
    parser.add_argument("--dpo-data", action="append", required=True, metavar="FILE")
    parser.add_argument("--sft-recipe", metavar="FILE")
    parser.add_argument("--dpo-recipe", metavar="FILE")
    parser.add_argument("--model", help="base model, over the recipe's")
    parser.add_argument("--name", help="stem of both run names", required=True)
    parser.add_argument(
        "--set", action="append", default=[], metavar="STAGE.SETTING=VALUE", help="sft.rank=8 and the like"
    )
    parser.add_argument("--resume", action="store_true", help="take up what an earlier call did not finish")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run_all)


def _assignments(items: Sequence[str], stage: str) -> dict[str, Any]:
    """Read `sft.rank=8` for one stage; values are TOML, bare words are text."""
    import tomllib

    found: dict[str, Any] = {}
    for item in items:
        name, mark, value = item.partition("=")
        where, dot, key = name.partition(".")
        if not mark or not dot or where not in ("sft", "dpo"):
            raise UsageError(f"--set {item!r} cannot be read", "write sft.SETTING=VALUE or dpo.SETTING=VALUE")
        if where == stage:
            try:
                found[key.replace("-", "_")] = tomllib.loads(f"v = {value}")["v"]
            except tomllib.TOMLDecodeError:
                found[key.replace("-", "_")] = value
    return found


def run_all(args: argparse.Namespace) -> int:
    """Check both data sets, train SFT, then DPO from it; nothing trains while a data set has nothing to train on."""
    from finetune.runs.claim import same_settings
    from finetune.runs.manifest import MANIFEST_FILE
    from finetune.train.run import complete, train

    recipes = {
        "sft": read_recipe(args.sft_recipe) if args.sft_recipe else {},
        "dpo": read_recipe(args.dpo_recipe) if args.dpo_recipe else {},
    }
    model = {"model": args.model} if args.model else {}
    sft = build(recipes["sft"], model, _assignments(args.set, "sft"),
                {"stage": "sft", "data": args.sft_data, "name": f"{args.name}-sft"})  # fmt: skip
    without = {k: v for k, v in recipes["dpo"].items() if k not in ("model", "template")}
    dpo = build(without, _assignments(args.set, "dpo"),
                {"stage": "dpo", "data": args.dpo_data, "name": f"{args.name}-dpo", "parent": sft.name})  # fmt: skip
    task: Any = "label" if dpo.family == "label" else "preference"
    for config, kind in ((sft, "sft"), (dpo, task)):
        _check_data(config, kind, model=sft.model)
    from finetune.config import runs_folder

    folders = []
    for config in (sft, dpo):
        folder = runs_folder() / config.name
        if args.resume and (folder / MANIFEST_FILE).is_file():
            same_settings(complete(config), folder)
            say(f"{config.name}: finished before")
        else:
            train(config, command=_command(), resume=args.resume and folder.is_dir(), say=say)
        folders.append(folder)
    if args.json:
        _print_json({"runs": [{"run": f.name, "folder": str(f)} for f in folders]})
    else:
        for folder in folders:
            _tell_run(folder, as_json=False)
    return 0


def _check_data(config: TrainConfig, task: Any, *, model: str) -> None:
    """Say what `quire finetune data check` finds in a run's files; raises DataError when nothing can be trained on."""
    from collections import Counter

    from finetune.data.check import check
    from finetune.data.sources.loader import load_data
    from finetune.errors import DataError
    from finetune.templates.builtin import get_template
    from finetune.templates.find import find_template
    from finetune.train.load import load_tokenizer

    template = get_template(config.template) if config.template else find_template(model)
    tokenizer = load_tokenizer(model, config.revision)
    for name in config.data:
        loaded = load_data(name, task=task)
        report = check(loaded, template=template, tokenizer=tokenizer, max_length=config.max_length)
        kinds = Counter(problem.kind for problem in report.problems)
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "nothing wrong"
        say(f"checked {name}: {report.format}, {report.kept:,} of {report.rows:,} rows kept; {found}")
        if not loaded.records:
            raise DataError(f"{name} has nothing to train on", f"quire finetune data check {name}")


def _sweep(subparsers: Any) -> None:
    parser = _parser(
        subparsers,
        "sweep",
        "train every combination of some settings and rank them on held-out rows",
        "quire finetune sweep pairs.jsonl --parent my-sft --vary beta=0.05,0.1,0.3 --vary loss=sigmoid,ipo --name betas",
    )
    parser.add_argument("data", nargs="*", metavar="FILE")
    parser.add_argument("--stage", choices=("sft", "dpo"), default="dpo")
    parser.add_argument(
        "--vary", action="append", required=True, metavar="SETTING=A,B", help="may be given several times"
    )
    parser.add_argument("--name", required=True, help="stem of the run names, and folder of the table")
    _settings(parser, leave_out=("name",))
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run_sweep)


def run_sweep(args: argparse.Namespace) -> int:
    """Train a sweep and print its table."""
    from finetune.train.sweep import parse_variations, sweep, to_markdown

    variations = parse_variations(args.vary)
    if "parent" in variations and not args.parent:
        args.parent = variations["parent"][0]
    table = sweep(settings_of(args, stage=args.stage), variations, name=args.name, command=_command(), say=say)
    if args.json:
        _print_json(table)
    else:
        print(to_markdown(table), end="")
        print(f"best on held-out rows: {table['best']}")
    return 0


# -- use


def _use(subparsers: Any) -> None:
    score = _parser(
        subparsers,
        "score",
        "rewards, margin and accuracy of pairs under a run",
        "quire finetune score my-dpo pairs.jsonl",
    )
    score.add_argument("model_run", metavar="RUN")
    score.add_argument("pairs", nargs="+", metavar="PAIRS")
    score.add_argument("--device", choices=("auto", "cpu"), default="auto")
    score.add_argument("--batch-size", type=positive_int, default=4)
    score.add_argument("--json", action="store_true")
    score.set_defaults(run=run_score)

    compare = _parser(
        subparsers,
        "compare",
        "the same prompts to base, SFT and DPO, side by side",
        'quire finetune compare my-dpo --prompt "What is a bond?"',
    )
    compare.add_argument("runs", nargs="+", metavar="RUN", help="one run stands for itself and all it came from")
    compare.add_argument("--prompt", action="append", default=[], metavar="TEXT")
    compare.add_argument(
        "--prompts",
        metavar="FILE",
        help="one prompt a line, or JSON Lines with a field prompt, question, instruction or turns",
    )
    compare.add_argument("--max-new-tokens", type=positive_int, default=128)
    compare.add_argument(
        "--out", metavar="FOLDER", help="where compare.html and compare.json go; the last run's folder"
    )
    compare.add_argument("--device", choices=("auto", "cpu"), default="auto")
    compare.add_argument("--json", action="store_true")
    compare.set_defaults(run=run_compare)

    generate = _parser(
        subparsers, "generate", "one answer of a run", 'quire finetune generate my-dpo "What is a bond?"'
    )
    generate.add_argument("model_run", metavar="RUN")
    generate.add_argument("prompt")
    chat = _parser(
        subparsers, "chat", "talk with a run; an empty line or end of input ends it", "quire finetune chat my-dpo"
    )
    chat.add_argument("model_run", metavar="RUN")
    for one, default in ((generate, 256), (chat, 512)):
        one.add_argument("--max-new-tokens", type=positive_int, default=default, metavar="N")
        one.add_argument("--system", default="", help="system message")
        one.add_argument("--device", choices=("auto", "cpu"), default="auto")
    generate.add_argument("--json", action="store_true")
    generate.set_defaults(run=run_generate)
    chat.set_defaults(run=run_chat)


def run_score(args: argparse.Namespace) -> int:
    """Print the scores of pairs."""
    from finetune.evaluate.score import score_pairs
    from finetune.train.run import read_records

    found = score_pairs(
        args.model_run, read_records(args.pairs, "preference"), device=args.device, batch_size=args.batch_size
    )
    if args.json:
        _print_json(found.to_dict())
    else:
        print(f"{len(found.chosen)} pairs: accuracy {found.accuracy:.3f}, margin {found.margin:.4f}")
        for reason, count in found.report.dropped.items():
            print(f"  {count} left out: {reason}")
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """Compare models and print or write the answers."""
    from finetune.evaluate.compare import compare_runs, read_prompts, write_comparison
    from finetune.runs.manifest import find_run

    prompts = list(args.prompt)
    if args.prompts:
        prompts += read_prompts(Path(args.prompts))
    found = compare_runs(args.runs, prompts, max_new_tokens=args.max_new_tokens, device=args.device)
    page, _ = write_comparison(found, Path(args.out) if args.out else find_run(args.runs[-1]))
    if args.json:
        _print_json(found)
        return 0
    for row in found["prompts"]:
        print(f"> {row['prompt']}")
        for name, answer in row["answers"].items():
            print(f"  {name}: {answer['text']}")
    print(f"side by side: {page}")
    return 0


def run_generate(args: argparse.Namespace) -> int:
    """Print one answer, nothing else; the finish reason goes to stderr, or into the JSON."""
    from finetune.evaluate.generate import answer
    from finetune.templates.messages import Message
    from finetune.train.load import load_run

    messages = [Message("system", args.system)] if args.system else []
    found = answer(
        load_run(args.model_run, device=args.device),
        [*messages, Message("user", args.prompt)],
        max_new_tokens=args.max_new_tokens,
    )
    if args.json:
        _print_json({"text": found.text, "finish_reason": found.finish, "tokens": found.tokens})
    else:
        print(found.text)
        say(f"finish reason: {found.finish} ({found.tokens} tokens)")
    return 0


def run_chat(args: argparse.Namespace) -> int:
    """Talk until an empty line or the end of input."""
    from finetune.evaluate.generate import talk
    from finetune.train.load import load_run

    def lines() -> Any:
        while True:
            if sys.stdin.isatty():
                print("> ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            if not line.strip():
                return
            yield line.rstrip("\n")

    loaded = load_run(args.model_run, device=args.device)
    for found in talk(loaded, lines(), max_new_tokens=args.max_new_tokens, system=args.system):
        print(found.text, flush=True)
        if found.finish == "length":
            say(f"cut at {args.max_new_tokens} tokens: raise --max-new-tokens")
    return 0
