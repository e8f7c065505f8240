"""The command `quire finetune`: gathers the commands of the modules below; each is loaded when the command runs.

A command module has `register(subparsers)`, which adds its parsers and gives each `set_defaults(run=function)`;
the function takes the parsed arguments, calls one function of the package, prints, and returns an exit code.
"""

import argparse
import difflib
import importlib
import sys
from collections.abc import Callable
from typing import Any

from quire import exit_code

# Every concern adds one module here, one a line.
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
    """An argument parser whose mistakes are reported as every other error of quire is."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """Refuse what this command does not know, by the command's name and with the nearest flag there is."""
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
    """Build the parser of everything that stands after `quire finetune`."""
    top = _Parser(
        prog="quire finetune",
        description="A data set to a model: check data, train, export.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMAND_MODULES:
        importlib.import_module(name).register(subparsers)
    return top


_PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {"finetune": parser}


def main(argv: list[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 something failed and is named, 2 wrong usage."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as exc:
        return int(exc.code or 0)
    return exit_code(lambda: args.run(args))
