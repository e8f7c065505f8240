"""The doctor checks every step and names the one that is wrong."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.data.sources.fingerprint import UNKNOWN, fingerprints
from finetune.errors import NoSuchRun
from finetune.export.doctor import examine
from finetune.export.ollama_tags import TagRecord, write_record
from finetune.runs.manifest import read_manifest, write_manifest
from tests.finetune.export_home import Tuned


def marks(run: Path, **options: str) -> dict[str, str]:
    return {check.step: check.mark for check in examine(run, host="127.0.0.1:1", **options)}


def test_every_step_of_a_good_run_is_ok(tuned: Tuned) -> None:
    assert marks(tuned.run) == {
        "run": "ok", "data": "ok", "template": "ok", "adapter": "ok", "merge": "ok", "gguf": "ok", "text": "note",
        "ollama": "note",
    }  # fmt: skip


def test_an_unfinished_run_is_wrong_at_once(tuned: Tuned, tmp_path: Path) -> None:
    shutil.copytree(tuned.run, tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    assert marks(tmp_path / "run") == {"run": "wrong"}


def test_a_gpu_that_could_not_be_trained_on_is_a_note(tuned: Tuned, tmp_path: Path, gpu_without_compiler: None) -> None:
    shutil.copytree(tuned.run, tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    first, _ = examine(tmp_path / "run", host="127.0.0.1:1")
    assert (first.step, first.mark) == ("machine", "note") and "no C compiler" in first.sentence


def test_a_tag_with_an_overridden_limit_is_named_and_compared_on_its_own_base(
    tuned_models: dict[str, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: a model merged into the full-precision base is compared with a merge into the dequantized one."""
    tuned = tuned_models["qwen2"]
    monkeypatch.setenv("QUIRE_HOME", str(tmp_path / "home"))
    for tag, onto in (("one", "dequantised"), ("two", "original")):
        parity = {"limits": {"F16.mean_kl": 0.5}} if onto == "original" else {}
        write_record(TagRecord(tag, str(tuned.base), {}, str(tuned.run), "F16", parity, onto=onto))
    merges = [c for c in examine(tuned.run, host="127.0.0.1:1") if c.step in ("merge", "limits", "ollama", "gguf")]
    assert [(c.step, c.mark) for c in merges] == [
        ("merge", "ok"), ("gguf", "ok"), ("ollama", "note"), ("merge", "ok"), ("limits", "note"), ("ollama", "note"),
    ]  # fmt: skip
    assert "two was exported with another limit: the limit F16.mean_kl is 0.5 instead of 0.0002" in merges[4].sentence
    assert "into the dequantized base" in merges[0].sentence and "into the full-precision base" in merges[3].sentence


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


def data_checks(tuned: Tuned, folder: Path, data: dict[str, str]) -> list[tuple[str, str]]:
    """Return the marks and sentences of the data of a copy of the run whose manifest has these fingerprints."""
    shutil.copytree(tuned.run, folder / "run", dirs_exist_ok=True)
    manifest = replace(read_manifest(tuned.run), data=data)
    write_manifest(folder / "run", manifest)
    (folder / "run" / "adapter" / "template.json").write_text("[]")  # stops the check after the data
    return [(check.mark, check.sentence) for check in examine(folder / "run") if check.step == "data"]


def test_a_file_that_changed_in_a_folder_is_a_note(tuned: Tuned, tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "a.jsonl").write_text("a")
    data = fingerprints([str(rows)])
    assert data_checks(tuned, tmp_path, data) == [("ok", "1 source, unchanged")]
    (rows / "a.jsonl").write_text("b")
    assert data_checks(tuned, tmp_path, data) == [("note", f"changed since the training: {rows}")]


def test_data_whose_content_is_not_known_is_never_called_unchanged(tuned: Tuned, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("a")
    rows = str(tmp_path / "rows.jsonl")
    gone = str(tmp_path / "gone.jsonl")
    older = {"org/set": "name:" + "0" * 64}
    for data in ({gone: "0" * 64}, {rows: UNKNOWN}, older):
        (name,) = data
        expected = f"not readable, so whether it changed is not known: {name}"
        assert data_checks(tuned, tmp_path, data) == [("note", expected)]
    ((mark, sentence),) = data_checks(tuned, tmp_path, {})
    assert mark == "note" and "given by a program" in sentence


def test_no_run_is_an_error() -> None:
    with pytest.raises(NoSuchRun, match="there is no run"):
        examine("nowhere")
