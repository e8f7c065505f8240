"""Pushed and pulled back: the same files, the same answers; every change on the way is noticed."""

import json
from pathlib import Path

import pytest

from finetune.errors import AlreadyExists, HubFailed
from finetune.export.hub import CONTENTS_FILE, pull, push
from quire import UsageError
from tests.finetune.export_home import Tuned
from tests.finetune.hosts import LOOPBACK, contacted
from tests.finetune.hub_stand_in import Hub

REPO = "me/animals"
# the hub's library hands its HTTP library a large file in a way that this deprecates; users see nothing of it
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_an_adapter_comes_back_and_answers_the_same(tuned: Tuned, tmp_path: Path) -> None:
    from finetune.templates.find import load_template
    from finetune.templates.messages import Message
    from finetune.train.generate import generate
    from finetune.train.load import LoadedModel, load_adapter, load_plain, load_run

    assert push(tuned.run, f"file:{tmp_path / 'there'}") == f"file:{tmp_path / 'there'}"
    back = pull(f"file:{tmp_path / 'there'}", tmp_path / "back")
    base = load_plain(str(tuned.base), device="cpu", method="qlora")
    again = LoadedModel(
        load_adapter(base.model, back, trainable=False).eval(), base.tokenizer, load_template(back), base.base
    )
    asked = (Message("user", "What does the cow say?"),)
    wanted = generate(load_run(tuned.run, device="cpu"), asked, max_new_tokens=24)
    assert generate(again, asked, max_new_tokens=24) == wanted and "moo" in wanted.text


def test_a_merged_model_comes_back_byte_for_byte(tuned: Tuned, tmp_path: Path) -> None:
    made = json.dumps({"run": str(tuned.run), "base": str(tuned.base), "onto": "dequantised", "held_out": {}})
    (tuned.merged / "merge.json").write_text(made)
    push(tuned.run, f"file:{tmp_path / 'there'}", what="merged", path=tuned.merged)
    back = pull(f"file:{tmp_path / 'there'}", tmp_path / "back")
    for name in ("model.safetensors", "tokenizer.json", "template.json"):
        assert (back / name).read_bytes() == (tuned.merged / name).read_bytes()


def test_a_gguf_passes_the_parity_check_and_comes_back_with_its_modelfile(tuned: Tuned, tmp_path: Path) -> None:
    push(tuned.run, f"file:{tmp_path / 'there'}", what="gguf")
    back = pull(f"file:{tmp_path / 'there'}", tmp_path / "back")
    name = f"{tuned.run.name}-f16.gguf"
    assert f"FROM ./{name}" in (back / "Modelfile").read_text()
    assert (back / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert '"passed": true' in (back / "README.md").read_text()


def test_a_changed_file_is_noticed_and_nothing_is_left(tuned: Tuned, tmp_path: Path) -> None:
    push(tuned.run, f"file:{tmp_path / 'there'}")
    (tmp_path / "there" / "template.json").write_text("{}")
    with pytest.raises(HubFailed, match=r"template\.json .* is not what was pushed"):
        pull(f"file:{tmp_path / 'there'}", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_list_that_leads_outside_is_refused(tuned: Tuned, tmp_path: Path) -> None:
    push(tuned.run, f"file:{tmp_path / 'there'}")
    listed = json.loads((tmp_path / "there" / CONTENTS_FILE).read_text())
    listed["files"]["../../etc/passwd"] = "0"
    (tmp_path / "there" / CONTENTS_FILE).write_text(json.dumps(listed))
    with pytest.raises(HubFailed, match="lacks"):
        pull(f"file:{tmp_path / 'there'}", tmp_path / "back")


def test_a_folder_with_something_in_it_is_not_written_to(tuned: Tuned, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("x")
    with pytest.raises(AlreadyExists, match="not empty"):
        push(tuned.run, f"file:{tmp_path / 'there'}")


def test_a_folder_that_quire_did_not_push_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(HubFailed, match="not pushed by quire"):
        pull(f"file:{tmp_path / 'there'}", tmp_path / "back")


def test_only_three_things_can_be_pushed(tuned: Tuned) -> None:
    with pytest.raises(UsageError, match="adapter, merged or gguf"):
        push(tuned.run, "me/x", what="everything")


# -- over HTTP


@pytest.fixture
def one(tuned_models: dict[str, Tuned], monkeypatch: pytest.MonkeyPatch) -> Tuned:
    """One tuned model, its home being the home folder."""
    monkeypatch.setenv("QUIRE_HOME", str(tuned_models["qwen2"].home))
    return tuned_models["qwen2"]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_adapter_goes_to_a_hub_and_comes_back_in_another_home_byte_for_byte(
    one: Tuned, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert push(one.run, REPO) == f"{hub.url}/{REPO}/commit/{hub.repos[REPO].head}"
    push(one.run, f"file:{tmp_path / 'animals'}")
    monkeypatch.setenv("QUIRE_HOME", str(tmp_path / "another"))
    back = files_of(pull(REPO, tmp_path / "back"))
    attributes = back.pop(".gitattributes")
    assert attributes.startswith(b"*.safetensors filter=lfs")
    assert back == files_of(tmp_path / "animals")
    assert back["README.md"].startswith(b"---\nbase_model: ") and "adapter_model.safetensors" in back


def test_a_push_and_a_pull_contact_the_hub_that_is_set_and_no_other(one: Tuned, hub: Hub, tmp_path: Path) -> None:
    with contacted() as hosts:
        push(one.run, REPO)
        pull(REPO, tmp_path / "back")
    assert hosts and set(hosts) <= LOOPBACK


def test_a_new_repository_is_private_unless_it_is_asked_to_be_public(one: Tuned, hub: Hub) -> None:
    push(one.run, REPO)
    push(one.run, "me/open", private=False)
    assert [hub.repos[name].visibility for name in (REPO, "me/open")] == ["private", "public"]


def test_weights_go_through_lfs_and_the_token_stays_with_the_hub(one: Tuned, hub: Hub, tmp_path: Path) -> None:
    push(one.run, REPO)
    pull(REPO, tmp_path / "back")
    files = hub.repos[REPO].commits[hub.repos[REPO].head]
    assert files["adapter_model.safetensors"].large and not files["README.md"].large
    stored = [(method, token) for method, path, token in hub.seen if path.startswith("/storage/")]
    assert {method for method, _ in stored} == {"PUT", "GET"}
    assert not any(token for _, token in stored)


def test_an_older_revision_is_fetched_by_its_commit(one: Tuned, hub: Hub, tmp_path: Path) -> None:
    push(one.run, REPO)
    first = hub.repos[REPO].head
    push(one.run, REPO, what="merged", path=merged_of(one))
    assert hub.repos[REPO].head != first
    assert "adapter_config.json" in files_of(pull(REPO, tmp_path / "old", revision=first))
    assert "model.safetensors" not in files_of(tmp_path / "old")
    assert "model.safetensors" in files_of(pull(REPO, tmp_path / "new"))


def merged_of(tuned: Tuned) -> Path:
    """The merged folder with the report that a merge which measures leaves."""
    made = json.dumps({"run": str(tuned.run), "base": str(tuned.base), "onto": "dequantised", "held_out": {}})
    (tuned.merged / "merge.json").write_text(made)
    return tuned.merged


def test_bytes_changed_on_the_hub_are_noticed_and_nothing_is_left(one: Tuned, hub: Hub, tmp_path: Path) -> None:
    from dataclasses import replace

    push(one.run, REPO)
    files = hub.repos[REPO].commits[hub.repos[REPO].head]
    files["template.json"] = replace(files["template.json"], data=b"{}")
    with pytest.raises(HubFailed, match=r"template\.json .* is not what was pushed"):
        pull(REPO, tmp_path / "back")
    assert not list(tmp_path.glob("back*"))


def test_a_wrong_token_is_one_error_that_says_how_to_log_in(
    one: Tuned, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(one.run, REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    for attempt in (lambda: push(one.run, REPO), lambda: pull(REPO, tmp_path / "back")):
        with pytest.raises(HubFailed, match="rejected the request for me/animals: 401, Invalid credentials") as caught:
            attempt()
        assert "HF_TOKEN" in caught.value.hint and "\n" not in str(caught.value)
        assert "hf_wrong" not in str(caught.value)
    assert not list(tmp_path.glob("back*"))


def test_a_missing_repository_is_reported(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(HubFailed, match="rejected the request for me/nothing: 404, Repository not found"):
        pull("me/nothing", tmp_path / "back")


def test_a_missing_revision_is_reported(one: Tuned, hub: Hub, tmp_path: Path) -> None:
    push(one.run, REPO)
    with pytest.raises(HubFailed, match="rejected the request for me/animals: 404, Invalid rev id"):
        pull(REPO, tmp_path / "back", revision="v9")


def test_a_storage_that_refuses_the_weights_leaves_no_commit(one: Tuned, hub: Hub) -> None:
    hub.storage_full = True
    with pytest.raises(HubFailed, match="rejected the request for me/animals: 403, Storage quota exceeded"):
        push(one.run, REPO)
    assert len(hub.repos[REPO].commits) == 1  # the one that made it


def test_a_hub_that_is_down_is_one_error_that_offers_a_folder(one: Tuned, hub: Hub, tmp_path: Path) -> None:
    hub.shutdown()
    hub.server_close()
    for attempt in (lambda: push(one.run, REPO), lambda: pull(REPO, tmp_path / "back")):
        with pytest.raises(HubFailed, match="does not answer for me/animals") as caught:
            attempt()
        assert "file:FOLDER" in caught.value.hint and "\n" not in str(caught.value)


def test_a_name_that_no_repository_can_have_is_a_usage_error(one: Tuned, hub: Hub, tmp_path: Path) -> None:
    for attempt in (lambda: push(one.run, "me/a/b"), lambda: pull("me/a/b", tmp_path / "back")):
        with pytest.raises(UsageError, match="not a valid repository name"):
            attempt()
