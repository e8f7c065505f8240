"""The open libraries: opened once, up to date after an ingest or a removal, and kept apart."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from ingest.errors import IngestError
from tests.documents import FACTS, write_pdf
from tests.streamlit_app.pages import HEART
from tests.streamlit_app.questions import answer, question


def test_the_library_is_opened_once_and_the_embedder_loaded_once(services) -> None:
    seen: list[object] = []
    threads = [threading.Thread(target=lambda: seen.append(services.libraries.get("default"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(library) for library in seen}) == 1
    assert services.libraries.get("default").embedder is services.libraries.embedder()


def test_a_library_that_does_not_exist_is_empty_without_error(services) -> None:
    assert services.libraries.get("nowhere") is None
    assert services.libraries.documents("nowhere") == []


def test_an_ingested_document_is_found_without_a_restart(services, tmp_path) -> None:
    services.libraries.documents("default")
    path = write_pdf(tmp_path / "moon.pdf", ["The moon is 384,400 kilometres away from the earth."])
    with path.open("rb") as file:
        job = services.jobs.start(services.libraries.config_for("default"), [("moon.pdf", file)])
    end = time.monotonic() + 60
    while job.active:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert [d.name for d in services.libraries.documents("default")] == ["bridges.pdf", "moon.pdf", "whales.pdf"]
    assert "384,400" in answer(services, question("How far away is the moon?")).text


def test_a_removed_document_loses_its_stored_pdf_and_is_no_longer_cited(services, home) -> None:
    whales = next(d for d in services.libraries.documents("default") if d.name == "whales.pdf")
    copy = services.libraries.stored_pdf(whales)
    assert copy is not None and HEART in answer(services, question()).text
    services.libraries.remove_document("default", whales)
    assert not copy.exists()
    assert answer(services, question()).refused


def test_a_library_removed_by_another_process_is_empty_without_error(services, home) -> None:
    from ingest.store.opening import remove_library

    assert services.libraries.documents("default")
    remove_library(services.ingest_config, "default")
    services.libraries.names()  # every drawing asks for them first
    assert services.libraries.documents("default") == []


def test_removing_a_library_removes_its_stored_pdfs(services, home) -> None:
    assert list((home / "files").glob("*.pdf"))
    services.remove_library("default")
    assert services.libraries.names() == ["default"], "the one that is set can always be chosen"
    assert not list((home / "files").glob("*.pdf"))


def test_a_library_that_is_removed_while_it_is_being_opened_is_not_kept_open(services, monkeypatch) -> None:
    for thread in threading.enumerate():
        if thread.name == "warm":
            thread.join()  # it opens the library too
    embedder = services.libraries.embedder()

    def removed_meanwhile():
        monkeypatch.setattr(services.libraries, "embedder", lambda: embedder)
        services.remove_library("default")
        return embedder

    services.libraries._close("default")
    monkeypatch.setattr(services.libraries, "embedder", removed_meanwhile)
    assert services.libraries.documents("default") == []


def test_a_stored_pdf_is_found_only_by_the_hash_of_its_bytes(services) -> None:

    document = services.libraries.documents("default")[0]
    with pytest.raises(IngestError, match="not the hash"):
        services.libraries.stored_pdf(replace(document, sha256="../../etc/passwd"))


def test_the_documents_of_two_libraries_are_kept_apart(services, tmp_path) -> None:
    path = write_pdf(tmp_path / "other.pdf", FACTS["bridges.pdf"])
    with path.open("rb") as file:
        job = services.jobs.start(services.libraries.config_for("second"), [("other.pdf", file)])
    end = time.monotonic() + 60
    while job.active:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert services.libraries.names() == ["default", "second"]
    assert [d.name for d in services.libraries.documents("second")] == ["other.pdf"]
    assert answer(services, question(library="second")).text.find(HEART) == -1
