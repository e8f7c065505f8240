import pytest

from finetune.data.sources.loader import load_data
from finetune.errors import SourceUnavailable


def test_an_offline_hub_is_reported_with_what_to_do(monkeypatch, tmp_path):
    import datasets
    import huggingface_hub

    for module in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(SourceUnavailable, match=r"OpenAssistant/oasst1.*HF_HUB_OFFLINE is set.*name a file here"):
        load_data("oasst1")
