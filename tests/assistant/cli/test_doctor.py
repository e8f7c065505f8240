import contextlib
import json
import os
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.cli.doctor import _store
from ingest.config import IngestConfig
from ingest.pipeline import ingest
from tests.documents import write_facts

ROOT = Path(__file__).parents[3]


def doctor(home: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    # nothing listens on this port: a machine without Ollama
    environment = {**os.environ, "QUIRE_HOME": str(home), "OLLAMA_HOST": "127.0.0.1:9", **environ}
    return subprocess.run(
        [sys.executable, "-m", "quire", "doctor", *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_a_bare_machine_is_ready_and_everything_missing_has_a_fix(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ready"] is True
    assert all(finding["fix"] for finding in report["findings"] if finding["state"] == "missing")
    names = [finding["name"] for finding in report["findings"]]
    assert names.index("embedding weights") < names.index("store sqlite") < names.index("disk")


def test_missing_weights_are_named_with_the_command_and_exit_1(tmp_path: Path) -> None:
    done = doctor(tmp_path, QUIRE_EMBEDDER=f"minilm:{tmp_path}")
    assert done.returncode == 1
    assert "MISSING  embedding weights" in done.stdout
    assert "fix: give a folder" in done.stdout


def test_each_setting_is_shown_with_its_origin(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--json", QUIRE_LIBRARY="reports", QUIRE_MODEL="quotes")
    settings = {row["name"]: row for row in json.loads(done.stdout)["settings"]}
    assert (settings["library"]["value"], settings["library"]["origin"]) == ("reports", "QUIRE_LIBRARY")
    assert (settings["model"]["value"], settings["model"]["origin"]) == ("quotes", "QUIRE_MODEL")
    assert settings["chunk_size"]["origin"] == "default"


def test_a_key_is_never_printed(tmp_path: Path) -> None:
    done = doctor(tmp_path, OPENAI_API_KEY="sk-very-secret", WEAVIATE_API_KEY="also-secret")
    assert "secret" not in done.stdout + done.stderr
    assert "(set)" in done.stdout


@pytest.mark.parametrize("words", [["--nonsense"], ["extra"]])
def test_wrong_usage_exits_2(tmp_path: Path, words: list[str]) -> None:
    assert doctor(tmp_path, *words).returncode == 2


def test_a_damaged_library_is_named_and_blocks_only_if_it_is_the_selected_one(tmp_path: Path) -> None:
    (tmp_path / "libraries").mkdir()
    (tmp_path / "libraries" / "old.sqlite").write_bytes(b"no database at all" * 100)
    for library, state, code in (("default", "optional", 0), ("old", "missing", 1)):
        done = doctor(tmp_path, "--json", QUIRE_LIBRARY=library)
        [found] = [f for f in json.loads(done.stdout)["findings"] if "'old'" in f["text"]]
        assert (found["state"], done.returncode) == (state, code)
        assert "is damaged" in found["text"]
        assert "ingest again" in found["fix"]


def test_lost_passages_are_named_with_the_command_that_restores_them(tmp_path: Path) -> None:
    write_facts(tmp_path / "my pdfs")
    config = IngestConfig(home=tmp_path, library="facts", jobs=1)
    ingest([str(tmp_path / "my pdfs")], config)
    with contextlib.closing(sqlite3.connect(tmp_path / "libraries" / "facts.sqlite")) as library:
        library.execute("DELETE FROM chunks WHERE row = (SELECT max(row) FROM chunks)")
        library.commit()
    done = doctor(tmp_path, "--json", QUIRE_LIBRARY="facts")
    assert done.returncode == 1
    [wrong] = [f for f in json.loads(done.stdout)["findings"] if f["state"] == "missing"]
    assert wrong["text"] == "library 'facts': whales.pdf has 1 of 2 passages"
    source = tmp_path / "my pdfs" / "whales.pdf"
    assert shlex.split(wrong["fix"]) == ["quire", "ingest", str(source), "--library", "facts", "--store", "sqlite"]
    assert [one.document for one in ingest([str(source)], config).replaced] == ["whales.pdf"]
    assert [f.text for f in _store(config)] == ["library 'facts': 2 documents, 4 passages"]


def test_pip_lines_name_the_environment_that_quire_runs_in(tmp_path: Path) -> None:
    hidden = tmp_path / "sitecustomize.py"  # a machine without streamlit
    hidden.write_text(
        "import importlib.util as u\nreal = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'streamlit' else real(name, package)\n"
    )
    done = doctor(tmp_path, "--json", PYTHONPATH=str(tmp_path))
    [app] = [f for f in json.loads(done.stdout)["findings"] if f["name"] == "extra app"]
    python, rest = app["fix"].split(" ", 1)
    assert (ROOT / python).samefile(sys.executable)
    assert rest == "-m pip install -e '.[app]'"


def test_the_engine_that_reads_scans_is_named_and_an_absent_one_with_what_to_do(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "tesseract"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho tesseract 9.9\n")
    program.chmod(0o755)
    states = {}
    for ocr, path in (("tesseract", f"{program.parent}:/usr/bin:/bin"), ("off", "/usr/bin:/bin"), ("rapidocr", "")):
        hidden = tmp_path / ocr / "sitecustomize.py"  # a machine without RapidOCR
        hidden.parent.mkdir()
        hidden.write_text(
            "import importlib.util as u\nreal = u.find_spec\n"
            "u.find_spec = lambda name, package=None: None if name == 'rapidocr' else real(name, package)\n"
        )
        done = doctor(tmp_path, "--json", QUIRE_OCR=ocr, PATH=path, PYTHONPATH=str(hidden.parent))
        [found] = [f for f in json.loads(done.stdout)["findings"] if f["name"] == "ocr"]
        states[ocr] = (found["state"], found["text"], bool(found["fix"]))
    assert states == {
        "tesseract": ("ok", "scans are read by tesseract 9.9", False),
        "off": ("optional", "off: scans cannot be searched", True),
        "rapidocr": ("missing", "ocr is 'rapidocr', which is not installed", True),
    }
