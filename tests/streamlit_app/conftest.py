"""A home folder with a real library, and the page on it without a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("streamlit")

from streamlit.testing.v1 import AppTest

from assistant.config import AssistantConfig
from ingest.config import IngestConfig
from ingest.pipeline import ingest
from streamlit_app.services import Services
from tests.documents import write_facts

APP = Path(__file__).parents[2] / "streamlit_app" / "app.py"
_OURS = ("QUIRE_", "WEAVIATE_", "OLLAMA_", "OPENAI_", "HF_")


@pytest.fixture(scope="session")
def full_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder whose default library holds two documents; tests get copies of it."""
    home = tmp_path_factory.mktemp("home")
    report = ingest([str(p) for p in write_facts(tmp_path_factory.mktemp("pdfs"))], replace(IngestConfig(home=home)))
    assert len(report.added) == 2
    return home


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Hide the settings and the Ollama server of the person who runs the tests."""
    import os

    import streamlit as st
    from streamlit import config

    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    config.set_option("server.address", "127.0.0.1")
    st.cache_resource.clear()
    yield
    config.set_option("server.address", None)
    st.cache_resource.clear()


@pytest.fixture
def home(full_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own home folder, with two documents."""
    target = tmp_path / "home"
    shutil.copytree(full_home, target)
    monkeypatch.setenv("QUIRE_HOME", str(target))
    monkeypatch.setenv("QUIRE_MODEL", "quotes")
    return target


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own home folder, empty."""
    target = tmp_path / "empty"
    monkeypatch.setenv("QUIRE_HOME", str(target))
    monkeypatch.setenv("QUIRE_MODEL", "quotes")
    return target


@pytest.fixture
def open_page() -> Callable[[], AppTest]:
    """Open the page as a new visitor."""

    def visit() -> AppTest:
        page = AppTest.from_file(str(APP), default_timeout=30).run()
        assert not page.exception, page.exception
        return page

    return visit


@pytest.fixture
def services(home: Path) -> Services:
    """What all visitors share, on a home folder with two documents."""
    return Services(IngestConfig(home=home), AssistantConfig(home=home, model="quotes"))
