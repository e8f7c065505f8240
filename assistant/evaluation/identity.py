"""Hashes of all that an index and a row of a run depend on: code, settings, documents, question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.config import AssistantConfig
from assistant.evaluation.questions import Question
from ingest import IngestConfig, Library
from quire import sha256_of_file

if TYPE_CHECKING:
    from assistant.llm.model import Model

_ROOT = Path(__file__).parents[2]  # the folder of the packages
INDEX_CODE = tuple(
    f"ingest/{part}"
    for part in (
        *("embed", "files/names.py", "ocr", "parser_process.py", "parsing.py", "pdf", "pipeline.py", "record.py"),
        *("store", "text"),
    )
)
ANSWER_CODE = (
    *INDEX_CODE,
    *(f"assistant/{part}" for part in ("answering", "config.py", "evaluation", "llm", "retrieval")),
)
_PARSERS = ("numpy", "onnxruntime", "pypdf", "pypdfium2", "tantivy", "tokenizers")  # their versions change an index
_INDEX_SETTINGS = (
    *("chunk_overlap", "chunk_size", "embedder", "ocr", "ocr_memory_mb", "ocr_page_seconds"),
    *("parse_memory_mb", "parse_pages", "parse_seconds"),
)
# what an answer does not depend on: keys and folders; `model` is how the model was asked for, its name is in the row
_OTHER_SETTINGS = (
    "model",
    "home",
    "keep_conversations",
    "conversation_log",
    "conversation_log_redact",
    "openai_api_key",
)


def code_hash(parts: Iterable[str], root: Path = _ROOT) -> str:
    """Return the hash of the Python files of these files and folders; any changed line gives another one."""
    digest = hashlib.sha256()
    for part in parts:
        path = root / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(root).as_posix()} {sha256_of_file(file)}\n".encode())
    return digest.hexdigest()[:12]


def index_hash(config: IngestConfig, files: Sequence[Path], root: Path = _ROOT) -> str:
    """Return the hash of an index of these files: their names and bytes, the settings, the code that reads and chunks."""
    return _hash(
        code_hash(INDEX_CODE, root),
        {name: version(name) for name in _PARSERS},
        {name: getattr(config, name) for name in _INDEX_SETTINGS},
        [(path.name, sha256_of_file(path)) for path in files],
    )


def library_hash(library: Library) -> str:
    """Return the hash of a library: its embedder, its chunking, and the bytes and date of each document."""
    identity = library.store.identity()
    documents = [(doc.name, doc.sha256, doc.chunks, doc.added_at) for doc in library.store.documents()]
    return _hash(library.name, asdict(identity) if identity else None, sorted(documents))


def run_settings(
    library: Library, model: Model, config: AssistantConfig, *, scope: str, judge: Model | None = None
) -> dict[str, Any]:
    """Return what all rows of a run share; a row with other values is of another run and is never reused."""
    settings = {name: value for name, value in asdict(config).items() if name not in _OTHER_SETTINGS}
    return {
        "model": model.name,
        "scope": scope,
        "judge": judge.name if judge else "",
        "threshold": config.threshold,
        "settings_hash": _hash(settings, model.window),
        "model_hash": _hash([_local_files(m.name) for m in (model, judge) if m]),
        "library_hash": library_hash(library),
        "code_hash": code_hash(ANSWER_CODE),
    }


def question_hash(question: Question, documents: Sequence[str] | None) -> str:
    """Return the hash of a question and the ids of the documents that it is asked of; None means all documents."""
    return _hash(asdict(question), None if documents is None else sorted(documents))


def _local_files(name: str) -> list[tuple[str, int, int]]:
    """Return the size and time of each file of a local model, [] for a model that is not a local path."""
    path = Path(name.partition(":")[2])
    if not name.partition(":")[2] or not path.exists():
        return []
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [(file.name, stat.st_size, stat.st_mtime_ns) for file in files if file.is_file() and (stat := file.stat())]


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]
