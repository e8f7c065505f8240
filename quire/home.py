"""The home folder, which contains everything that quire stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from quire.errors import UsageError


def home_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return `QUIRE_HOME`, else the user data folder of the platform; raises UsageError for an invalid path."""
    environ = os.environ if environ is None else environ
    if environ.get("QUIRE_HOME"):
        try:
            return Path(environ["QUIRE_HOME"]).expanduser().resolve()
        except (RuntimeError, OSError) as exc:
            raise UsageError(
                f"QUIRE_HOME is {environ['QUIRE_HOME']!r}: {exc}", "name a folder that can be created"
            ) from exc
    import platformdirs

    return Path(platformdirs.user_data_dir("quire", appauthor=False))
