"""Reading a LoRA adapter and finding its base."""

import json
import shutil
from pathlib import Path

import pytest

from finetune.errors import UnsupportedModel, WrongBase
from finetune.export.lora import read_adapter
from finetune.export.merge import merge
from tests.finetune.export_home import Tuned
from tests.finetune.hub_stand_in import Hub


def test_a_base_that_the_hub_lacks_is_named_with_the_hubs_message(tuned: Tuned, tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(WrongBase, match=r"'nowhere/nothing' is not a folder.* 404, Repository not found") as caught:
        merge(tuned.run, tmp_path / "m", base_folder="nowhere/nothing")
    assert "--base" in caught.value.hint


def test_a_base_folder_that_is_gone_is_named(tuned: Tuned, tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(WrongBase, match="gone' is not a folder"):
        merge(tuned.run, tmp_path / "m", base_folder=str(tmp_path / "gone"))
    assert not hub.seen


def test_an_adapter_that_is_not_plain_lora_is_refused(tuned: Tuned, tmp_path: Path) -> None:
    shutil.copytree(tuned.run / "adapter", tmp_path / "a")
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_dora": True}))
    with pytest.raises(UnsupportedModel, match="use_dora is set"):
        read_adapter(tmp_path / "a")


def test_an_adapter_whose_settings_cannot_be_read_is_named(tuned: Tuned, tmp_path: Path) -> None:
    for text in ("{", "[]", '{"r": 8}'):
        (tmp_path / "adapter_config.json").write_text(text)
        with pytest.raises(UnsupportedModel, match=r"adapter_config\.json cannot be read"):
            read_adapter(tmp_path)
