"""What a model card contains, and what it must not."""

from pathlib import Path

from finetune.export.hub import push
from tests.finetune.export_home import Tuned


def test_the_card_has_data_recipe_and_use_and_no_folder_of_this_machine(tuned: Tuned, tmp_path: Path) -> None:
    push(tuned.run, f"file:{tmp_path / 'there'}")
    text = (tmp_path / "there" / "README.md").read_text()
    for part in (
        "animals.json",
        "ask the owner of the data",
        "| learning_rate | 0.004 |",
        "curves.png",
        "quire finetune pull",
    ):
        assert part in text, part
    assert text.startswith(f"---\nbase_model: {tuned.base.name}\n")
    assert str(tuned.base.parent) not in text
    assert str(tuned.base.parent) not in (tmp_path / "there" / "adapter_config.json").read_text()
