"""The settings of `ingest`, with the unit and the reason of each default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quire import Setting, UsageError, home_folder, resolve_settings

STORES = ("sqlite", "weaviate", "weaviate-embedded")
OCR_CHOICES = ("auto", "rapidocr", "tesseract", "off")


@dataclass(frozen=True)
class IngestConfig:
    """Settings of `ingest`: values and names only."""

    home: Path = field(default_factory=home_folder)  # folder of all that is kept
    library: str = "default"  # which library is read and written
    store: str = "sqlite"  # one of STORES
    tenant: str = ""  # Weaviate tenant; empty = the library has none
    embedder: str = "minilm"  # minilm | minilm:FOLDER | hf:FOLDER_OR_NAME | ollama:MODEL | openai:MODEL
    chunk_size: int = 500  # characters; in a shared library 500 has a better hit@10 than 1000 (58 to 33 %)
    chunk_overlap: int = 75  # characters that neighbors on a page share
    jobs: int = 0  # parser processes; 0 = one per core
    parse_seconds: float = 300.0  # time to read one PDF
    parse_memory_mb: int = 1024  # memory of one parser process beyond what it starts with
    parse_pages: int = 20_000  # of one PDF
    ocr: str = "auto"  # one of OCR_CHOICES; auto = RapidOCR if it is installed, else Tesseract if it is on PATH
    ocr_page_seconds: float = 120.0  # time for OCR of one page, with all attempts
    ocr_memory_mb: int = 1024  # memory of one parser process for OCR beyond parse_memory_mb; RapidOCR uses up to 768
    link_megabytes: int = 200  # size of the PDF behind a link
    link_seconds: float = 120.0  # time to fetch one link
    weaviate_url: str = ""  # http(s)://host:port of a Weaviate server or cloud
    weaviate_grpc_url: str = ""  # host:port of its gRPC side; empty = same host, port 50051 (443 for cloud)
    weaviate_api_key: str = ""  # key of that server
    weaviate_replicas: int = 1  # copies of each shard, given at creation
    weaviate_shards: int = 0  # shards of a collection, given at creation; 0 = the server's choice
    weaviate_consistency: str = "QUORUM"  # ONE | QUORUM | ALL
    weaviate_idle_seconds: float = 0.0  # how long the embedded server keeps running after the last command
    ollama_host: str = ""  # address of Ollama; empty = 127.0.0.1:11434
    openai_base_url: str = ""  # OpenAI-compatible endpoint for embeddings
    openai_api_key: str = ""  # its key

    def __post_init__(self) -> None:
        if self.store not in STORES:
            raise UsageError(f"store is {self.store!r}", f"use one of {', '.join(STORES)}")
        if self.ocr not in OCR_CHOICES:
            raise UsageError(f"ocr is {self.ocr!r}", f"use one of {', '.join(OCR_CHOICES)}")
        if self.chunk_size < 50:
            raise UsageError(f"chunk_size is {self.chunk_size}", "use at least 50 characters")
        if not 0 <= self.chunk_overlap < self.chunk_size:
            raise UsageError(
                f"chunk_overlap {self.chunk_overlap} does not fit chunk_size {self.chunk_size}",
                "make the overlap smaller than the size",
            )
        for name, minimum, advice in _MINIMUMS:
            value = getattr(self, name)
            if not minimum <= value < float("inf"):  # a NaN fails too
                raise UsageError(f"{name} is {value}", advice)
        if self.weaviate_consistency not in ("ONE", "QUORUM", "ALL"):
            raise UsageError(f"weaviate_consistency is {self.weaviate_consistency!r}", "use ONE, QUORUM or ALL")


# setting, smallest value, what to do about a smaller one
_MINIMUMS: tuple[tuple[str, float, str], ...] = (
    ("jobs", 0, "use 0 for one parser process per core, or a number of processes"),
    ("parse_seconds", 1, "use at least 1 second"),
    ("parse_memory_mb", 64, "use at least 64 MB"),
    ("parse_pages", 1, "use at least 1 page"),
    ("ocr_page_seconds", 1, "use at least 1 second"),
    ("ocr_memory_mb", 64, "use at least 64 MB"),
    ("link_megabytes", 1, "use at least 1 MB"),
    ("link_seconds", 1, "use at least 1 second"),
    ("weaviate_replicas", 1, "use at least 1"),
    ("weaviate_idle_seconds", 0, "use 0 to stop it after the last command, or a number of seconds"),
    ("weaviate_shards", 0, "use 0 for the server's choice, or a number of shards"),
)

# setting -> environment variables; the first that is set wins
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "library": ("QUIRE_LIBRARY",),
    "store": ("QUIRE_STORE",),
    "tenant": ("QUIRE_TENANT",),
    "embedder": ("QUIRE_EMBEDDER",),
    "ocr": ("QUIRE_OCR",),
    "weaviate_url": ("WEAVIATE_URL",),
    "weaviate_grpc_url": ("WEAVIATE_GRPC_URL",),
    "weaviate_api_key": ("WEAVIATE_API_KEY",),
    "ollama_host": ("OLLAMA_HOST", "OLLAMA_BASE_URL"),
    "openai_base_url": ("OPENAI_BASE_URL",),
    "openai_api_key": ("OPENAI_API_KEY",),
}


def load_config(
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> tuple[IngestConfig, list[Setting]]:
    """Return the effective ingest settings and their origins; `WEAVIATE_URL` alone selects the store `weaviate`."""
    config, settings = resolve_settings(
        IngestConfig, ENVIRONMENT, section="ingest", flags=flags, environ=environ, folder=folder
    )
    origin = {s.name: s.origin for s in settings}
    if config.weaviate_url and origin["store"] == "default":
        config = replace(config, store="weaviate")
        settings = [Setting("store", "weaviate", origin["weaviate_url"]) if s.name == "store" else s for s in settings]
    return config, settings
