"""Settings and libraries that any command may name."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ingest.cli.conftest import ROOT, Quire
from tests.rights import bound


def test_a_read_only_home_can_be_listed_and_asked(filled: Quire, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(filled.environ["QUIRE_HOME"], home)
    shutil.rmtree(home / "models")  # the embedding graph can be neither found nor kept there
    for path in (home, *home.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)

    def quire(*words: str) -> subprocess.CompletedProcess[str]:
        environ = filled.environ | {"QUIRE_HOME": str(home), "QUIRE_MODEL": "quotes"}
        command = [*bound(), sys.executable, "-m", "quire", *words]
        return subprocess.run(command, cwd=ROOT, env=environ, input="", capture_output=True, text=True)

    try:
        assert "whales.pdf" in quire("docs", "list").stdout
        answer = json.loads(quire("ask", "How much does the heart of a blue whale weigh?", "--json").stdout)
        assert ("whales.pdf", 1) in [(c["document"], c["page"]) for c in answer["citations"]]
        assert quire("chat", "--no-keep").returncode == 0
        done = quire("chat")
        assert (done.returncode, "--no-keep" in done.stderr) == (1, True)
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.parametrize("words", [["docs", "list"], ["search", "x"], ["libraries", "remove"]])
def test_a_name_that_no_library_can_have_is_wrong_usage(quire: Quire, words: list[str]) -> None:
    done = quire(*words, *(["x" * 201, "--yes"] if words[-1] == "remove" else ["--library", "x" * 201]))
    assert done.returncode == 2
    assert "1 to 200 printable characters" in done.stderr


def test_a_missing_library_is_an_error_with_the_command_that_creates_it(quire: Quire) -> None:
    done = quire("docs", "list", "--library", "nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "quire ingest" in done.stderr


def test_a_wrong_setting_is_wrong_usage(quire: Quire, tmp_path: Path) -> None:
    quire.environ["QUIRE_STORE"] = "oracle"
    done = quire("docs", "list")
    assert done.returncode == 2
    assert "use one of sqlite, weaviate" in done.stderr


def test_a_tenant_of_the_embedded_store_is_refused_and_not_ignored(filled: Quire) -> None:
    for words in (["docs", "list"], ["ingest", "pyproject.toml"], ["libraries", "remove", "default", "--yes"]):
        done = filled(*words, "--tenant", "sales")
        assert done.returncode == 2, done.stderr
        assert "the SQLite store has no tenants" in done.stderr
