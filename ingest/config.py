"""The settings in force and where each came from: defaults, then quire.toml, then environment, then flags."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ingest.errors import UsageError

STORES = ("sqlite", "weaviate", "weaviate-embedded")

SECTIONS = ("ingest", "assistant", "app")  # of quire.toml


def home_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the one folder under which everything kept lives (`QUIRE_HOME`, else the platform's user data folder)."""
    environ = os.environ if environ is None else environ
    if environ.get("QUIRE_HOME"):
        try:
            return Path(environ["QUIRE_HOME"]).expanduser().resolve()
        except (RuntimeError, OSError) as exc:
            raise UsageError(
                f"QUIRE_HOME is {environ['QUIRE_HOME']!r}: {exc}", "name a folder that can be made"
            ) from exc
    import platformdirs

    return Path(platformdirs.user_data_dir("quire", appauthor=False))


@dataclass(frozen=True)
class IngestConfig:
    """Everything `ingest` can be told; values and names only."""

    home: Path = field(default_factory=home_folder)  # folder of all that is kept
    library: str = "default"  # collection that is read and written
    store: str = "sqlite"  # one of STORES
    tenant: str = ""  # Weaviate tenant; empty = the library has none
    embedder: str = "minilm"  # minilm | minilm:FOLDER | ollama:MODEL | openai:MODEL
    chunk_size: int = 500  # characters; 500 beat 1000 in a shared library (58 against 33 % hit@10)
    chunk_overlap: int = 75  # characters shared by neighbours of one page
    jobs: int = 0  # parser processes; 0 = one a core
    parse_seconds: float = 300.0  # wall clock one PDF may take
    parse_memory_mb: int = 1024  # address space beyond the start one parser process may use
    parse_pages: int = 20_000  # pages one PDF may have
    link_megabytes: int = 200  # size one link may have
    link_seconds: float = 120.0  # wall clock one link may take
    weaviate_url: str = ""  # http(s)://host:port of a Weaviate server or cloud
    weaviate_grpc_url: str = ""  # host:port of its gRPC side; empty = same host, port 50051 (443 for cloud)
    weaviate_api_key: str = ""  # key of that server
    weaviate_replicas: int = 1  # copies of each shard, given at creation
    weaviate_shards: int = 0  # shards of a collection, given at creation; 0 = the server's choice
    weaviate_consistency: str = "QUORUM"  # ONE | QUORUM | ALL
    weaviate_linger_seconds: float = 0.0  # how long the embedded server waits for another command after the last
    ollama_host: str = ""  # address of Ollama; empty = the usual places are tried
    openai_base_url: str = ""  # OpenAI-compatible endpoint for embeddings
    openai_api_key: str = ""  # its key

    def __post_init__(self) -> None:
        if self.store not in STORES:
            raise UsageError(f"store is {self.store!r}", f"use one of {', '.join(STORES)}")
        if self.chunk_size < 50:
            raise UsageError(f"chunk_size is {self.chunk_size}", "use at least 50 characters")
        if not 0 <= self.chunk_overlap < self.chunk_size:
            raise UsageError(
                f"chunk_overlap {self.chunk_overlap} does not fit chunk_size {self.chunk_size}",
                "make the overlap smaller than the size",
            )
        for name, least, advice in _LEAST:
            value = getattr(self, name)
            if not least <= value < float("inf"):  # a NaN fails too
                raise UsageError(f"{name} is {value}", advice)
        if self.weaviate_consistency not in ("ONE", "QUORUM", "ALL"):
            raise UsageError(f"weaviate_consistency is {self.weaviate_consistency!r}", "use ONE, QUORUM or ALL")


# setting, least value, what to do about a lesser one
_LEAST: tuple[tuple[str, float, str], ...] = (
    ("jobs", 0, "use 0 for one parser process a core, or a number of them"),
    ("parse_seconds", 1, "use at least 1 second"),
    ("parse_memory_mb", 64, "use at least 64 MB"),
    ("parse_pages", 1, "use at least 1 page"),
    ("link_megabytes", 1, "use at least 1 MB"),
    ("link_seconds", 1, "use at least 1 second"),
    ("weaviate_replicas", 1, "use at least 1"),
    ("weaviate_linger_seconds", 0, "use 0 to stop it with the last command, or a number of seconds"),
    ("weaviate_shards", 0, "use 0 for the server's choice, or a number of shards"),
)

# environment name -> setting; the first that is set wins
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "library": ("QUIRE_LIBRARY",),
    "store": ("QUIRE_STORE",),
    "tenant": ("QUIRE_TENANT",),
    "embedder": ("QUIRE_EMBEDDER",),
    "weaviate_url": ("WEAVIATE_URL",),
    "weaviate_grpc_url": ("WEAVIATE_GRPC_URL",),
    "weaviate_api_key": ("WEAVIATE_API_KEY",),
    "ollama_host": ("OLLAMA_HOST", "OLLAMA_BASE_URL"),
    "openai_base_url": ("OPENAI_BASE_URL",),
    "openai_api_key": ("OPENAI_API_KEY",),
}


@dataclass(frozen=True)
class Setting:
    """One setting in force: its name, its value and the place it came from."""

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


def load_config(
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> tuple[IngestConfig, list[Setting]]:
    """Return the ingest settings in force and their origins; `WEAVIATE_URL` alone selects the store `weaviate`."""
    config, settings = resolve_settings(
        IngestConfig, ENVIRONMENT, section="ingest", flags=flags, environ=environ, folder=folder
    )
    origin = {s.name: s.origin for s in settings}
    if config.weaviate_url and origin["store"] == "default":
        config = replace(config, store="weaviate")
        settings = [Setting("store", "weaviate", origin["weaviate_url"]) if s.name == "store" else s for s in settings]
    return config, settings


def _toml_file(folder: Path | None, home: Path) -> Path | None:
    # relative: the working folder may be gone, and then it holds no file
    places = (Path("quire.toml") if folder is None else folder / "quire.toml", home / "quire.toml")
    return next((path.absolute() for path in places if path.is_file()), None)


def _toml_section(path: Path, section: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: {exc}", "mend the file or move it away") from exc
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
