"""Runs the command: `python -m quire`."""

import sys

from quire.cli import main

if __name__ == "__main__":
    sys.exit(main())
