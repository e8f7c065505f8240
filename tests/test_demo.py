"""The demo: its questions are answered on different pages of the handbook, and the last one nowhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pypdf
import pypdfium2
import pytest

from assistant.answering.agent import Agent
from assistant.config import AssistantConfig
from assistant.llm.kinds import quotes
from ingest.config import IngestConfig
from ingest.library import open_library
from ingest.pipeline import ingest

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "docs" / "demo.py"
EVIDENCE = (  # what stands on the page that answers each question, in the demo's order
    "At most five redirects are followed",
    "QUIRE_HOME the home folder",
    "uses that same adapter, frozen, as its reference",
)


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "handbook.pdf"
    build = ROOT / "docs" / "build_handbook.py"
    subprocess.run([sys.executable, str(build), str(out)], check=True, timeout=60, capture_output=True)
    return out


@pytest.fixture(scope="module")
def pages(handbook: Path) -> list[str]:
    with pypdfium2.PdfDocument(handbook) as document:
        return [" ".join(page.get_textpage().get_text_bounded().split()) for page in document]


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments], capture_output=True, text=True, timeout=240, check=False
    )


def page_of(pages: list[str], evidence: str) -> int:
    found = [number for number, text in enumerate(pages, 1) if evidence in text]
    assert len(found) == 1, f"{evidence!r} stands on pages {found}"
    return found[0]


def test_the_answers_stand_on_different_pages(pages: list[str]) -> None:
    assert len({page_of(pages, evidence) for evidence in EVIDENCE}) == len(EVIDENCE)


def test_the_handbook_does_not_answer_the_last_question(pages: list[str]) -> None:
    assert not re.search(r"mercury|boil", " ".join(pages), re.IGNORECASE)


def questions() -> tuple[tuple[str, ...], str]:
    """The demo's questions, and the one that is not answered."""
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.QUESTIONS, module.UNANSWERED


def test_there_is_evidence_for_each_question() -> None:
    assert len(questions()[0]) == len(EVIDENCE)


def test_each_question_leads_to_its_page_and_the_last_one_to_a_refusal(
    handbook: Path, pages: list[str], tmp_path: Path
) -> None:
    evidence = [page_of(pages, text) for text in EVIDENCE]
    # a part of the handbook: embedding all of it takes the ten seconds of the slow test below
    kept = sorted({*evidence, *range(2, len(pages) + 1, 4)})
    part = pypdf.PdfWriter()
    for number in kept:
        part.add_page(pypdf.PdfReader(handbook).pages[number - 1])
    part.write(tmp_path / "part.pdf")
    config = IngestConfig(home=tmp_path / "home", jobs=1)
    assert not ingest([str(tmp_path / "part.pdf")], config).failed
    answered, unanswered = questions()
    own = AssistantConfig(home=tmp_path / "home")
    with open_library(config) as library:
        agent = Agent(own, quotes(own), library.store, library.embedder)
        for question, page in zip(answered, evidence, strict=True):
            assert kept[agent.ask(question).citations[0].page - 1] == page, question
        assert agent.ask(unanswered).refused


@pytest.mark.slow
def test_the_demo_shows_each_answers_page_and_a_refusal(pages: list[str], tmp_path: Path) -> None:
    run = demo("--home", str(tmp_path))
    assert run.returncode == 0, run.stderr
    *answers, refusal = re.split(r"^\$ quire ask .*$", run.stdout, flags=re.MULTILINE)[1:]
    for answer, evidence in zip(answers, EVIDENCE, strict=True):
        assert re.search(rf"\bp(age|\.) ?{page_of(pages, evidence)}\b", answer), answer
    assert not re.search(r"\[1\]", refusal.split("Next, with your own")[0])
    assert "make app" in refusal

    again = demo("--home", str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert "unchanged" in again.stdout


@pytest.mark.slow
def test_the_demo_on_a_file_that_is_not_there_ends_with_its_reason(tmp_path: Path) -> None:
    run = demo("--home", str(tmp_path), "--pdf", str(tmp_path / "absent.pdf"))
    assert run.returncode in (1, 2)
    assert "absent.pdf" in run.stdout + run.stderr
    assert "quire ask" not in run.stdout
