"""The assistant's commands, one module each: search, ask, chat, models, eval, feedback and doctor."""

import argparse
import importlib

from quire import exit_code

COMMANDS = ("search", "ask", "chat", "models", "eval", "feedback", "doctor")


def build_parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of one of COMMANDS; no other command's module is loaded."""
    parser: argparse.ArgumentParser = importlib.import_module(f"assistant.cli.{command}").build_parser()
    return parser


def main(argv: list[str]) -> int:
    """Run the command named by the first argument; return 0 for done, 1 for failed, 2 for wrong usage."""
    args = build_parser(argv[0]).parse_args(argv[1:])
    return exit_code(lambda: args.run(args))
