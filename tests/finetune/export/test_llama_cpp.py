"""A GGUF file run by llama.cpp."""

from pathlib import Path

import numpy as np
import torch

from finetune.export.gguf import write_gguf
from finetune.export.llama_cpp import Engine
from tests.finetune.export_home import Tuned


def test_probabilities_are_those_of_transformers_at_every_position_of_any_tokens(tuned: Tuned, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    path = write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template, kind="F32")
    ids = np.random.default_rng(0).integers(0, 300, 40).tolist()  # halves of characters among them
    model = AutoModelForCausalLM.from_pretrained(tuned.merged, dtype=torch.float32)
    with torch.no_grad():
        wanted = torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1).numpy()
    with Engine(path, context=512) as engine:
        for position in range(40):
            found = engine.next_token_log_probs(ids[: position + 1])
            assert sorted(found.ids) == list(range(wanted.shape[1]))
            assert np.all(np.diff(found.log_probs) <= 0)
            likely = found.log_probs > -12
            assert np.allclose(found.log_probs[likely], wanted[position][found.ids][likely], atol=0.05)


def test_it_generates_the_trained_answer_and_ends(tuned: Tuned, tmp_path: Path) -> None:
    path = write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template, kind="F16")
    case = tuned.reference.cases[0]
    with Engine(path, context=512) as engine:
        found = engine.generate(case.prompt, max_tokens=32)
    assert found.text.strip() == "The cow says moo." and found.ended
    assert found.ids[: len(case.answer)] == case.answer
