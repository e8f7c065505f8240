"""`--dry-run` of the training commands: what their runs would do, without loading weights."""

import argparse
import sys
from collections.abc import Sequence

from finetune.cli.parsing import print_progress
from finetune.config import TrainConfig
from quire import print_json


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="resolve the settings, read and encode the data, print rows, steps and memory, and stop; loads no weights",
    )


def print_dry_runs(configs: Sequence[TrainConfig], *, resume: bool = False, as_json: bool = False) -> int:
    """Print what runs with completed settings would do; the exit code is 1 when one of them does not fit."""
    from finetune.train.dry_run import dry_run, render
    from finetune.train.libraries import quiet_libraries, require_libraries, require_trackers

    require_libraries()
    quiet_libraries()
    found = []
    for config in configs:
        require_trackers(config.trackers)
        found.append(dry_run(config, progress=print_progress, resume=resume))
        if not as_json:
            print(render(found[-1], color=sys.stdout.isatty()))
    if as_json:
        print_json({"runs": [one.to_dict() for one in found]})
    return 0 if all(one.fits for one in found) else 1
