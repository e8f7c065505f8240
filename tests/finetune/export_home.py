"""Tuned tiny models and their merged folders, made once a session for the tests of export."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from finetune.data.records import Conversation
from finetune.export.reference import Reference
from finetune.templates.template import Template

TEMPLATES = {"qwen2": "chatml", "phi": "phi-2"}  # those of Llama and Mistral have the names of their tiny models


@dataclass(frozen=True)
class Tuned:
    """A QLoRA run of a tiny model, its base, its merged folder (fp32) and the reference on it."""

    kind: str
    home: Path
    run: Path
    base: Path
    merged: Path
    template: Template
    reference: Reference


def make_tuned(kind: str, home: Path, base: str, conversations: list[Conversation], *, epochs: float = 60.0) -> Tuned:
    """Teach a tiny model six answers by QLoRA, and merge it."""
    import json

    from finetune.config import build
    from finetune.export.merge import merge
    from finetune.export.reference import compute_reference
    from finetune.templates.builtin import get_template
    from finetune.train.run import train

    data = home / "animals.json"
    rows = [{"instruction": c.messages[0].content, "input": "", "output": c.messages[1].content} for c in conversations]
    data.write_text(json.dumps(rows), encoding="utf-8")
    run = train(
        build(
            {
                "model": base,
                "template": TEMPLATES.get(kind, kind),
                "name": f"{kind}-tuned",
                "method": "qlora",
                "device": "cpu",
                "optimizer": "adamw_torch",
                "schedule": "constant_with_warmup",
                "gradient_checkpointing": False,
                "batch_size": 6,
                "accumulation": 1,
                "max_length": 128,
                "epochs": epochs,
                "learning_rate": 4e-3,
                "stop_loss": 0.02,
                "prompts": ("What does the cow say?", "What does the dog say?"),
                "data": (str(data),),
            }
        )
    )
    merged = home / f"{kind}-merged"
    merge(run, merged, base="dequantized", dtype="float32", measure=False)
    return Tuned(
        kind, home, run, Path(base), merged, get_template(TEMPLATES.get(kind, kind)), compute_reference(run, merged)
    )


@pytest.fixture(scope="session")
def tuned_models(
    models: dict[str, str], session_home: Path, conversations: list[Conversation]
) -> Iterator[dict[str, Tuned]]:
    """Tuned models by kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUIRE_HOME", str(session_home))
        patch.setitem(os.environ, "TOKENIZERS_PARALLELISM", "false")
        yield {kind: make_tuned(kind, session_home, models[kind], conversations) for kind in ("qwen2", "phi")}


@pytest.fixture(params=["qwen2", "phi"])
def tuned(request: pytest.FixtureRequest, tuned_models: dict[str, Tuned], monkeypatch: pytest.MonkeyPatch) -> Tuned:
    """A tuned model of each kind in turn, its home being the home folder."""
    found = tuned_models[request.param]
    monkeypatch.setenv("QUIRE_HOME", str(found.home))
    return found


@pytest.fixture(scope="session")
def tuned_llamas(
    tiny_llamas: dict[str, str], session_home: Path, conversations: list[Conversation]
) -> Iterator[dict[str, Tuned]]:
    """Llama and Mistral models after a few steps: enough to change the weights, not to learn the answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUIRE_HOME", str(session_home))
        patch.setitem(os.environ, "TOKENIZERS_PARALLELISM", "false")
        yield {k: make_tuned(k, session_home, base, conversations, epochs=8.0) for k, base in tiny_llamas.items()}


@pytest.fixture(params=["llama-2", "llama-3", "mistral"])
def tuned_llama(
    request: pytest.FixtureRequest, tuned_llamas: dict[str, Tuned], monkeypatch: pytest.MonkeyPatch
) -> Tuned:
    """Each of them in turn, its home being the home folder."""
    found = tuned_llamas[request.param]
    monkeypatch.setenv("QUIRE_HOME", str(found.home))
    return found


@pytest.fixture(params=["qwen2", "phi", "llama-2", "llama-3", "mistral"])
def tuned_any(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tuned:
    """A tuned model of every kind in turn, its home being the home folder."""
    group = "tuned_models" if request.param in TEMPLATES else "tuned_llamas"
    found: Tuned = request.getfixturevalue(group)[request.param]
    monkeypatch.setenv("QUIRE_HOME", str(found.home))
    return found
