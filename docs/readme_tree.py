"""Writes the file tree into README.md from the modules' own first lines: python docs/readme_tree.py [--check]."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tree: made by docs/readme_tree.py -->\n```\n", "```\n<!-- end of tree -->"
FOLDERS = ("quire", "ingest", "assistant", "finetune", "streamlit_app", "benchmarks", "docs")
OTHERS = {
    "tests/": "one folder a package, one file a module",
    "Makefile": "make demo, app, test, check, bench",
    "constraints.txt": "exact versions of every dependency",
    "pyproject.toml": "what needs what, and why",
}
WIDTH = 108  # characters of a line


def tree(root: Path = ROOT) -> str:
    """Return one line for each module with the first clause of its docstring."""
    lines = []
    for folder in FOLDERS:
        modules = [p for p in sorted((root / folder).rglob("*.py")) if p.name != "__init__.py"]
        if modules:
            package = root / folder / "__init__.py"
            lines.append(_line(f"{folder}/", _sentence(package) if package.is_file() else ""))
        for module in modules:
            lines.append(_line(f"  {module.relative_to(root / folder).as_posix()}", _sentence(module)))
    lines += [_line(name, text) for name, text in OTHERS.items()]
    return "\n".join(lines) + "\n"


def _sentence(module: Path) -> str:
    first = (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").split("\n")[0]
    return first.split("; ")[0].rstrip(".")


def _line(name: str, text: str) -> str:
    line = f"{name:<28} {text}".rstrip()
    return line if len(line) <= WIDTH else line[:WIDTH].rsplit(" ", 1)[0] + " ..."


def renewed(readme: str, root: Path = ROOT) -> str:
    """Return the README with today's tree in it; raises ValueError where its marks are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("README.md has lost the marks between which the tree stands")
    return before + BEGIN + tree(root) + END + after


def main(argv: list[str]) -> int:
    """Write the tree, or with --check only say whether it is current (1 if not)."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    new = renewed(text)
    if argv == ["--check"]:
        if new != text:
            print("README.md's tree is stale: python docs/readme_tree.py", file=sys.stderr)
        return int(new != text)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
