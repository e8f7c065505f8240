"""The handbook: it builds the same bytes, reads well by machine, and names only commands that exist."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pypdf
import pypdfium2
import pytest

from quire.cli import COMMANDS

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted((ROOT / "docs" / "handbook").glob("*.md"))
BUILD = ROOT / "docs" / "build_handbook.py"


def build(out: Path) -> None:
    subprocess.run([sys.executable, str(BUILD), str(out)], check=True, timeout=60, capture_output=True)


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("handbook") / "handbook.pdf"
    build(out)
    return out


def fenced_commands(text: str) -> list[str]:
    """Return every `quire ...` line of fenced blocks: these can be typed as they stand."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    joined = [block.replace("\\\n", " ") for block in fenced]  # a line that ends in a backslash goes on in the next
    return [line for block in joined for line in block.splitlines() if line.startswith("quire ")]


def command_lines(text: str) -> list[str]:
    """Return the fenced commands and those named in running text, which may lack their arguments."""
    running = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return fenced_commands(text) + re.findall(r"`(quire [a-z][^`]*)`", running)


def test_the_handbook_has_at_least_twelve_pages_of_text(handbook: Path) -> None:
    pages = pypdf.PdfReader(handbook).pages
    written = [page for page in pages if len(page.extract_text()) > 500]
    assert len(written) >= 12


def test_the_same_text_gives_the_same_bytes(handbook: Path, tmp_path: Path) -> None:
    build(tmp_path / "again.pdf")
    assert (tmp_path / "again.pdf").read_bytes() == handbook.read_bytes()


def test_front_matter_is_labelled_in_roman_and_chapters_in_arabic_numerals(handbook: Path) -> None:
    labels = pypdf.PdfReader(handbook).page_labels
    first = labels.index("1")
    assert first >= 2
    assert labels[:first] == ["i", "ii", "iii", "iv"][:first]
    assert labels[first:] == [str(n) for n in range(1, len(labels) - first + 1)]


def test_the_outline_leads_to_every_chapter(handbook: Path) -> None:
    with pypdfium2.PdfDocument(handbook) as document:
        chapters = {}
        for item in document.get_toc():
            if item.level == 0:
                chapters[item.get_title().split("  ", 1)[1]] = item.get_dest().get_index()
        for path in CHAPTERS:
            title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
            assert title in document[chapters[title]].get_textpage().get_text_bounded()


def test_every_printed_page_number_is_the_pages_label(handbook: Path) -> None:
    reader = pypdf.PdfReader(handbook)
    for page, label in list(zip(reader.pages, reader.page_labels, strict=True))[1:]:
        assert label in page.extract_text().split()


def test_every_line_of_text_stays_within_the_page(handbook: Path) -> None:
    with pypdfium2.PdfDocument(handbook) as document:
        for number, page in enumerate(document, 1):
            width, _ = page.get_size()
            text = page.get_textpage()
            for i in range(text.count_rects()):
                left, _, right, _ = text.get_rect(i)
                assert left > 30, f"page {number}"
                assert right < width - 30, f"page {number}: {text.get_text_bounded(*text.get_rect(i))}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_command_of_a_chapter_exists(path: Path) -> None:
    for line in command_lines(path.read_text(encoding="utf-8")):
        assert shlex.split(line)[1] in COMMANDS, line


def test_the_chapters_name_most_commands() -> None:
    named = {shlex.split(line)[1] for path in CHAPTERS for line in command_lines(path.read_text(encoding="utf-8"))}
    assert named >= set(COMMANDS) - {"eval"}


@pytest.mark.parametrize("module", ["ingest.cli", "assistant.cli"])
def test_every_fenced_command_parses_as_it_stands(module: str) -> None:
    home = importlib.import_module(module)
    seen = set()
    for path in CHAPTERS:
        for line in fenced_commands(path.read_text(encoding="utf-8")):
            _, command, *arguments = shlex.split(line)
            if command in home.COMMANDS:
                home.build_parser(command).parse_args(arguments)  # exits with 2 where the command does not know a flag
                seen.add(command)
    assert len(seen) >= 3


def test_every_fenced_finetune_command_parses_as_it_stands() -> None:
    from finetune.cli import parser

    lines = [line for path in CHAPTERS for line in fenced_commands(path.read_text(encoding="utf-8"))]
    commands = [shlex.split(line)[2:] for line in lines if line.startswith("quire finetune ")]
    assert len(commands) > 30
    for command in commands:
        parser().parse_args(command)  # exits with 2 where the command does not know a flag


@pytest.mark.parametrize("part", ["ingest", "the assistant"])
def test_every_setting_of_a_table_is_one_and_has_that_default(part: str) -> None:
    from dataclasses import fields

    from assistant.config import AssistantConfig
    from ingest.config import IngestConfig

    text = (ROOT / "docs" / "handbook" / "07-settings.md").read_text(encoding="utf-8")
    section = re.search(rf"## Settings of {part}\n(.*?)\n## ", text, re.DOTALL)
    assert section is not None
    config = IngestConfig if part == "ingest" else AssistantConfig
    defaults = {field.name: field.default for field in fields(config)}
    named = re.findall(r"^\| `(\w+)` \| ([\w.]+) \|", section[1], re.MULTILINE)
    assert len(named) > 10
    for name, default in named:
        value = defaults[name]
        shown = (
            f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
        )
        assert default == (shown or "none"), name
    assert set(defaults) - {name for name, _ in named} - set(re.findall(r"`(\w+)`", section[1])) == {
        name
        for name in defaults
        if name == "home" or name.startswith(("weaviate_url", "weaviate_grpc", "weaviate_api", "ollama", "openai"))
    }, "in the table of the environment"


def test_every_variable_of_the_environment_is_in_the_handbook() -> None:
    from assistant.config import ENVIRONMENT as ASSISTANT
    from ingest.config import ENVIRONMENT as INGEST

    text = (ROOT / "docs" / "handbook" / "07-settings.md").read_text(encoding="utf-8")
    for variables in (*INGEST.values(), *ASSISTANT.values()):
        assert all(variable in text for variable in variables), variables


def test_text_is_dark_on_light_on_every_page(handbook: Path) -> None:
    with pypdfium2.PdfDocument(handbook) as document:
        for number, page in enumerate(document, 1):
            grey = page.render(scale=0.5, grayscale=True).to_numpy()
            assert (grey < 128).mean() < 0.08, f"page {number} is mostly dark"
