"""Pushed and pulled back: the same files, the same answers; every change on the way is noticed."""

import json
from pathlib import Path

import pytest

from finetune.errors import AlreadyThere, HubFailed, UsageError
from finetune.hub import FILE, pull, push
from tests.finetune.export_home import Tuned


def test_an_adapter_comes_back_and_answers_the_same(tuned: Tuned, tmp_path: Path) -> None:
    from finetune.generate import answer
    from finetune.models import Loaded, load_adapter, load_plain, load_run
    from finetune.records import Message
    from finetune.template import load as load_template

    assert push(tuned.run, f"file:{tmp_path / 'there'}") == f"file:{tmp_path / 'there'}"
    back = pull(f"file:{tmp_path / 'there'}", tmp_path / "back")
    base = load_plain(str(tuned.base), device="cpu", method="qlora")
    again = Loaded(
        load_adapter(base.model, back, trainable=False).eval(), base.tokenizer, load_template(back), base.base
    )
    asked = (Message("user", "What does the cow say?"),)
    wanted = answer(load_run(tuned.run, device="cpu"), asked, max_new_tokens=24)
    assert answer(again, asked, max_new_tokens=24) == wanted and "moo" in wanted.text


def test_a_merged_model_comes_back_byte_for_byte(tuned: Tuned, tmp_path: Path) -> None:
    made = json.dumps({"run": str(tuned.run), "base": str(tuned.base), "onto": "dequantised", "held_out": {}})
    (tuned.merged / "merge.json").write_text(made)
    push(tuned.run, f"file:{tmp_path / 'there'}", what="merged", path=tuned.merged)
    back = pull(f"file:{tmp_path / 'there'}", tmp_path / "back")
    for name in ("model.safetensors", "tokenizer.json", "template.json"):
        assert (back / name).read_bytes() == (tuned.merged / name).read_bytes()


def test_a_gguf_goes_through_the_gate_and_comes_back_with_its_modelfile(tuned: Tuned, tmp_path: Path) -> None:
    push(tuned.run, f"file:{tmp_path / 'there'}", what="gguf")
    back = pull(f"file:{tmp_path / 'there'}", tmp_path / "back")
    name = f"{tuned.run.name}-f16.gguf"
    assert f"FROM ./{name}" in (back / "Modelfile").read_text()
    assert (back / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert '"passed": true' in (back / "README.md").read_text()


def test_the_card_tells_data_recipe_and_use_and_no_folder_of_this_machine(tuned: Tuned, tmp_path: Path) -> None:
    push(tuned.run, f"file:{tmp_path / 'there'}")
    text = (tmp_path / "there" / "README.md").read_text()
    for part in (
        "animals.json",
        "the owner of the data decides",
        "| learning_rate | 0.004 |",
        "curves.png",
        "quire finetune pull",
    ):
        assert part in text, part
    assert text.startswith(f"---\nbase_model: {tuned.base.name}\n")
    assert str(tuned.base.parent) not in text
    assert str(tuned.base.parent) not in (tmp_path / "there" / "adapter_config.json").read_text()


def test_a_changed_file_is_noticed_and_nothing_is_left(tuned: Tuned, tmp_path: Path) -> None:
    push(tuned.run, f"file:{tmp_path / 'there'}")
    (tmp_path / "there" / "template.json").write_text("{}")
    with pytest.raises(HubFailed, match=r"template\.json .* is not what was pushed"):
        pull(f"file:{tmp_path / 'there'}", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_list_that_leads_outside_is_refused(tuned: Tuned, tmp_path: Path) -> None:
    push(tuned.run, f"file:{tmp_path / 'there'}")
    listed = json.loads((tmp_path / "there" / FILE).read_text())
    listed["files"]["../../etc/passwd"] = "0"
    (tmp_path / "there" / FILE).write_text(json.dumps(listed))
    with pytest.raises(HubFailed, match="lacks"):
        pull(f"file:{tmp_path / 'there'}", tmp_path / "back")


def test_a_folder_with_something_in_it_is_not_written_to(tuned: Tuned, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("x")
    with pytest.raises(AlreadyThere, match="not empty"):
        push(tuned.run, f"file:{tmp_path / 'there'}")


def test_what_was_not_pushed_by_quire_is_told(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(HubFailed, match="not pushed by quire"):
        pull(f"file:{tmp_path / 'there'}", tmp_path / "back")


def test_only_three_things_can_be_pushed(tuned: Tuned) -> None:
    with pytest.raises(UsageError, match="adapter, merged or gguf"):
        push(tuned.run, "me/x", what="everything")
