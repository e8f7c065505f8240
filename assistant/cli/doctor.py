"""Names what is here, what is missing and the one command that mends each gap, in the order a newcomer needs them."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from assistant.config import AssistantConfig
from assistant.config import load_config as load_assistant_config
from ingest import IngestConfig
from ingest import load_config as load_ingest_config
from quire import QuireError, Setting, UsageError, install_extra, pluralize, print_error

State = Literal["ok", "missing", "optional"]

_DISK_GB = 1.0  # a library of a few hundred reports with its copies
_MEMORY_GB = 2.0  # the peak that ingest is held to
_SECRET = ("key", "password", "token")


@dataclass(frozen=True)
class Finding:
    """One thing looked for: `missing` keeps the main job from running, `optional` does not."""

    name: str
    state: State
    text: str
    fix: str = ""


def findings(ingest_config: IngestConfig, config: AssistantConfig) -> list[Finding]:
    """Return everything looked for, the needful first; asks servers on their addresses and changes nothing."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _python(),
        lambda: _embedder(ingest_config),
        lambda: _store(ingest_config),
        lambda: _room(ingest_config.home),
        lambda: _models(config),
        lambda: _weaviate(ingest_config),
        lambda: _extras(),
        lambda: _gpu(),
    )
    return [finding for check in checks for finding in check()]


def main(argv: list[str]) -> int:
    """Print the findings and every setting in force; returns 0 when PDFs can be put in and asked, else 1."""
    parser = argparse.ArgumentParser(
        prog="quire doctor",
        description="What is here, what is missing, and the command that mends it.",
        epilog="examples:\n  quire doctor\n  quire doctor --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    args = parser.parse_args(argv)
    try:
        ingest_config, ingest_settings = load_ingest_config()
        config, settings = load_assistant_config()
    except QuireError as exc:
        print_error(exc)
        return 2
    found = findings(ingest_config, config)
    ready = all(finding.state != "missing" for finding in found)
    shown = [Setting(s.name, _shown(s), s.origin) for s in _each_once([*ingest_settings, *settings])]
    if args.json:
        rows = [{"name": s.name, "value": str(s.value), "origin": s.origin} for s in shown]
        print(json.dumps({"ready": ready, "findings": [asdict(f) for f in found], "settings": rows}))
    else:
        _print(found, shown, ready)
    return 0 if ready else 1


def _print(found: list[Finding], settings: list[Setting], ready: bool) -> None:
    marks = {"ok": "ok     ", "missing": "MISSING", "optional": "-      "}
    for finding in found:
        print(f"{marks[finding.state]}  {finding.name:<18} {finding.text}")
        if finding.fix:
            print(f"{'':<28} fix: {finding.fix}")
    print("\nsettings in force:")
    for setting in settings:
        print(f"  {setting.name:<24} {setting.value!s:<32} {setting.origin}")
    print("\n" + ("ready: quire ingest PATH, then quire ask" if ready else "not ready: mend what is MISSING above"))


def _python() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _embedder(config: IngestConfig) -> Iterator[Finding]:
    try:
        if config.embedder.partition(":")[0] == "minilm":
            from ingest import find_weights

            yield Finding("embedding weights", "ok", f"{config.embedder} from {find_weights(config).origin}")
        else:
            from ingest import load_embedder

            own = load_embedder(config).identity()
            yield Finding("embedding model", "ok", f"{own.name}, {own.dimension} dimensions")
    except QuireError as exc:
        yield Finding("embedding weights", "missing", exc.message, exc.hint)


def _store(config: IngestConfig) -> Iterator[Finding]:
    from ingest import libraries

    try:
        found = libraries(config)
    except QuireError as exc:
        yield Finding(f"store {config.store}", "missing", exc.message, exc.hint)
        return
    if not found:
        yield Finding(f"store {config.store}", "ok", "no library yet", "quire ingest PATH")
    for summary in found:
        if summary.problem:
            state: State = "missing" if summary.name == config.library else "optional"
            text, _, fix = summary.problem.removesuffix(")").rpartition(" (")
            yield Finding(f"store {config.store}", state, f"library {summary.name!r}: {text or fix}", text and fix)
            continue
        counts = f"{pluralize(summary.documents, 'document')}, {pluralize(summary.passages, 'passage')}"
        text = f"library {summary.name!r}: {counts}"
        wrong = list(_passages(config)) if summary.name == config.library else []
        if not wrong:
            yield Finding(f"store {config.store}", "ok", text)
        yield from wrong


def _passages(config: IngestConfig) -> Iterator[Finding]:
    """Compare what the records of the library in force say with what the store counts."""
    from ingest import miscounted, open_store

    name = f"store {config.store}"
    try:
        store = open_store(config, create=False)
    except QuireError as exc:  # kept by tenants and none is named, or the one that is has nothing yet
        fix = exc.hint if config.tenant else "QUIRE_TENANT=NAME quire doctor counts the passages of one"
        yield Finding(name, "optional", f"library {config.library!r} was not pluralize: {exc.message}", fix)
        return
    try:
        for document, held in miscounted(store):
            text = f"library {config.library!r}: {document.name} has {held} of {pluralize(document.chunks, 'passage')}"
            yield Finding(name, "missing", text, _mend(document.source, config))
    except QuireError as exc:
        yield Finding(name, "missing", f"library {config.library!r}: {exc.message}", exc.hint)
    finally:
        store.close()


def _mend(source: str, config: IngestConfig) -> str:
    """Return the command that writes a document anew; nothing else is as sure to bring all of it back."""
    from ingest import UPLOAD

    if source.startswith(UPLOAD):
        return "put the file into the web page once more"
    words = ["quire", "ingest", source, "--library", config.library]
    return shlex.join([*words, "--store", config.store, *(["--tenant", config.tenant] if config.tenant else [])])


def _room(home: Path) -> Iterator[Finding]:
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    if not place.is_dir():
        yield Finding("home folder", "missing", f"{place} is a file", "set QUIRE_HOME to a folder of yours")
    free = shutil.disk_usage(place).free / 1e9
    fix = f"free some space, or set QUIRE_HOME to another disk than {place}"
    writable = os.access(place, os.W_OK)
    if not writable:
        yield Finding("home folder", "missing", f"{home} cannot be written", "set QUIRE_HOME to a folder of yours")
    state: State = "ok" if free >= _DISK_GB else "missing"
    yield Finding("disk", state, f"{free:.1f} GB free for {home}", "" if state == "ok" else fix)
    memory = _free_memory_gb()
    if memory is not None:
        enough = memory >= _MEMORY_GB
        yield Finding(
            "memory", "ok" if enough else "optional", f"{memory:.1f} GB free", "" if enough else "close other programs"
        )


def _free_memory_gb() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # no such file on macOS and Windows
        return None
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("MemAvailable")), None)


def _models(config: AssistantConfig) -> Iterator[Finding]:
    from assistant.llm import list_models, servers

    try:
        base = servers.reach(config)
    except QuireError as exc:
        wrong = isinstance(exc, UsageError)
        fix = exc.hint if wrong else "install it from ollama.com, then: ollama serve"
        yield Finding("ollama", "optional", f"{exc.message}; answers are excerpts without it", fix)
        return
    version = servers.request(base, "GET", "/api/version").get("version", "?")
    models = [entry.name for entry in list_models(config) if entry.name != "quotes"]
    if models:
        yield Finding("ollama", "ok", f"{version} at {base}: {', '.join(models[:6])}")
    else:
        yield Finding("ollama", "optional", f"{version} at {base} has no chat model", "ollama pull qwen2.5:3b")


def _weaviate(config: IngestConfig) -> Iterator[Finding]:
    if config.store == "sqlite":
        yield Finding("weaviate", "optional", "not used", "set WEAVIATE_URL, or QUIRE_STORE=weaviate-embedded")


_EXTRAS = (
    ("app", "streamlit", "the web page"),
    ("gguf", "xllamacpp", "models in process, without a server"),
    ("openai", "langchain_openai", "OpenAI-compatible servers"),
    ("finetune", "trl", "training a model of your own"),
)


def _extras() -> Iterator[Finding]:
    for extra, module, purpose in _EXTRAS:
        if importlib.util.find_spec(module):
            yield Finding(f"extra {extra}", "ok", purpose)
        else:
            yield Finding(f"extra {extra}", "optional", f"not installed: {purpose}", install_extra(extra))


def _gpu() -> Iterator[Finding]:
    # asked of the driver's own program: importing torch would take seconds
    program = shutil.which("nvidia-smi")
    if program:
        query = ["--query-gpu=name,memory.total", "--format=csv,noheader"]
        try:
            done = subprocess.run([program, *query], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError) as exc:
            yield Finding(
                "gpu", "optional", f"nvidia-smi fails: {exc}", "mend the driver: nvidia-smi must list the card"
            )
            return
        cards = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        yield from (Finding("gpu", "ok", card) for card in cards)
        if cards:
            return
    yield Finding("gpu", "optional", "none found; training real models needs one", "see docs/gpu.md")


def _each_once(settings: list[Setting]) -> list[Setting]:
    return list({setting.name: setting for setting in settings}.values())


def _shown(setting: Setting) -> object:
    """Return a setting's value, or that it is set where it is a secret."""
    secret = any(word in setting.name for word in _SECRET) and setting.name != "max_tokens"
    return "(set)" if secret and setting.value else setting.value
