"""What all visitors share: questions to chosen documents, and libraries that are not removed while in use."""

from __future__ import annotations

import io
import time

import pytest

from ingest.errors import IngestError
from tests.documents import write_pdf
from tests.streamlit_app.pages import HEART
from tests.streamlit_app.questions import answer, question


def test_a_library_is_not_removed_while_an_ingest_writes_to_it(services, tmp_path) -> None:
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


def test_only_the_chosen_documents_are_searched(services) -> None:
    bridges = next(d for d in services.libraries.documents("default") if d.name == "bridges.pdf")
    assert HEART not in answer(services, question(documents=(bridges.id,))).text


def test_a_model_without_a_server_is_an_error_with_a_hint(services) -> None:
    generation = services.ask(question(model="ollama:nothing"), lambda _: None)
    end = time.monotonic() + 30
    while not generation.done:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "does not answer" in generation.failure.message and "ollama serve" in generation.failure.hint
