"""Command-line flags that several commands share, and the settings and library they name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ingest.config import OCR_CHOICES, STORES, IngestConfig, load_config

if TYPE_CHECKING:
    from ingest.store.contract import Store


def add_library_flags(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """Add the flags that name a library."""

    def add(flag: str, text: str, **more: Any) -> None:
        parser.add_argument(flag, default=default, help=text, **more)

    add("--library", "name of the library (default: QUIRE_LIBRARY or 'default')", metavar="L")
    add("--store", "where libraries are stored (default: QUIRE_STORE or sqlite)", choices=STORES)
    add("--tenant", "tenant of a Weaviate library, one per user or team", metavar="T")


def library_flags(args: argparse.Namespace) -> dict[str, Any]:
    """Return the values of add_library_flags, as flags for load_config."""
    return {name: getattr(args, name) for name in ("library", "store", "tenant")}


def add_embedder_flag(parser: argparse.ArgumentParser) -> None:
    """Add --embedder."""
    kinds = "minilm, minilm:FOLDER, hf:FOLDER_OR_NAME, ollama:MODEL or openai:MODEL"
    parser.add_argument("--embedder", metavar="E", help=kinds)


def add_ocr_flag(parser: argparse.ArgumentParser) -> None:
    """Add --ocr."""
    text = "what reads pages that are pictures (default: auto, RapidOCR if installed, else Tesseract)"
    parser.add_argument("--ocr", choices=OCR_CHOICES, help=text)


def add_download_flag(parser: argparse.ArgumentParser) -> None:
    """Add --yes, the consent to the download of the Weaviate binary."""
    parser.add_argument("--yes", action="store_true", help="download the Weaviate binary, if needed, without asking")


@contextmanager
def opened_store(args: argparse.Namespace, **more: Any) -> Iterator[tuple[IngestConfig, Store]]:
    """Open the existing library that the flags name; `more` are further flags."""
    from ingest.store.opening import open_store

    config, _ = load_config(flags=library_flags(args) | more)
    store = open_store(config, create=False)
    try:
        yield config, store
    finally:
        store.close()
