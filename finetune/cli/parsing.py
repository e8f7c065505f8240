"""What the training commands share: parsers, a flag for each setting, progress on stderr."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from finetune.config import TrainConfig, build, setting_notes
from finetune.defaults import describe_default
from finetune.recipes import read_recipe
from finetune.train.device import is_main_process
from finetune.train.sampling import CONTROLS, GREEDY, Sampling
from quire import positive_int, print_json

_COMMAS = ("targets", "trackers", "weights")  # given as A,B
_NO_FLAG = ("stage", "data")
# The names of these settings in transformers, PEFT, TRL and their example scripts.
_OTHER_FLAGS = {
    "model": ("--model-name", "--model-name-or-path"),
    "rank": ("--lora-r",),
    "alpha": ("--lora-alpha",),
    "dropout": ("--lora-dropout",),
    "learning_rate": ("--lr",),
    "epochs": ("--num-train-epochs",),
    "batch_size": ("--per-device-train-batch-size",),
    "accumulation": ("--gradient-accumulation-steps",),
}


class _OutputFolder(argparse.Action):
    """Refuses --output-dir, which many scripts have, and says where a run is."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """End the command with a usage error."""
        parser.error(
            "there is no --output-dir: a run is in runs/NAME of the home folder; give --name, or set QUIRE_HOME"
        )


ANY_MODEL = "a run, a PEFT adapter, a model folder, a GGUF file, or a hub name"


def add_command(
    subparsers: Any, name: str, text: str, example: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command that calls `run`; its help is `text` and ends with the example."""
    found: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.set_defaults(run=run)
    return found


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto", help="auto (a GPU if there is one) or cpu")


def add_base(parser: argparse.ArgumentParser) -> None:
    """Add --base."""
    parser.add_argument(
        "--base", default="", metavar="MODEL", help="the base model of a run or an adapter, when it has moved"
    )


def add_sampling(parser: argparse.ArgumentParser, *, max_new_tokens: int) -> None:
    """Add --max-new-tokens with its default, and one flag for each sampling control."""
    parser.add_argument(
        "--max-new-tokens",
        type=positive_int,
        default=max_new_tokens,
        metavar="N",
        help=f"longest answer in tokens (default {max_new_tokens})",
    )
    group = parser.add_argument_group("sampling")
    for name, control in CONTROLS.items():
        default = getattr(GREEDY, name)
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=type(default),
            default=default,
            metavar="N" if isinstance(default, int) else "X",
            help=f"{control.help} (default {default}; {control.minimum:.10g} to {control.maximum:.10g})",
        )


def sampling_of(args: argparse.Namespace) -> Sampling:
    """Return the sampling controls of a command, and say which have no effect; raises UsageError out of range."""
    found = Sampling(**{name: getattr(args, name) for name in CONTROLS})
    if found.ineffective:
        flags = ", ".join("--" + name.replace("_", "-") for name in found.ineffective)
        print_progress(f"without effect at --temperature 0: {flags}")
    return found


def add_settings(parser: argparse.ArgumentParser, *, without: Sequence[str] = ()) -> None:
    """Add --recipe and one flag for each setting; a flag that is not given is None and changes nothing."""
    parser.add_argument("--output-dir", action=_OutputFolder, help=argparse.SUPPRESS)
    parser.add_argument("--recipe", metavar="FILE", help="a TOML file, or the name of a recipe that comes with quire")
    group = parser.add_argument_group("settings, which override the recipe")
    notes = setting_notes()
    for field in fields(TrainConfig):
        if field.name in (*_NO_FLAG, *without):
            continue
        flags = ("--" + field.name.replace("_", "-"), *_OTHER_FLAGS.get(field.name, ()))
        default: Any = field.default
        shown = f" (default {default})" if default and not isinstance(default, tuple) else ""
        if depends := describe_default(field.name):
            same = "" if field.name == "learning_rate" else f"{default:g}; "
            shown = f" (default {same}{depends})"
        note = (notes.get(field.name, "") + shown).replace("%", "%%")
        if isinstance(default, bool):
            group.add_argument(*flags, action=argparse.BooleanOptionalAction, default=None, help=note)
        elif field.name in _COMMAS:
            group.add_argument(*flags, type=lambda text: text.split(","), metavar="A,B", default=None, help=note)
        elif isinstance(default, tuple):
            repeated = f"{note}; may be repeated"
            group.add_argument(*flags, action="append", metavar="TEXT", default=None, help=repeated)
        else:
            metavar = {int: "N", float: "X"}.get(type(default), "TEXT")
            group.add_argument(*flags, type=type(default), metavar=metavar, default=None, help=note)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the data files of a run: arguments, or --dataset-name as in other tools."""
    parser.add_argument("data", nargs="*", metavar="FILE", help="data files or hub names; the format is detected")
    parser.add_argument("--dataset-name", action="append", default=[], metavar="FILE", help="the same; may be repeated")


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the flags of a command set."""
    names = {field.name for field in fields(TrainConfig)}
    given = {**vars(args), "data": [*getattr(args, "data", []), *getattr(args, "dataset_name", [])]}
    return {k: v for k, v in given.items() if k in names and v is not None and v != []}


def config_of(args: argparse.Namespace, *, stage: str = "") -> TrainConfig:
    """Return the settings of a command: the recipe's, overridden by its flags; `stage` as in `stage_config`."""
    flags = settings_of(args)
    if stage:
        from finetune.train.stages import stage_config

        return stage_config(stage, flags, recipe=args.recipe or "")
    return build(read_recipe(args.recipe) if args.recipe else {}, flags)


def command_line() -> list[str]:
    """Return the command as it was given, for the manifest."""
    return ["quire", *sys.argv[1:]]


def print_progress(line: str) -> None:
    """Print progress to stderr, once for all processes of a run; stdout is for results."""
    if is_main_process():
        print(line, file=sys.stderr, flush=True)


def print_result(args: argparse.Namespace, values: dict[str, Any], text: str) -> int:
    """Print a result as JSON where --json is given, else as text; return the exit code 0."""
    print_json(values) if args.json else print(text)
    return 0
