"""The command `quire doctor`: what is installed, what is missing, and how to fix it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from assistant.config import AssistantConfig
from assistant.config import load_config as load_assistant_config
from ingest import IngestConfig
from ingest import load_config as load_ingest_config
from quire import QuireError, Setting, UsageError, add_json_flag, command_parser, install_extra, pluralize, print_json

State = Literal["ok", "missing", "optional"]

_MIN_DISK_GB = 1.0  # a library of a few hundred reports with its stored PDFs
_MIN_MEMORY_GB = 2.0  # the most that an ingest uses
_SECRET = ("key", "password", "token")


@dataclass(frozen=True)
class Finding:
    """The result of one check: `missing` keeps PDFs from being ingested and asked, `optional` does not."""

    name: str
    state: State
    text: str
    fix: str = ""


def diagnose(ingest_config: IngestConfig, config: AssistantConfig) -> list[Finding]:
    """Return the result of every check, the required ones first; servers are contacted, nothing is changed."""
    return [
        *_python(),
        *_reranker(config),  # before others use memory, which would hide what it takes
        *_embedder(ingest_config),
        *_store(ingest_config),
        *_disk_and_memory(ingest_config.home),
        *_models(config),
        *_weaviate(ingest_config),
        *_ocr(ingest_config),
        *_extras(),
        *_gpu(),
    ]


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = command_parser(
        "doctor",
        "Show what is installed, what is missing, and the command that fixes each problem.",
        "quire doctor",
        "quire doctor --json",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the findings and every effective setting; return 0 if PDFs can be ingested and asked, else 1."""
    ingest_config, ingest_settings = load_ingest_config()
    config, settings = load_assistant_config()
    found = diagnose(ingest_config, config)
    ready = all(finding.state != "missing" for finding in found)
    unique = {setting.name: setting for setting in [*ingest_settings, *settings]}
    shown = [Setting(s.name, _without_secret(s), s.origin) for s in unique.values()]
    if args.json:
        rows = [{"name": s.name, "value": str(s.value), "origin": s.origin} for s in shown]
        print_json({"ready": ready, "findings": [asdict(finding) for finding in found], "settings": rows})
    else:
        _print(found, shown, ready)
    return 0 if ready else 1


def _print(found: list[Finding], settings: list[Setting], ready: bool) -> None:
    marks = {"ok": "ok     ", "missing": "MISSING", "optional": "-      "}
    for finding in found:
        print(f"{marks[finding.state]}  {finding.name:<18} {finding.text}")
        if finding.fix:
            print(f"{'':<28} fix: {finding.fix}")
    print("\neffective settings:")
    for setting in settings:
        print(f"  {setting.name:<24} {setting.value!s:<32} {setting.origin}")
    print("\n" + ("ready: quire ingest PATH, then quire ask" if ready else "not ready: fix what is MISSING above"))


def _python() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _embedder(config: IngestConfig) -> Iterator[Finding]:
    from ingest import find_weights, load_embedder

    kind = config.embedder.partition(":")[0]
    try:
        origin = f" from {find_weights(config).origin}" if kind in ("minilm", "hf") else ""  # nothing is downloaded
        if kind == "minilm":
            yield Finding("embedding weights", "ok", f"{config.embedder}{origin}")
        else:
            identity = load_embedder(config).identity()
            yield Finding("embedding model", "ok", f"{identity.name}{origin}, {identity.dimension} dimensions")
    except QuireError as exc:
        yield Finding("embedding weights", "missing", exc.message, exc.hint)


def _reranker(config: AssistantConfig) -> Iterator[Finding]:
    from assistant.retrieval.reranker import measure_reranker
    from assistant.retrieval.search import PASSAGE_CHARACTERS, RERANKED

    if not config.reranker:
        yield Finding("reranker", "optional", "none", "set reranker to a folder or OWNER/NAME of the hub")
        return
    try:
        cost = measure_reranker(config, passages=RERANKED, characters=PASSAGE_CHARACTERS)
    except QuireError as exc:
        yield Finding("reranker", "missing", exc.message, exc.hint)
        return
    memory = f" and {cost.megabytes:,.0f} MB" if cost.megabytes is not None else ""
    took = f"{cost.seconds:.2f} s{memory} for {RERANKED} passages of {PASSAGE_CHARACTERS:,} characters"
    yield Finding("reranker", "ok", f"{config.reranker} from {cost.origin}: {took}")


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
    """Compare the number of passages in each document's record with the number in the store."""
    from ingest import incomplete_documents, open_store

    name = f"store {config.store}"
    try:
        store = open_store(config, create=False)
    except QuireError as exc:  # a tenant must be named, or the named tenant has no data yet
        fix = exc.hint if config.tenant else "QUIRE_TENANT=NAME quire doctor checks the data of one tenant"
        yield Finding(name, "optional", f"library {config.library!r} was not checked: {exc.message}", fix)
        return
    try:
        for document, held in incomplete_documents(store):
            text = f"library {config.library!r}: {document.name} has {held} of {pluralize(document.chunks, 'passage')}"
            yield Finding(name, "missing", text, _ingest_again(document.source, config))
    except QuireError as exc:
        yield Finding(name, "missing", f"library {config.library!r}: {exc.message}", exc.hint)
    finally:
        store.close()


def _ingest_again(source: str, config: IngestConfig) -> str:
    """Return the command that ingests a document again, which restores all of its passages."""
    from ingest import UPLOAD

    if source.startswith(UPLOAD):
        return "add the file again on the web page"
    words = ["quire", "ingest", source, "--library", config.library]
    return shlex.join([*words, "--store", config.store, *(["--tenant", config.tenant] if config.tenant else [])])


def _disk_and_memory(home: Path) -> Iterator[Finding]:
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    if not place.is_dir():
        yield Finding("home folder", "missing", f"{place} is a file", "set QUIRE_HOME to a folder you can write to")
    free = shutil.disk_usage(place).free / 1e9
    fix = f"free some space, or set QUIRE_HOME to a folder on another disk than {place}"
    if not os.access(place, os.W_OK):
        yield Finding(
            "home folder", "missing", f"{home} cannot be written", "set QUIRE_HOME to a folder you can write to"
        )
    enough = free >= _MIN_DISK_GB
    yield Finding("disk", "ok" if enough else "missing", f"{free:.1f} GB free for {home}", "" if enough else fix)
    memory = _free_memory_gb()
    if memory is not None:
        enough = memory >= _MIN_MEMORY_GB
        fix = "" if enough else "close other programs"
        yield Finding("memory", "ok" if enough else "optional", f"{memory:.1f} GB free", fix)


def _free_memory_gb() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # no such file on macOS and Windows
        return None
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("MemAvailable")), None)


def _models(config: AssistantConfig) -> Iterator[Finding]:
    from assistant.llm import ollama_server
    from assistant.llm.available import list_models

    try:
        base = ollama_server.reach(config)
    except QuireError as exc:
        wrong = isinstance(exc, UsageError)
        fix = exc.hint if wrong else "install Ollama from ollama.com, then run: ollama serve"
        yield Finding("ollama", "optional", f"{exc.message}; without it, answers are excerpts", fix)
        return
    version = ollama_server.request(base, "GET", "/api/version").get("version", "?")
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
    ("gguf", "xllamacpp", "GGUF models without a server"),
    ("openai", "langchain_openai", "OpenAI-compatible servers"),
    ("finetune", "trl", "training your own model"),
)


def _ocr(config: IngestConfig) -> Iterator[Finding]:
    from ingest import ocr_engine

    try:
        engine = ocr_engine(config.ocr)
    except QuireError as exc:
        yield Finding("ocr", "missing", exc.message, exc.hint)
        return
    if engine:
        yield Finding("ocr", "ok", f"scans are read by {engine}")
    elif config.ocr == "off":
        yield Finding("ocr", "optional", "off: scans cannot be searched", 'set ocr = "auto" in quire.toml')
    else:
        fix = f"{install_extra('ocr')}, or install Tesseract"
        yield Finding("ocr", "optional", "no engine: scans cannot be searched", fix)


def _extras() -> Iterator[Finding]:
    for extra, module, purpose in _EXTRAS:
        if importlib.util.find_spec(module):
            yield Finding(f"extra {extra}", "ok", purpose)
        else:
            yield Finding(f"extra {extra}", "optional", f"not installed: {purpose}", install_extra(extra))


def _gpu() -> Iterator[Finding]:
    # nvidia-smi, because importing torch takes seconds
    program = shutil.which("nvidia-smi")
    if program:
        query = ["--query-gpu=name,memory.total", "--format=csv,noheader"]
        try:
            done = subprocess.run([program, *query], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError) as exc:
            fix = "fix the driver: nvidia-smi must list the GPU"
            yield Finding("gpu", "optional", f"nvidia-smi failed: {exc}", fix)
            return
        cards = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        yield from (Finding("gpu", "ok", card) for card in cards)
        if cards:
            return
    yield Finding("gpu", "optional", "none found; training needs one, except for tiny models", "see docs/gpu.md")


def _without_secret(setting: Setting) -> object:
    """Return a setting's value, or `(set)` for a secret that is set."""
    secret = any(word in setting.name for word in _SECRET) and setting.name != "max_tokens"
    return "(set)" if secret and setting.value else setting.value
