"""The house: who may import whom, what importing costs, and that public names are what they say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("ingest", "assistant", "finetune", "streamlit_app")
MAY_IMPORT = {
    "ingest": {"ingest"},
    "assistant": {"assistant", "ingest"},
    "finetune": {"finetune"},
    "streamlit_app": {"streamlit_app", "assistant", "ingest"},
}
HEAVY = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "langchain",
    "langchain_core",
    "weaviate",
    "streamlit",
    "onnxruntime",
)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> list[tuple[str, str]]:
    """Every import of a module, function-level ones too, as (module, name)."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [("." * node.level, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    files = modules(package)
    assert files
    for file in files:
        for module, name in imports(ast.parse(file.read_text(encoding="utf-8"))):
            top = module.split(".")[0]
            assert top not in PACKAGES or top in MAY_IMPORT[package], f"{file} imports {module}"
            assert not module.startswith("."), f"{file}: imports are absolute"
            if top in PACKAGES and top != package:
                assert not name.startswith("_"), f"{file} imports {module}.{name}, which is private"
            assert top != "quire", f"{file} imports the command"


def test_the_import_rule_would_catch_a_hidden_import() -> None:
    tree = ast.parse("def f():\n    from streamlit_app import chat\n")
    assert ("streamlit_app", "chat") in imports(tree)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_and_its_commands_is_cheap(package: str) -> None:
    code = f"import {package}, {package}.cli, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist(package: str) -> None:
    module = __import__(package)
    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_in_one_sentence_what_it_is(package: str) -> None:
    for file in modules(package):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
        assert text, file
        assert text.splitlines()[0].endswith((".", ":")) or "\n" in text, file


def test_no_pickle_and_no_unsafe_loader() -> None:
    for package in PACKAGES:
        for file in modules(package):
            names = {module.split(".")[0] for module, _ in imports(ast.parse(file.read_text(encoding="utf-8")))}
            assert not names & {"pickle", "marshal", "shelve", "dill", "joblib", "langchain_community"}, file
