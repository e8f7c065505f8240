"""Temporary folders of commands, in the home folder: a merged model can exceed the system's.

A folder that a killed command left is removed by the next command.
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

_PREFIX = "scratch-"
_NAME = re.compile(rf"^{_PREFIX}(?P<host>.+)-(?P<pid>\d+)-[^-]+$")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder that is removed after the block; folders of killed commands are removed first."""
    home = home_folder()
    home.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(home)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{socket.gethostname()}-{os.getpid()}-", dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(home: Path) -> None:
    """Remove the folders of processes of this machine that no longer run."""
    for folder in home.glob(f"{_PREFIX}*"):
        found = _NAME.match(folder.name)
        if found and found["host"] == socket.gethostname() and not _is_running(int(found["pid"])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # os.kill would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
