"""The README: its tree is true, its links lead somewhere, its commands exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
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
    spec.loader.exec_module(module)
    return module


def listed_modules() -> set[str]:
    block = README.split("<!-- tree", 1)[1].split("<!-- end", 1)[0]
    found, folder = set(), ""
    for line in block.splitlines():
        name = line.split(" ")[0] if not line.startswith("  ") else line.split()[0]
        if not line.startswith(" ") and name.endswith("/"):
            folder = name
        elif name.endswith(".py"):
            found.add(folder * line.startswith("  ") + name)
    return found


def test_the_tree_lists_every_module_and_no_other() -> None:
    folders = ("quire", "ingest", "assistant", "finetune", "streamlit_app", "benchmarks", "docs")
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert listed_modules() == there, "run: python docs/readme_tree.py"


def test_the_tree_says_what_the_modules_say() -> None:
    assert script("docs/readme_tree.py").renewed(README) == README, "run: python docs/readme_tree.py"


def test_every_module_of_the_tree_has_its_line() -> None:
    block = README.split("<!-- tree", 1)[1].split("<!-- end", 1)[0]
    assert [line for line in block.splitlines() if line.strip().endswith(".py")] == []


def test_a_tree_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="has lost the marks"):
        script("docs/readme_tree.py").renewed("# quire\n")


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


def test_the_diagram_is_the_one_its_script_draws() -> None:
    flow = script("docs/pictures/flow.py")
    assert flow.OUT.read_text(encoding="utf-8") == flow.draw(), "run: python docs/pictures/flow.py"
