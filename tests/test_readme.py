"""The README: its tree is true, its links lead somewhere, its commands exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from quire.cli import COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_tree_is_the_one_its_script_writes(page: str) -> None:
    trees = script("docs/trees.py")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert trees.with_tree(text, trees.TREES[ROOT / page]()) == text, "run: python docs/trees.py"


def test_the_readme_names_every_module_of_the_packages() -> None:
    block = README.split("<!-- tree", 1)[1].split("<!-- end", 1)[0]
    words = set(re.findall(r"[\w/]+", block))
    packages = ("quire", "ingest", "assistant", "finetune", "streamlit_app")
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py"]
    assert len(modules) > 150
    assert [
        str(path)
        for path in modules
        if path.stem not in words and not any(word.endswith(f"/{path.stem}") for word in words)
    ] == []


def test_a_page_without_the_marks_of_its_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="marks around the tree are missing"):
        script("docs/trees.py").with_tree("# quire\n", "")


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target


def test_every_command_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in re.findall(r"^(quire|make) (.+)$", README, re.MULTILINE):
        word = shlex.split(line[1])[0]
        assert word in COMMANDS if line[0] == "quire" else re.search(rf"^{word}:", makefile, re.MULTILINE), line


def test_every_extra_of_the_readme_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = set(re.findall(r"'\.\[(\w+)\]'", README))
    assert named
    assert named <= set(extras)


def test_the_pictures_are_those_their_script_draws() -> None:
    pictures = script("docs/pictures/draw.py")
    for name, picture in pictures.PICTURES.items():
        drawn = (pictures.FOLDER / name).read_text(encoding="utf-8")
        assert drawn == pictures.draw(picture), "run: python docs/pictures/draw.py"
