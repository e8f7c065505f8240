"""What all visitors share: one library, one embedder, models that can answer now, conversations."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import pytest

from assistant.answering.answer import Answer
from assistant.config import AssistantConfig, Sampling
from assistant.llm.available import ModelEntry
from ingest.config import IngestConfig
from ingest.errors import IngestError
from streamlit_app.services import Question, Services
from streamlit_app.views.model_picker import model_words, tuned_words
from tests.assistant.ollama_server import OllamaServer, ollama_binary
from tests.assistant.tiny import write_gguf
from tests.documents import FACTS, write_pdf
from tests.streamlit_app.pages import HEART, QUESTION


@pytest.fixture
def services(home: Path) -> Services:
    return Services(IngestConfig(home=home), AssistantConfig(home=home, model="quotes"))


def question(text: str = QUESTION, **changes: object) -> Question:
    fields = {
        "text": text,
        "library": "default",
        "model": "quotes",
        "documents": None,
        "use_documents": True,
        "sampling": Sampling(),
        "system_prompt": "",
    }
    return Question(**{**fields, **changes})  # type: ignore[arg-type]


def answer(services: Services, asked: Question) -> Answer:
    kept: list[Answer] = []
    generation = services.ask(asked, kept.append)
    end = time.monotonic() + 60
    while not generation.done:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert generation.failure is None, generation.failure
    return kept[0]


def test_the_library_is_opened_once_and_the_embedder_loaded_once(services) -> None:
    seen: list[object] = []
    threads = [threading.Thread(target=lambda: seen.append(services.libraries.get("default"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(library) for library in seen}) == 1
    assert services.libraries.get("default").embedder is services.libraries.embedder()


def test_a_library_that_was_never_filled_is_empty_and_no_error(services) -> None:
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


def test_a_library_removed_by_another_process_is_empty_and_no_stack_trace(services, home) -> None:
    from ingest.store.opening import remove_library

    assert services.libraries.documents("default")
    remove_library(services.ingest_config, "default")
    services.libraries.names()  # every drawing asks for them first
    assert services.libraries.documents("default") == []


def test_a_removed_library_takes_its_copies_along(services, home) -> None:
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


def test_a_library_that_an_ingest_writes_into_is_not_removed_under_it(services, tmp_path) -> None:
    files = [write_pdf(tmp_path / f"{n}.pdf", [f"Fact number {n}: the answer is {n * 7}."]) for n in range(12)]
    job = services.jobs.start(
        services.libraries.config_for("default"), [(p.name, io.BytesIO(p.read_bytes())) for p in files]
    )
    assert job.active
    with pytest.raises(IngestError, match="stop it under Library"):
        services.remove_library("default")
    services.jobs.stop(job)
    end = time.monotonic() + 60
    while job.active:
        assert time.monotonic() < end
        time.sleep(0.01)
    services.remove_library("default")
    assert services.libraries.documents("default") == []


def test_only_the_chosen_documents_are_asked(services) -> None:
    bridges = next(d for d in services.libraries.documents("default") if d.name == "bridges.pdf")
    assert HEART not in answer(services, question(documents=(bridges.id,))).text


def test_the_copy_is_found_by_the_hash_of_the_bytes_and_by_nothing_else(services) -> None:
    from dataclasses import replace

    from ingest.errors import IngestError

    document = services.libraries.documents("default")[0]
    with pytest.raises(IngestError, match="not the hash"):
        services.libraries.stored_pdf(replace(document, sha256="../../etc/passwd"))


def test_a_model_without_a_server_is_an_error_with_a_hint(services) -> None:
    generation = services.ask(question(model="ollama:nothing"), lambda _: None)
    end = time.monotonic() + 30
    while not generation.done:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "does not answer" in generation.failure.message and "ollama serve" in generation.failure.hint


@pytest.mark.server
@pytest.mark.skipif(not ollama_binary(), reason="no ollama on the path")
def test_the_picker_lists_what_a_real_ollama_has_and_marks_what_was_tuned_here(tmp_path: Path, home: Path) -> None:
    server = OllamaServer(tmp_path)
    try:
        server.create("tiny-tuned", write_gguf(tmp_path / "tiny.gguf"))
        server.create("tiny-plain", tmp_path / "tiny.gguf")
        record = {"tag": "tiny-tuned", "base": "qwen2.5:0.5b", "data": "answers.jsonl", "date": "2026-11-20"}
        (home / "models").mkdir(exist_ok=True)
        (home / "models" / "tiny-tuned.json").write_text(json.dumps(record))
        services = Services(IngestConfig(home=home), AssistantConfig(home=home, ollama_host=server.base))
        entries = {entry.name: entry for entry in services.models.entries()}
        assert {"ollama:tiny-tuned:latest", "ollama:tiny-plain:latest", "quotes"} == set(entries)
        assert "tuned" in model_words(entries["ollama:tiny-tuned:latest"])
        assert "tuned" not in model_words(entries["ollama:tiny-plain:latest"]).removeprefix("ollama:tiny-plain")
        assert tuned_words(entries["ollama:tiny-tuned:latest"].tuned) == (
            "Tuned here: base qwen2.5:0.5b, data answers.jsonl, date 2026-11-20."
        )
        assert services.models.default().startswith("ollama:tiny")
        server.create("tiny-later", tmp_path / "tiny.gguf")
        record = {"tag": "tiny-later", "base": "qwen2.5:0.5b", "data": {"/home/me/a.json": "12ab", "b": "34cd"}}
        (home / "models" / "tiny-later.json").write_text(json.dumps(record))
        later = {entry.name: entry for entry in services.models.entries()}["ollama:tiny-later:latest"]  # at once
        assert tuned_words(later.tuned) == "Tuned here: base qwen2.5:0.5b, data a.json, b."
        download = services.models.download("no-such-model-anywhere")
        end = time.monotonic() + 60
        while not download.finished:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert download.failure is not None and download in services.models.downloads()
        services.models.dismiss(download)
        assert services.models.downloads() == []
    finally:
        server.stop()


def test_a_model_is_shown_with_size_and_quantisation() -> None:
    entry = ModelEntry("ollama:qwen2.5:7b", 4_700_000_000, "7.6B", "Q4_K_M")
    assert model_words(entry) == "ollama:qwen2.5:7b (7.6B, Q4_K_M, 4.7 GB)"
    assert model_words(ModelEntry("quotes")) == "quotes"


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
