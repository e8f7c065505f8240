"""Writes the trees of README.md and docs/architecture.md from the modules' first lines."""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("quire", "ingest", "assistant", "finetune", "streamlit_app")
FOLDERS = (*PACKAGES, "benchmarks", "docs")
OTHERS = {
    "docs/": "the handbook, design notes with measured numbers, and the scripts that build pages and pictures",
    "tests/": "one folder per package with the same subfolders, one file per module",
    "Makefile": "make demo, app, test, check, bench",
    "constraints.txt": "exact versions of every dependency",
    "pyproject.toml": "dependencies, each with its reason",
}
BEGIN, END = "<!-- tree: written by docs/trees.py -->\n```\n", "```\n<!-- end of tree -->"
NAME_WIDTH, WIDTH = 20, 116  # characters


def rooms(root: Path = ROOT) -> str:
    """Return the packages, their rooms with the modules in them, and the modules outside the rooms."""
    lines = []
    for package in PACKAGES:
        folder = root / package
        lines.append(_line(f"{package}/", sentence(folder / "__init__.py")))
        for path in sorted(folder.iterdir(), key=lambda path: (not path.is_dir(), path.name)):
            if (path / "__init__.py").is_file():
                lines.append(_line(f"  {path.name}/", sentence(path / "__init__.py")))
                lines += _names(module.relative_to(path) for module in _modules(path))
            elif path.suffix == ".py" and path.name != "__init__.py":
                lines.append(_line(f"  {path.name}", sentence(path)))
    lines += [_line(f"{folder}/", sentence(root / folder / "__init__.py")) for folder in ("benchmarks",)]
    lines += [_line(name, text) for name, text in OTHERS.items()]
    return "\n".join(lines) + "\n"


def files(root: Path = ROOT) -> str:
    """Return one line for each module, with the first sentence of its docstring."""
    lines = []
    for folder in FOLDERS:
        lines.append(f"{folder}/")
        for module in _modules(root / folder):
            name = module.relative_to(root / folder).as_posix()
            lines.append(f"  {name:<36} {sentence(module)}".rstrip())
    return "\n".join(lines) + "\n"


def sentence(module: Path) -> str:
    """Return the first line of a module's docstring without its full stop; empty if there is no module."""
    if not module.is_file():
        return ""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").split("\n")[0].rstrip(".")


def _modules(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if path.name != "__init__.py"]


def _names(modules: Iterable[Path]) -> list[str]:
    names = " ".join(path.with_suffix("").as_posix() for path in modules)
    return textwrap.wrap(names, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4, break_on_hyphens=False)


def _line(name: str, text: str) -> str:
    return f"{name:<{NAME_WIDTH}} {text}".rstrip()


TREES = {ROOT / "README.md": rooms, ROOT / "docs" / "architecture.md": files}


def with_tree(text: str, tree: str) -> str:
    """Return a page with this tree between its marks; raises ValueError if the marks are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the marks around the tree are missing")
    return before + BEGIN + tree + END + after


def main(argv: list[str]) -> int:
    """Write both trees; with --check, only return 1 if one of them is stale."""
    stale = []
    for page, tree in TREES.items():
        text = page.read_text(encoding="utf-8")
        new = with_tree(text, tree())
        if new != text:
            stale.append(page.name)
            if argv != ["--check"]:
                page.write_text(new, encoding="utf-8")
    if stale and argv == ["--check"]:
        print(f"the tree of {' and '.join(stale)} is stale: python docs/trees.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
