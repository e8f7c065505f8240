"""The export commands as a person types them: what they print, refuse and leave behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from quire import cli as quire
from tests.finetune.export_home import Tuned
from tests.finetune.hub_stand_in import Hub

DEAD = "127.0.0.1:1"  # where no Ollama answers


def run(*words: str) -> int:
    """Run `quire finetune` in this process."""
    return quire.main(["finetune", *words])


@pytest.fixture
def qwen2(tuned_models: dict[str, Tuned], monkeypatch: pytest.MonkeyPatch) -> Tuned:
    """One tuned model, its home being the home folder."""
    monkeypatch.setenv("QUIRE_HOME", str(tuned_models["qwen2"].home))
    return tuned_models["qwen2"]


def records(home: Path) -> Path:
    """Write one sound record and two that are none, and return their folder."""
    folder = home / "models"
    folder.mkdir(parents=True)
    sound = {"tag": "mine:latest", "base": "qwen", "run": "/r", "quantization": "F16", "date": "2026-11-21", "data": {}}
    (folder / "mine%3Alatest.json").write_text(json.dumps(sound))
    (folder / "odd%3Alatest.json").write_text("{}")
    (folder / "torn%3Alatest.json").write_text('{"tag": ')
    return folder


def test_tags_are_listed_without_ollama_and_broken_records_are_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records(home)
    assert run("ollama", "--list", "--host", DEAD) == 0
    out, err = capsys.readouterr()
    assert "mine:latest" in out and "no longer" not in out
    assert "odd%3Alatest.json cannot be read: it lacks tag, base" in out and "torn%3Alatest.json cannot be read" in out
    assert "no Ollama answers" in err


def test_a_figure_of_an_older_record_that_is_not_a_number_is_null_in_json(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = records(home) / "mine%3Alatest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parity": {"mean_kl": float("nan")}}))
    assert run("ollama", "--list", "--json", "--host", DEAD) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["tags"]
    assert [row["parity"]["mean_kl"] for row in found if row["tag"] == "mine:latest"] == [None]


def test_showing_a_broken_record_reports_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records(home)
    assert run("ollama", "--show", "odd", "--host", DEAD) == 2
    assert "odd%3Alatest.json cannot be read" in capsys.readouterr().err


def test_a_modelfile_of_another_file_is_not_written_over(
    qwen2: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.Modelfile").write_text("FROM llama3\n")
    words = ("gguf", str(qwen2.run), "--out", str(tmp_path / "m.gguf"), "--merged", str(qwen2.merged))
    assert run(*words) == 1
    assert (tmp_path / "m.Modelfile").read_text() == "FROM llama3\n" and not (tmp_path / "m.gguf").exists()
    (tmp_path / "m.Modelfile").write_text("FROM ./m.gguf\nof an earlier try\n")
    assert run(*words) == 0
    assert "TEMPLATE" in (tmp_path / "m.Modelfile").read_text()


def test_settings_that_an_adapter_does_not_have_are_refused(
    qwen2: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("gguf", str(qwen2.run), "--out", str(tmp_path / "a.gguf"), "--adapter-only")
    assert run(*words, "--type", "Q8_0", "--system", "Be brief.") == 2
    assert "--adapter-only cannot be used with --type, --system" in capsys.readouterr().err
    assert run(*words) == 0
    assert "not checked for parity" in capsys.readouterr().out


def test_an_adapter_is_not_written_for_a_base_that_it_does_not_fit(
    tuned_models: dict[str, Tuned], qwen2: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("gguf", str(qwen2.run), "--out", str(tmp_path / "a.gguf"), "--adapter-only")
    assert run(*words, "--base", str(tuned_models["phi"].base)) == 1
    assert "pass the base model that it was trained on" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["justname", "a/b/c", "file:", "file:/"])
def test_a_place_that_cannot_be_pushed_to_is_refused_before_anything_is_made(
    qwen2: Tuned, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("push", str(qwen2.run), place, "--what", "gguf") == 2
    assert "merging" not in capsys.readouterr().err


def test_what_is_pushed_under_a_runs_card_is_of_that_run(
    tuned_models: dict[str, Tuned], qwen2: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from finetune.export.gguf import write_gguf

    phi = tuned_models["phi"]
    path = write_gguf(phi.merged, tmp_path / "phi.gguf", template=phi.template)
    to = f"file:{tmp_path / 'there'}"
    assert run("push", str(qwen2.run), to, "--what", "gguf", "--path", str(path)) == 1
    assert "diverges from the trained model" in capsys.readouterr().err
    assert run("push", str(qwen2.run), to, "--what", "merged", "--path", str(phi.merged)) == 1
    assert "was merged from the run 'phi-tuned'" in capsys.readouterr().err
    assert run("push", str(qwen2.run), to, "--path", str(path)) == 2
    assert not (tmp_path / "there").exists()
    assert run("push", str(phi.run), to, "--what", "gguf", "--path", str(path)) == 0
    assert '"passed": true' in (tmp_path / "there" / "README.md").read_text()
    assert [p.name for p in tmp_path.glob("there*")] == ["there"]


def child(home: Path, hub: Hub, *words: str, token: str | None = "hf_right") -> subprocess.CompletedProcess[str]:
    """Run `quire finetune` as a command of its own, Xet as the hub's library has it."""
    environ = {k: v for k, v in os.environ.items() if k not in ("HF_TOKEN", "HF_HUB_DISABLE_XET")}
    environ |= {"QUIRE_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "NO_PROXY": "*"}
    if token:
        environ["HF_TOKEN"] = token
    return subprocess.run(
        [sys.executable, "-m", "quire", "finetune", *words],
        env=environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
def test_push_and_pull_as_commands_over_http_from_a_hub_without_xet(qwen2: Tuned, tmp_path: Path) -> None:
    with Hub("hf_right") as hub:  # knows no Xet, as a mirror inside a house may not
        pushed = child(qwen2.home, hub, "push", str(qwen2.run), "me/animals")
        assert pushed.returncode == 0, pushed.stderr
        assert pushed.stdout.strip().startswith(f"{hub.url}/me/animals/commit/")
        pulled = child(tmp_path / "other", hub, "pull", "me/animals", "--out", str(tmp_path / "back"))
        assert pulled.returncode == 0 and pulled.stderr == "fetching me/animals\n", pulled.stderr
        weights = qwen2.run / "adapter" / "adapter_model.safetensors"
        assert (tmp_path / "back" / weights.name).read_bytes() == weights.read_bytes()
        refused = child(qwen2.home, hub, "push", str(qwen2.run), "me/animals", token=None)
        assert refused.returncode == 1 and "hf auth login" in refused.stderr and "Traceback" not in refused.stderr
