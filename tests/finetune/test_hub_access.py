"""A hub that is not reached is reported in seconds, and the cache is still used."""

import socket
import time
from pathlib import Path

import pytest

from finetune import hub_access
from finetune.data.sources.loader import load_data
from finetune.errors import ModelUnavailable, SourceUnavailable
from finetune.hub_access import hub_or_cache, reachable
from finetune.train.load import load_tokenizer


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return address


def test_a_model_of_the_hub_without_network_is_reported_at_once(no_hub: str, capfd: pytest.CaptureFixture[str]) -> None:
    began = time.perf_counter()
    with pytest.raises(ModelUnavailable, match=f"'nobody/nothing' is not a local folder, {no_hub} does not answer"):
        load_tokenizer("nobody/nothing")
    assert time.perf_counter() - began < 15  # the library alone tries six times, 23 s of waiting
    assert "Retrying" not in capfd.readouterr().err


def test_a_data_set_of_the_hub_without_network_is_reported_at_once(
    no_hub: str, capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.perf_counter()
    with pytest.raises(SourceUnavailable, match=f"{no_hub} does not answer, and it is not in the cache"):
        load_data("nobody/nothing")
    assert time.perf_counter() - began < 15
    assert "Retrying" not in capfd.readouterr().err


def test_the_library_is_offline_only_inside_and_never_for_a_folder(no_hub: str, tmp_path: Path) -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with hub_or_cache("nobody/nothing"):
        assert constants.HF_HUB_OFFLINE is True
    with hub_or_cache(str(tmp_path)):
        assert constants.HF_HUB_OFFLINE is before
    assert constants.HF_HUB_OFFLINE is before


def test_a_hub_that_listens_is_reached_and_a_proxy_is_trusted(no_hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not reachable()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert reachable()
    monkeypatch.setenv("HF_ENDPOINT", no_hub)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert reachable()
    assert hub_access.endpoint() == no_hub
