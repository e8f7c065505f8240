"""Runs every measurement that needs no GPU: `python -m benchmarks [NAME...]`."""

import subprocess
import sys

NAMES = ("read", "embed", "store", "start", "coverage")


def main(names: list[str]) -> int:
    """Run the named measurements, or all; returns 1 where one fails, 2 for a name there is not."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"error: no measurement {unknown[0]!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names or NAMES:
        # each in a process of its own: a measured child is charged with the memory that its parent held
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)
        if done.returncode:
            print(f"error: the measurement {name} ended with {done.returncode}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
