"""The commands of ingest, one module each: ingest, docs and libraries."""

import argparse
import importlib

from quire import exit_code

COMMANDS = ("ingest", "docs", "libraries")


def build_parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of one of COMMANDS; no other command's module is loaded."""
    parser: argparse.ArgumentParser = importlib.import_module(f"ingest.cli.{command}").build_parser()
    return parser


def main(argv: list[str]) -> int:
    """Run the command named by the first argument; return 0 for done, 1 for failed, 2 for wrong usage."""
    parser = build_parser(argv[0])
    # flags may stand between the action of `libraries` and its name, which argparse allows only this way
    parse = parser.parse_intermixed_args if argv[0] == "libraries" else parser.parse_args
    args = parse(argv[1:])
    return exit_code(lambda: args.run(args))
