"""What llama.cpp is asked of a GGUF file."""

from pathlib import Path

import numpy as np
import torch

from finetune.export.engine import Engine
from finetune.export.gguf import write_gguf
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
            found = engine.spread(ids[: position + 1])
            assert sorted(found.ids) == list(range(wanted.shape[1]))
            assert np.all(np.diff(found.log_probs) <= 0)
            likely = found.log_probs > -12
            assert np.allclose(found.log_probs[likely], wanted[position][found.ids][likely], atol=0.05)


def test_it_writes_what_was_taught_and_ends(tuned: Tuned, tmp_path: Path) -> None:
    path = write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template, kind="F16")
    case = tuned.reference.cases[0]
    with Engine(path, context=512) as engine:
        found = engine.write(case.prompt, max_tokens=32)
    assert found.text.strip() == "The cow says moo." and found.ended
    assert found.ids[: len(case.answer)] == case.answer


def test_a_server_that_tells_only_text_is_compared_as_well(tuned: Tuned, tmp_path: Path) -> None:
    from finetune.export.parity import compare_served

    path = write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template, kind="F16")
    ends = tuned.reference.tokenizer.convert_tokens_to_ids(tuned.template.end_token)
    with Engine(path, context=512) as engine:

        def served(prompt: str) -> list[tuple[str, float]]:
            found = engine.spread(engine.tokens(prompt), top=20)
            if found.ids[0] == ends:
                return []  # as Ollama does where the model ends its answer
            words = [tuned.reference.tokenizer.decode([int(i)]) for i in found.ids]
            return list(zip(words, found.log_probs.tolist(), strict=True))

        assert compare_served(tuned.reference, served, kind="F16").differences == {}
        swapped = compare_served(tuned.reference, lambda prompt: [("x", -0.1), *served(prompt)[1:]], kind="F16")
    assert "weights" in swapped.differences
