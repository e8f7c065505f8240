"""Types of command-line arguments."""

import argparse


def positive_int(text: str) -> int:
    """Return a whole number of at least 1, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
