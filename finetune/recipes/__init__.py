"""Recipes: settings of training runs as TOML files, those that come with quire and the user's own."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quire import UsageError


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with quire."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


def read_recipe(name: str) -> dict[str, Any]:
    """Return the settings in a TOML file, or in a recipe of quire by its name (`qwen2.5-1.5b-sft`).

    Raises UsageError when the recipe does not exist or is not TOML.
    """
    path = Path(name)
    if not path.is_file():
        path = Path(__file__).parent / f"{name.removesuffix('.toml')}.toml"
    if not path.is_file():
        raise UsageError(f"there is no recipe {name!r}", f"give a TOML file or one of: {', '.join(recipe_names())}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} is not valid TOML: {exc}", "fix the line that the message names") from exc


def to_toml(settings: Mapping[str, Any]) -> str:
    """Return settings as TOML that `read_recipe` reads back unchanged."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in settings.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
