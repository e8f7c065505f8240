import pytest

from finetune.data.sources.fingerprint import fingerprint
from finetune.data.sources.loader import load_data
from finetune.errors import SourceUnavailable
from tests.finetune.hub_stand_in import Hub, Repo

PAIR = {"prompt_id": "1", "messages": [], "score_chosen": 8.0, "score_rejected": 5.0}


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


@pytest.fixture
def repo(dataset_hub: Hub) -> Repo:
    """Data sets with splits of their own, as the catalog names them, and one with plain splits."""
    for name in ("HuggingFaceH4/ultrachat_200k", "HuggingFaceH4/ultrafeedback_binarized", "nobody/plain"):
        dataset_hub.repos[name] = Repo("public")
    chat = [{"prompt": f"Q{n}", "prompt_id": f"{n}", "messages": turns(f"Q{n}", f"A{n}")} for n in range(3)]
    dataset_hub.repos["HuggingFaceH4/ultrachat_200k"].add_rows(train_sft=chat, test_sft=chat[:1])
    pairs = [
        {**PAIR, "prompt": f"Q{n}", "chosen": turns(f"Q{n}", "good"), "rejected": turns(f"Q{n}", "bad")}
        for n in range(4)
    ]
    dataset_hub.repos["HuggingFaceH4/ultrafeedback_binarized"].add_rows(train_prefs=pairs, test_prefs=pairs[:2])
    plain = dataset_hub.repos["nobody/plain"]
    plain.add_rows(train=[{"text": "a"}, {"text": "b"}], test=[{"text": "c"}])
    return plain


@pytest.mark.parametrize(("name", "test_split", "format", "rows"), [
    ("ultrachat_200k", "test_sft", "messages", [3, 1]),
    ("HuggingFaceH4/ultrachat_200k", "test_sft", "messages", [3, 1]),
    ("ultrafeedback_binarized", "test_prefs", "ultrafeedback-binarized", [4, 2]),
    ("nobody/plain", "test", "text", [2, 1]),
])  # fmt: skip
def test_the_split_to_train_on_is_the_catalogs_unless_another_is_named(repo, name, test_split, format, rows):
    found = [load_data(name), load_data(name, split=test_split)]
    assert [(loaded.format, loaded.kept) for loaded in found] == [(format, kept) for kept in rows]


def test_a_split_that_does_not_exist_is_reported_with_the_name(repo):
    with pytest.raises(SourceUnavailable, match=r"nobody/plain \(split train_sft\).*Unknown split"):
        load_data("nobody/plain", split="train_sft")


def test_the_fingerprint_is_of_the_rows_not_of_the_name_or_the_card(repo):
    first = fingerprint("nobody/plain")
    assert first.startswith("hub:")
    repo.add_rows(train=[{"text": "a"}, {"text": "b"}], test=[{"text": "changed"}])
    assert fingerprint("nobody/plain") == first
    repo.add_rows(train=[{"text": "a"}, {"text": "changed"}], test=[])
    assert fingerprint("nobody/plain") != first


def test_an_offline_hub_is_reported_with_what_to_do(monkeypatch, tmp_path):
    import datasets
    import huggingface_hub

    for module in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(SourceUnavailable, match=r"OpenAssistant/oasst1.*HF_HUB_OFFLINE is set.*name a file here"):
        load_data("oasst1")
