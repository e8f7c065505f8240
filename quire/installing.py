"""The shell line that installs a missing package into the environment that quire runs in."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shlex
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from quire.errors import QuireError, UsageError


def pip_install(words: str) -> str:
    """Return the command that installs packages with this Python; a bare `pip` may belong to another one."""
    return f"{shlex.quote(_from_here(Path(sys.executable)))} -m pip install {words}"


def install_extra(extra: str) -> str:
    """Return the command that installs an extra of quire, from its source, since quire is not on a package index."""
    source, editable = _source()
    return pip_install(f"{'-e ' if editable else ''}{shlex.quote(f'{source}[{extra}]')}")


def require_extra(extra: str, *modules: str, purpose: str, error: type[QuireError] = UsageError) -> None:
    """Raise `error` with the install command if modules of one of quire's extras are missing.

    `purpose` is what needs them: the subject of the message.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise error(f"{purpose} needs {' and '.join(missing)}", f"install it: {install_extra(extra)}")


def _source() -> tuple[str, bool]:
    """Return what quire was installed from, as an argument for pip, and whether it runs from there."""
    root = Path(__file__).resolve().parent.parent
    if (root / "pyproject.toml").is_file():  # a clone, installed or not
        return _from_here(root), True
    try:  # https://packaging.python.org/en/latest/specifications/direct-url/
        record = json.loads(importlib.metadata.distribution("quire").read_text("direct_url.json") or "{}")
    except importlib.metadata.PackageNotFoundError:
        record = {}
    address = str(record.get("url", ""))
    if address.startswith("file:"):
        return _from_here(Path(url2pathname(urlsplit(address).path))), False
    return "quire", False


def _from_here(path: Path) -> str:
    """Return a path relative to the working folder if possible; with `./`, or pip takes a bare name for a package."""
    try:
        below = path.relative_to(Path.cwd())
    except (ValueError, OSError):  # outside the working folder, or that folder was deleted
        return str(path)
    return str(below) if len(below.parts) != 1 else f"./{below}"
