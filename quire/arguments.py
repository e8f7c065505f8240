"""Arguments of commands: a parser whose help ends with examples, --json, and types of values."""

import argparse


def command_parser(name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """Return a parser for `quire NAME` whose help ends with examples."""
    return argparse.ArgumentParser(
        prog=f"quire {name}",
        description=description,
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_json_flag(
    parser: argparse.ArgumentParser,
    text: str = "print one JSON object and nothing else",
    *,
    default: bool | str = False,
) -> None:
    """Add --json; a subcommand whose parent has the flag too gives `default` argparse.SUPPRESS."""
    parser.add_argument("--json", action="store_true", default=default, help=text)


def positive_int(text: str) -> int:
    """Return a whole number of at least 1, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
