"""Settings: defaults, then quire.toml, then environment, then flags, each with where its value came from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from quire.errors import UsageError
from quire.home import home_folder

SECTIONS = ("ingest", "assistant", "app")  # of quire.toml


@dataclass(frozen=True)
class Setting:
    """One effective setting: its name, its value and the place it came from."""

    name: str
    value: Any
    origin: str


def resolve_settings(
    config_class: type[Any],
    environment: Mapping[str, tuple[str, ...]],
    *,
    section: str,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> tuple[Any, list[Setting]]:
    """Build a config dataclass from defaults, quire.toml, environment and flags, and say where each value came from.

    `flags` whose value is None were not given. `folder` is where quire.toml is looked for first (default: the working
    folder), then the home folder. Raises UsageError for an unknown key or a value of the wrong kind.
    """
    environ = os.environ if environ is None else environ
    home = home_folder(environ)
    values: dict[str, Any] = {"home": home} if "home" in {f.name for f in fields(config_class)} else {}
    origins: dict[str, str] = {"home": "QUIRE_HOME" if environ.get("QUIRE_HOME") else "default"}
    types = {f.name: f.type for f in fields(config_class)}

    path = _toml_file(folder, home)
    if path is not None:
        for name, value in _toml_section(path, section).items():
            if name not in types or name == "home":
                known = ", ".join(sorted(set(types) - {"home"}))
                raise UsageError(f"{path}: [{section}] has no setting {name!r}", f"known: {known}")
            values[name], origins[name] = _coerce(value, str(types[name]), f"{path}: {name}"), str(path)
    for name, variables in environment.items():
        for variable in variables:
            if environ.get(variable):
                values[name] = _coerce(environ[variable], str(types[name]), variable)
                origins[name] = variable
                break
    for name, value in (flags or {}).items():
        if value is not None:
            values[name], origins[name] = value, "flag"
    try:
        config = config_class(**values)
    except Exception as exc:  # the class's own package says what cannot be; here it is known where that was set
        message = str(getattr(exc, "message", ""))
        origin = origins.get(message.partition(" ")[0], "flag")
        if origin == "flag":  # what was just typed needs no place
            raise
        raise type(exc)(f"{origin}: {message}", getattr(exc, "hint", "")) from exc
    settings = [Setting(f.name, getattr(config, f.name), origins.get(f.name, "default")) for f in fields(config_class)]
    return config, settings


def _toml_file(folder: Path | None, home: Path) -> Path | None:
    # relative: the working folder may be gone, and then it holds no file
    places = (Path("quire.toml") if folder is None else folder / "quire.toml", home / "quire.toml")
    return next((path.absolute() for path in places if path.is_file()), None)


def _toml_section(path: Path, section: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: {exc}", "fix the file or move it away") from exc
    except OSError as exc:
        raise UsageError(f"{path}: {exc.strerror or exc}", "check its permissions, or move it away") from exc
    unknown = [name for name in table if name not in SECTIONS]
    if unknown:
        known = ", ".join(f"[{name}]" for name in SECTIONS)
        raise UsageError(f"{path}: there is no section [{unknown[0]}]", f"settings stand in one of {known}")
    value = table.get(section, {})
    if not isinstance(value, dict):
        raise UsageError(f"{path}: {section!r} is not a table", f"write it as [{section}]")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise TypeError(value)
    return str(value)


# kind of a setting: how its value is read, and what it must be
_KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "int": (_whole, "a whole number"),
    "float": (float, "a number"),
    "str": (_text, "a text"),
    "Path": (Path, "a path"),
}


def _coerce(value: Any, kind: str, where: str) -> Any:
    if kind == "bool":
        text = str(value).strip().lower()
        if text in ("1", "true", "yes", "on"):
            return True
        if text in ("0", "false", "no", "off", ""):
            return False
        raise UsageError(f"{where} is {value!r}", "use true or false")
    read, what = _KINDS[kind]
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise UsageError(f"{where} is {value!r}", f"it must be {what}") from exc
