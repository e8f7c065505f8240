"""Runs every measurement that needs no GPU: `python -m benchmarks [NAME...]`."""

import importlib
import sys

NAMES = ("read", "embed", "store", "start")


def main(names: list[str]) -> int:
    """Run the named measurements, or all; returns 2 for a name there is not."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"error: no measurement {unknown[0]!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names or NAMES:
        importlib.import_module(f"benchmarks.{name}").main([])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
