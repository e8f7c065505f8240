"""The commands of `quire finetune`, one module for each group.

Each module has `register(subparsers)`, which adds its commands, each with `set_defaults(run=function)`. The function
takes the parsed arguments, calls one function of the package, prints, and returns an exit code.
"""

import argparse
import difflib
import importlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from quire import exit_code

# In the order of --help.
_MODULES = ("data", "plan", "stages", "sweep", "use", "chat", "export", "imports")

_EXAMPLES = """\
examples:
  quire finetune data check rows.jsonl
  quire finetune sft rows.jsonl --recipe qwen2.5-0.5b-sft --name my-sft
  quire finetune generate my-sft "What is a bond?"
  quire finetune ollama my-sft --tag my-model
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser that reports mistakes in the form of all other errors of quire."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """Report unknown arguments with the command's name and the most similar flag."""
        found, extra = super().parse_known_args(args, namespace)
        if not extra or self._subparsers is not None:
            return found, extra
        flags = [flag for action in self._actions for flag in action.option_strings]
        near = difflib.get_close_matches(extra[0].partition("=")[0], flags, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        print(f"error: {self.prog} has no {' '.join(extra)}\n  {guess}see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def error(self, message: str) -> "None":  # type: ignore[override]
        print(f"error: {message}\n  {self.format_usage().strip()}", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all that follows `quire finetune`."""
    top = _Parser(
        prog="quire finetune",
        description="Fine-tune a model: check data, train, evaluate, export.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in _MODULES:
        importlib.import_module(f"{__name__}.{name}").register(subparsers)
    return top


def _with_hyphens(argv: Sequence[str]) -> list[str]:
    """Return the arguments with `--batch_size` written as `--batch-size`: scripts of other tools use underscores."""
    end = argv.index("--") if "--" in argv else len(argv)
    flags = [re.sub(r"^--[^=]+", lambda found: found[0].replace("_", "-"), item) for item in argv[:end]]
    return [*flags, *argv[end:]]


def main(argv: list[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 an error, 2 wrong usage."""
    try:
        args = parser().parse_args(_with_hyphens(argv))
    except SystemExit as exc:
        return int(exc.code or 0)
    return exit_code(lambda: args.run(args))
