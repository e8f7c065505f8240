"""Settings from defaults, quire.toml, environment and flags, and where each value came from."""

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
    """One effective setting and where its value came from."""

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
    """Build a config dataclass from defaults, quire.toml, environment and flags; return it with the origin of each value.

    `environment` names the variables of a setting, the first that is set wins. `flags` with the value None were not
    given. quire.toml is read from `folder` (default: the working folder), else from the home folder. Raises UsageError
    for an unknown setting or a value of the wrong type.
    """
    environ = os.environ if environ is None else environ
    home = home_folder(environ)
    types = {field.name: str(field.type) for field in fields(config_class)}
    values: dict[str, Any] = {"home": home} if "home" in types else {}
    origins = {"home": "QUIRE_HOME" if environ.get("QUIRE_HOME") else "default"}

    def use(name: str, value: Any, origin: str) -> None:
        values[name], origins[name] = value, origin

    path = _toml_file(folder, home)
    for name, value in _toml_section(path, section).items() if path else ():
        if name not in types or name == "home":
            known = ", ".join(sorted(set(types) - {"home"}))
            raise UsageError(f"{path}: [{section}] has no setting {name!r}", f"known: {known}")
        use(name, _coerce(value, types[name], f"{path}: {name}"), str(path))
    for name, variables in environment.items():
        variable = next((variable for variable in variables if environ.get(variable)), None)
        if variable:
            use(name, _coerce(environ[variable], types[name], variable), variable)
    for name, value in (flags or {}).items():
        if value is not None:
            use(name, value, "flag")
    config = _build(config_class, values, origins)
    return config, [Setting(name, getattr(config, name), origins.get(name, "default")) for name in types]


def _build(config_class: type[Any], values: Mapping[str, Any], origins: Mapping[str, str]) -> Any:
    """Return the config; an error about a value names where that value came from."""
    try:
        return config_class(**values)
    except Exception as exc:  # each package raises its own error
        message = str(getattr(exc, "message", ""))
        origin = origins.get(message.partition(" ")[0], "flag")
        if origin == "flag":  # the person has just typed it
            raise
        raise type(exc)(f"{origin}: {message}", getattr(exc, "hint", "")) from exc


def _toml_file(folder: Path | None, home: Path) -> Path | None:
    # relative, because the working folder may have been deleted
    paths = (Path("quire.toml") if folder is None else folder / "quire.toml", home / "quire.toml")
    return next((path.absolute() for path in paths if path.is_file()), None)


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
        raise UsageError(f"{path}: there is no section [{unknown[0]}]", f"use one of {known}")
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


# type of a setting: how its value is read, and what it must be
_TYPES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "int": (_whole, "a whole number"),
    "float": (float, "a number"),
    "str": (_text, "a text"),
    "Path": (Path, "a path"),
}


def _coerce(value: Any, type_name: str, where: str) -> Any:
    if type_name == "bool":
        text = str(value).strip().lower()
        if text in ("1", "true", "yes", "on"):
            return True
        if text in ("0", "false", "no", "off", ""):
            return False
        raise UsageError(f"{where} is {value!r}", "use true or false")
    read, what = _TYPES[type_name]
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise UsageError(f"{where} is {value!r}", f"it must be {what}") from exc
