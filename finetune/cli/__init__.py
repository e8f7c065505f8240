"""The command `quire finetune`; each module of this folder adds some of its commands.

A command module has `register(subparsers)`, which adds its parsers with `set_defaults(run=function)`. The function takes
the parsed arguments, calls one function of the package, prints the result and returns an exit code.
"""

import argparse
import difflib
import importlib
import sys
from collections.abc import Callable
from typing import Any

from quire import exit_code

COMMAND_MODULES = (
    "finetune.cli.data",
    "finetune.cli.train",
    "finetune.cli.export",
)

_EXAMPLES = """\
examples:
  quire finetune data list
  quire finetune data check rows.jsonl --json
  quire finetune data show rows.jsonl --model Qwen/Qwen2.5-1.5B-Instruct
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser that reports wrong usage as quire reports every error."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """Reject an unknown flag, with the command's name and the most similar flag."""
        found, extra = super().parse_known_args(args, namespace)
        if not extra or self._subparsers is not None:
            return found, extra
        flags = [flag for action in self._actions for flag in action.option_strings]
        similar = difflib.get_close_matches(extra[0].partition("=")[0], flags, n=1)
        guess = f"did you mean {similar[0]}? " if similar else ""
        print(f"error: {self.prog} has no {' '.join(extra)}\n  {guess}see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def error(self, message: str) -> "None":  # type: ignore[override]
        print(f"error: {message}\n  {self.format_usage().strip()}", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser for the arguments after `quire finetune`."""
    top = _Parser(
        prog="quire finetune",
        description="Fine-tune a model: check the data, train, export.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMAND_MODULES:
        importlib.import_module(name).register(subparsers)
    return top


_PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {"finetune": parser}


def main(argv: list[str]) -> int:
    """Run a command and return its exit code: 0 for success, 1 for an error, 2 for wrong usage."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as exc:
        return int(exc.code or 0)
    return exit_code(lambda: args.run(args))
