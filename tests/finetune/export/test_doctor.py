"""The doctor checks every step and names the one that is wrong."""

import json
import shutil
from pathlib import Path

import pytest

from finetune.errors import NoSuchRun
from finetune.export.doctor import examine
from tests.finetune.export_home import Tuned


def marks(run: Path, **options: str) -> dict[str, str]:
    return {check.step: check.mark for check in examine(run, host="127.0.0.1:1", **options)}


def test_every_step_of_a_good_run_is_ok(tuned: Tuned) -> None:
    assert marks(tuned.run) == {
        "run": "ok", "data": "ok", "template": "ok", "adapter": "ok", "merge": "ok", "gguf": "ok", "ollama": "note",
    }  # fmt: skip


def test_an_unfinished_run_is_wrong_at_once(tuned: Tuned, tmp_path: Path) -> None:
    shutil.copytree(tuned.run, tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    assert marks(tmp_path / "run") == {"run": "wrong"}


def test_another_template_in_the_tokenizer_is_wrong_at_the_template(tuned: Tuned, tmp_path: Path) -> None:
    shutil.copytree(tuned.run, tmp_path / "run")
    (tmp_path / "run" / "adapter" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    found = marks(tmp_path / "run")
    assert found["template"] == "wrong" and "gguf" not in found


def test_an_adapter_that_learned_nothing_is_wrong(tuned: Tuned, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    shutil.copytree(tuned.run, tmp_path / "run")
    path = tmp_path / "run" / "adapter" / "adapter_model.safetensors"
    save_file({n: t * 0 if ".lora_B." in n else t for n, t in load_file(path).items()}, path)
    assert marks(tmp_path / "run")["adapter"] == "wrong"


def test_changed_data_is_a_note(tuned: Tuned, tmp_path: Path) -> None:
    shutil.copytree(tuned.run, tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["data"] = dict.fromkeys(manifest["data"], "0" * 64)
    path.write_text(json.dumps(manifest))
    assert marks(tmp_path / "run")["data"] == "note"


def test_no_run_is_an_error() -> None:
    with pytest.raises(NoSuchRun, match="there is no run"):
        examine("nowhere")
