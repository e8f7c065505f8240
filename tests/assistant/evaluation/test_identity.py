import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import ingest
from assistant.config import AssistantConfig
from assistant.errors import AssistantError
from assistant.evaluation.answers import run_answers
from assistant.evaluation.corpus import open_corpus
from assistant.evaluation.identity import INDEX_CODE, code_hash, index_hash, library_hash, run_settings
from assistant.evaluation.runs import read_run
from assistant.llm.kinds import quotes
from ingest import IngestConfig
from ingest.library import Library
from tests.assistant.cli.conftest import write_pdf
from tests.assistant.evaluation.helpers import CONFIG, LIBRARY, QUESTIONS, IdentifiedStore, run
from tests.assistant.helpers import PAGES, WordEmbedder


@pytest.fixture
def pdf(tmp_path):
    path = tmp_path / "pdfs" / "pump.pdf"
    path.parent.mkdir()
    write_pdf(path, ["The warranty lasts 24 months."])
    return path


def test_a_changed_chunking_constant_gives_another_index(tmp_path, pdf):
    copy = tmp_path / "code"
    shutil.copytree(Path(ingest.__file__).parent, copy / "ingest")
    config = IngestConfig()
    before = index_hash(config, [pdf], copy)
    assert before == index_hash(config, [pdf])  # a copy of the same code has the same hash
    chunks = copy / "ingest" / "text" / "chunks.py"
    text = chunks.read_text()
    assert "_MIN_FILL = 0.7" in text
    chunks.write_text(text.replace("_MIN_FILL = 0.7", "_MIN_FILL = 0.6"))
    assert index_hash(config, [pdf], copy) != before


def test_the_code_of_an_index_has_every_module_that_reads_and_chunks():
    root = Path(ingest.__file__).parents[1]
    for part in INDEX_CODE:
        assert (root / part).exists(), part
        assert code_hash([part]) != code_hash([])


@pytest.mark.parametrize("changes", [{"chunk_size": 400}, {"chunk_overlap": 50}, {"embedder": "ollama:x"}])
def test_a_changed_setting_gives_another_index(pdf, changes):
    assert index_hash(replace(IngestConfig(), **changes), [pdf]) != index_hash(IngestConfig(), [pdf])
    assert index_hash(replace(IngestConfig(), jobs=3), [pdf]) == index_hash(IngestConfig(), [pdf])


def test_an_index_is_used_again_for_the_same_bytes_only_and_it_is_said(tmp_path, pdf):
    notes = []
    names = []
    for pages in (None, None, ["The warranty lasts 12 months."]):
        if pages:
            write_pdf(pdf, pages)
        with open_corpus(IngestConfig(home=tmp_path), [pdf.parent], notify=notes.append) as library:
            names.append(library.name)
    assert names[0] == names[1] != names[2]
    assert [note.split(" of 1 document")[0] for note in notes] == [f"the index {names[0]}"]


def settings_of(model=None, config=CONFIG, library=LIBRARY, scope="shared"):
    return run_settings(library, model or quotes(config), config, scope=scope)


def test_a_changed_setting_document_or_local_model_changes_what_rows_share(tmp_path):
    base = settings_of()
    assert settings_of() == base
    for name, value in (("passages", 3), ("temperature", 0.9), ("system_prompt", "Be short."), ("max_tokens", 9)):
        assert settings_of(config=replace(CONFIG, **{name: value})) != base, name
    assert settings_of(config=replace(CONFIG, model="quotes")) == base  # named, or the default: the same model
    assert settings_of(config=replace(CONFIG, home=tmp_path)) == base
    fewer = Library("test", IdentifiedStore({("moon.pdf", 1): PAGES["moon.pdf", 1]}), WordEmbedder())
    assert settings_of(library=fewer) != base
    assert library_hash(Library("other", LIBRARY.store, LIBRARY.embedder)) != library_hash(LIBRARY)
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"one")
    model = replace(quotes(CONFIG), name=f"gguf:{weights}")
    first = settings_of(model)
    weights.write_bytes(b"other")
    assert settings_of(model) != first


def test_a_run_of_other_settings_documents_or_code_is_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / "answers.jsonl"
    run(path)
    with pytest.raises(AssistantError, match="settings_hash") as caught:
        run_answers(
            LIBRARY, QUESTIONS, quotes(CONFIG), AssistantConfig(threshold=0.3, passages=3), path, scope="shared"
        )
    assert "code_hash" not in str(caught.value)
    fewer = Library("test", IdentifiedStore({k: v for k, v in PAGES.items() if k[0] != "evil.pdf"}), WordEmbedder())
    with pytest.raises(AssistantError, match="library_hash"):
        run_answers(fewer, QUESTIONS, quotes(CONFIG), CONFIG, path, scope="shared")
    monkeypatch.setattr("assistant.evaluation.identity.ANSWER_CODE", ("ingest/text",))
    with pytest.raises(AssistantError, match="code_hash"):
        run(path)


def test_an_edited_question_is_asked_again_and_the_others_are_not(tmp_path):
    path = tmp_path / "answers.jsonl"
    before = {(row["id"], row["answerable"]): row for row in run(path)}
    edited = [replace(QUESTIONS[0], question="Who lives on the moon?"), *QUESTIONS[1:]]
    notes = []
    rows = run(path, questions=edited, notify=notes.append)
    assert [row["id"] for row in rows if row != before[row["id"], row["answerable"]]] == ["moon", "moon"]
    assert [row["question"] for row in read_run(path)].count("Who lives on the moon?") == 2
    assert len(read_run(path)) == 6
    assert len(notes) == 1
    assert ": 4 of 6 answers, of the same question" in notes[0]
