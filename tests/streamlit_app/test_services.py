"""What all visitors share: one library, one embedder, models that can answer now, conversations."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import pytest

from assistant.answering.agent import Answer
from assistant.config import AssistantConfig, Sampling
from assistant.llm.available import ModelEntry
from ingest.config import IngestConfig
from ingest.errors import IngestError
from streamlit_app.services import Question, Services
from streamlit_app.views.side import model_words, tuned_words
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
    assert generation.trouble is None, generation.trouble
    return kept[0]


def test_the_library_is_opened_once_and_the_embedder_loaded_once(services) -> None:
    seen: list[object] = []
    threads = [threading.Thread(target=lambda: seen.append(services.library("default"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(library) for library in seen}) == 1
    assert services.library("default").embedder is services.embedder()


def test_a_library_that_was_never_filled_is_empty_and_no_error(services) -> None:
    assert services.library("nowhere") is None
    assert services.documents("nowhere") == []


def test_what_an_ingest_puts_in_is_found_without_opening_anew(services, tmp_path) -> None:
    services.documents("default")
    path = write_pdf(tmp_path / "moon.pdf", ["The moon is 384,400 kilometres away from the earth."])
    with path.open("rb") as file:
        job = services.jobs.start(services.settings_of("default"), [("moon.pdf", file)])
    end = time.monotonic() + 60
    while job.active:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert [d.name for d in services.documents("default")] == ["bridges.pdf", "moon.pdf", "whales.pdf"]
    assert "384,400" in answer(services, question("How far away is the moon?")).text


def test_a_removed_document_takes_its_copy_along_and_is_cited_no_more(services, home) -> None:
    whales = next(d for d in services.documents("default") if d.name == "whales.pdf")
    copy = services.copy_of(whales)
    assert copy is not None and HEART in answer(services, question()).text
    services.remove_document("default", whales)
    assert not copy.exists()
    assert answer(services, question()).refused


def test_a_library_removed_by_another_process_is_empty_and_no_stack_trace(services, home) -> None:
    from ingest.store import remove_library

    assert services.documents("default")
    remove_library(services.ingest_config, "default")
    services.library_names()  # every drawing asks for them first
    assert services.documents("default") == []


def test_a_removed_library_takes_its_copies_along(services, home) -> None:
    assert list((home / "files").glob("*.pdf"))
    services.remove_library("default")
    assert services.library_names() == ["default"], "the one that is set can always be chosen"
    assert not list((home / "files").glob("*.pdf"))


def test_a_library_that_is_removed_while_it_is_being_opened_is_not_kept_open(services, monkeypatch) -> None:
    for thread in threading.enumerate():
        if thread.name == "warm":
            thread.join()  # it opens the library too
    embedder = services.embedder()

    def removed_meanwhile():
        monkeypatch.setattr(services, "embedder", lambda: embedder)
        services.remove_library("default")
        return embedder

    services._forget("default")
    monkeypatch.setattr(services, "embedder", removed_meanwhile)
    assert services.documents("default") == []


def test_a_library_that_an_ingest_writes_into_is_not_removed_under_it(services, tmp_path) -> None:
    files = [write_pdf(tmp_path / f"{n}.pdf", [f"Fact number {n}: the answer is {n * 7}."]) for n in range(12)]
    job = services.jobs.start(services.settings_of("default"), [(p.name, io.BytesIO(p.read_bytes())) for p in files])
    assert job.active
    with pytest.raises(IngestError, match="stop it under Library"):
        services.remove_library("default")
    services.jobs.stop(job)
    end = time.monotonic() + 60
    while job.active:
        assert time.monotonic() < end
        time.sleep(0.01)
    services.remove_library("default")
    assert services.documents("default") == []


def test_only_the_chosen_documents_are_asked(services) -> None:
    bridges = next(d for d in services.documents("default") if d.name == "bridges.pdf")
    assert HEART not in answer(services, question(documents=(bridges.id,))).text


def test_the_copy_is_found_by_the_hash_of_the_bytes_and_by_nothing_else(services) -> None:
    from dataclasses import replace

    from ingest.errors import IngestError

    document = services.documents("default")[0]
    with pytest.raises(IngestError, match="not the hash"):
        services.copy_of(replace(document, sha256="../../etc/passwd"))


def test_a_model_without_a_server_is_said_with_the_way_out(services) -> None:
    generation = services.ask(question(model="ollama:nothing"), lambda _: None)
    end = time.monotonic() + 30
    while not generation.done:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "does not answer" in generation.trouble.message and "ollama serve" in generation.trouble.fix


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
        entries = {entry.name: entry for entry in services.models()}
        assert {"ollama:tiny-tuned:latest", "ollama:tiny-plain:latest", "quotes"} == set(entries)
        assert "tuned" in model_words(entries["ollama:tiny-tuned:latest"])
        assert "tuned" not in model_words(entries["ollama:tiny-plain:latest"]).removeprefix("ollama:tiny-plain")
        assert tuned_words(entries["ollama:tiny-tuned:latest"].tuned) == (
            "Tuned here: base qwen2.5:0.5b, data answers.jsonl, date 2026-11-20."
        )
        assert services.default_model().startswith("ollama:tiny")
        server.create("tiny-later", tmp_path / "tiny.gguf")
        record = {"tag": "tiny-later", "base": "qwen2.5:0.5b", "data": {"/home/me/a.json": "12ab", "b": "34cd"}}
        (home / "models" / "tiny-later.json").write_text(json.dumps(record))
        later = {entry.name: entry for entry in services.models()}["ollama:tiny-later:latest"]  # at once
        assert tuned_words(later.tuned) == "Tuned here: base qwen2.5:0.5b, data a.json, b."
        pull = services.pull("no-such-model-anywhere")
        end = time.monotonic() + 60
        while not pull.finished:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert pull.trouble is not None and pull in services.pulls()
        services.forget_pull(pull)
        assert services.pulls() == []
    finally:
        server.stop()


def test_a_model_is_shown_with_size_and_quantisation() -> None:
    entry = ModelEntry("ollama:qwen2.5:7b", 4_700_000_000, "7.6B", "Q4_K_M")
    assert model_words(entry) == "ollama:qwen2.5:7b (7.6B, Q4_K_M, 4.7 GB)"
    assert model_words(ModelEntry("quotes")) == "quotes"


def test_the_documents_of_two_libraries_are_kept_apart(services, tmp_path) -> None:
    path = write_pdf(tmp_path / "other.pdf", FACTS["bridges.pdf"])
    with path.open("rb") as file:
        job = services.jobs.start(services.settings_of("second"), [("other.pdf", file)])
    end = time.monotonic() + 60
    while job.active:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert services.library_names() == ["default", "second"]
    assert [d.name for d in services.documents("second")] == ["other.pdf"]
    assert answer(services, question(library="second")).text.find(HEART) == -1
