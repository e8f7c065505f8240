"""What the tests of finetune share: tiny models, a task that they can learn, and a home folder per test."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune.data.records import Conversation, Preference
from finetune.templates.messages import Message
from tests.finetune.hub_stand_in import Hub

SOUNDS = {"cow": "moo", "dog": "woof", "cat": "meow", "duck": "quack", "lion": "roar", "horse": "neigh"}


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Use one thread of torch: more only wait for one another on tiny tensors."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> dict[str, str]:
    """Tiny models by kind."""
    from finetune.demo.tiny import make_tiny

    folder = tmp_path_factory.mktemp("models")
    return {kind: str(make_tiny(folder / kind, kind)) for kind in ("qwen2", "phi")}


@pytest.fixture(scope="session")
def tiny_llamas(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> dict[str, str]:
    """Tiny Llama and Mistral models by the format that they are trained in."""
    from tests.finetune.tiny_llamas import TINY_LLAMAS, make_tiny_llama

    folder = tmp_path_factory.mktemp("llamas")
    return {kind: str(make_tiny_llama(folder / kind, kind)) for kind in TINY_LLAMAS}


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder that holds the runs which several tests read."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder of this test alone."""
    monkeypatch.setenv("QUIRE_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"


@pytest.fixture
def gpu_without_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every question about GPUs be answered as on a machine with one, whose PATH has no C compiler."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    monkeypatch.delenv("CC", raising=False)


def asked(animal: str) -> Message:
    """The question about one animal."""
    return Message("user", f"What does the {animal} say?")


@pytest.fixture(scope="session")
def conversations() -> list[Conversation]:
    """Six questions with their answers."""
    return [
        Conversation((asked(animal), Message("assistant", f"The {animal} says {sound}.")), source="test", row=row)
        for row, (animal, sound) in enumerate(SOUNDS.items(), start=1)
    ]


@pytest.fixture(scope="session")
def preferences() -> list[Preference]:
    """Six pairs, the informed answer preferred; answers of unequal length."""
    return [
        Preference(
            (asked(animal),),
            (Message("assistant", f"The {animal} says {sound}."),),
            (Message("assistant", "I do not know that, I am sorry."),),
            source="test",
            row=row,
        )
        for row, (animal, sound) in enumerate(SOUNDS.items(), start=1)
    ]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on loopback that the environment names, and its token."""
    from huggingface_hub import constants

    with Hub("hf_right") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", server.token)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        # what HF_HUB_DISABLE_XET=1 sets when the library is loaded: Xet's own protocol has no stand-in
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield server


@pytest.fixture
def dataset_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The same hub for the `datasets` library, with caches of this test alone."""
    import datasets
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for module in (datasets.config, constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template[template.index("/{repo_id}") :])
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")
    datasets.disable_progress_bars()
    return hub


from tests.finetune.export_home import (  # noqa: E402, F401 - fixtures
    tuned,
    tuned_any,
    tuned_llama,
    tuned_llamas,
    tuned_models,
)
