"""Finding, removing and re-embedding documents of a library."""

from pathlib import Path
from unicodedata import normalize

import pytest

from ingest.config import IngestConfig
from ingest.embed.load import load_embedder
from ingest.errors import UnknownDocument
from ingest.files.pdf_store import PdfStore
from ingest.library import find_document, reindex, remove_document
from ingest.pipeline import ingest
from tests.documents import write_pdf
from tests.ingest.libraries import opened, scanned


def test_remove_deletes_the_chunks_the_record_and_the_pdf(config: IngestConfig, folder: Path) -> None:
    ingest([str(folder)], config)
    store = opened(config)
    document = find_document(store, "bridges.pdf")
    assert remove_document(config, store, document) == document.chunks
    assert store.count(document.id) == 0
    assert [d.name for d in store.documents()] == ["whales.pdf"]
    assert PdfStore(config.home).path(document.sha256) is None


def test_reindex_gives_the_same_vectors_from_stored_text(config: IngestConfig, folder: Path) -> None:
    ingest([str(folder)], config)
    before = scanned(config)
    for file in folder.iterdir():
        file.unlink()
    store = opened(config)
    assert reindex(config, store, embedder=load_embedder(config)) == len(before)
    after = {chunk.id: vector for chunk, vector in store.scan()}
    assert after.keys() == before.keys()
    for key, vector in before.items():
        assert float(vector @ after[key]) > 0.995


def test_a_document_is_found_by_name_id_or_a_part_that_fits_one(config: IngestConfig, folder: Path) -> None:
    ingest([str(folder)], config)
    store = opened(config)
    whales = find_document(store, "whales.pdf")
    assert find_document(store, whales.id) == find_document(store, "whal") == whales
    with pytest.raises(UnknownDocument, match="matches 2 documents"):
        find_document(store, ".pdf")
    with pytest.raises(UnknownDocument, match="docs list"):
        find_document(store, "sharks")
    with pytest.raises(UnknownDocument, match="give the whole name: whales"):  # what is removed is gone
        find_document(store, "whal", whole=True)
    assert find_document(store, "whales.pdf", whole=True) == whales


def test_a_document_is_found_by_its_path_and_by_its_name_in_either_spelling_of_an_accent(
    config: IngestConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = normalize("NFD", "Übersicht.pdf")
    ingest([str(write_pdf(tmp_path / "sub" / split, ["The rent is 1,250 euros a month."]))], config)
    monkeypatch.chdir(tmp_path)
    for name in ("Übersicht.pdf", split, f"sub/{split}", f"./sub/../sub/{split}"):
        assert find_document(opened(config), name, whole=True).pages == 1
