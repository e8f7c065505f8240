"""Folders that a command needs while it runs: in the home folder, and swept away when a command was killed.

The system's own folder for such may be a small disk in memory; a merged model has gigabytes.
"""

import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quire import home_folder

PREFIX = "scratch-"
_NAME = re.compile(rf"^{PREFIX}(?P<host>.+)-(?P<pid>\d+)-[^-]+$")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a new folder for the time of the `with` statement; those of commands that were killed are removed first."""
    home = home_folder()
    home.mkdir(parents=True, exist_ok=True)
    sweep(home)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{socket.gethostname()}-{os.getpid()}-", dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(home: Path) -> None:
    """Remove the folders of processes of this machine that are no more."""
    for folder in home.glob(f"{PREFIX}*"):
        found = _NAME.match(folder.name)
        if found and found["host"] == socket.gethostname() and not _runs(int(found["pid"])):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    if sys.platform == "win32":  # there, asking is ending
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
