"""Log-probabilities equal an independent token-by-token pass, whatever the padding; faulty variants give other values."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from finetune.config import build
from finetune.data.encode import TokenRow, encode_pairs
from finetune.data.records import Conversation, Preference
from finetune.errors import ExportError, FinetuneError
from finetune.evaluate.score import answer_log_probs, pair_log_probs, score_pairs
from finetune.export.held_out import measure_trained
from finetune.runs.manifest import read_manifest
from finetune.train.generate import generate
from finetune.train.load import load_run
from finetune.train.run import train
from finetune.train.sampling import GREEDY, Sampling


@pytest.fixture(scope="module", params=["qwen2", "phi"])
def scored(
    request: pytest.FixtureRequest, models: dict[str, str], preferences: list[Preference]
) -> tuple[Any, list[TokenRow], int]:
    """A model, encoded pairs and the pad token."""
    from finetune.train.load import load_plain

    loaded = load_plain(models[request.param], device="cpu")
    rows, _ = encode_pairs(preferences, loaded.template, loaded.tokenizer, max_length=256)
    return loaded.model, rows, loaded.tokenizer.pad_token_id


def token_by_token(model: Any, prompt: list[int], answer: list[int]) -> list[float]:
    """Log-probability of each answer token from its own forward pass over the tokens before it, without padding or batches."""
    import torch

    found = []
    for place, token in enumerate(answer):
        before = torch.tensor([prompt + answer[:place]])
        with torch.no_grad():
            logits = model(input_ids=before).logits[0, -1].double()
        found.append(float(torch.log_softmax(logits, dim=-1)[token]))
    return found


def test_log_probabilities_equal_an_independent_pass(scored: tuple[Any, list[TokenRow], int]) -> None:
    model, rows, pad = scored
    chosen, rejected = pair_log_probs(model, rows[:2], pad_token_id=pad)
    for index, row in enumerate(rows[:2]):
        assert chosen[index] == pytest.approx(
            sum(token_by_token(model, row["prompt_ids"], row["chosen_ids"])), abs=2e-4
        )
        assert rejected[index] == pytest.approx(
            sum(token_by_token(model, row["prompt_ids"], row["rejected_ids"])), abs=2e-4
        )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("size", [1, 4, 6])
def test_they_do_not_change_with_padding_side_or_batch_size(
    side: str, size: int, scored: tuple[Any, list[TokenRow], int]
) -> None:
    model, rows, pad = scored
    prompts = [row["prompt_ids"] for row in rows]
    answers = [row["chosen_ids"] if i % 2 else row["rejected_ids"] for i, row in enumerate(rows)]
    plain = answer_log_probs(model, prompts, answers, pad_token_id=pad, batch_size=1)
    got = answer_log_probs(model, prompts, answers, pad_token_id=pad, batch_size=size, padding_side=side)
    assert got == pytest.approx(plain, abs=2e-4)


def test_the_trainers_own_log_probabilities_are_the_same(
    scored: tuple[Any, list[TokenRow], int],
) -> None:
    import torch
    from trl.trainer.dpo_trainer import DataCollatorForPreference
    from trl.trainer.utils import add_fused_lm_head

    model, rows, pad = scored
    chosen, rejected = pair_log_probs(model, rows, pad_token_id=pad)
    batch = DataCollatorForPreference(pad_token_id=pad)(rows)
    original = model.forward
    add_fused_lm_head(model)
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    with torch.no_grad():
        fused = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels, fused_lm_head=True
        ).log_probs
    model.forward = original
    assert fused.sum(dim=1).tolist() == pytest.approx([*chosen, *rejected], abs=5e-4)


def test_faults_of_public_scripts_give_other_numbers(scored: tuple[Any, list[TokenRow], int]) -> None:
    """Planted faults: the mask on the prompt, no shift by one, and pads counted all differ from the independent pass.

    The independent pass is what the two tests above hold our numbers to, so each of these faults would fail them.
    """
    import torch

    model, rows, pad = scored
    row = rows[0]
    prompt, answer = row["prompt_ids"], row["chosen_ids"]
    right = sum(token_by_token(model, prompt, answer))
    ids = torch.tensor([prompt + answer + [pad] * 4])
    mask = torch.tensor([[1] * (len(prompt) + len(answer)) + [0] * 4])
    with torch.no_grad():
        log_probs = model(input_ids=ids, attention_mask=mask).logits.log_softmax(dim=-1)
    shifted = log_probs[:, :-1].gather(2, ids[:, 1:, None]).squeeze(2)[0]
    unshifted = log_probs.gather(2, ids[:, :, None]).squeeze(2)[0]
    start, end = len(prompt), len(prompt) + len(answer)
    assert float(shifted[start - 1 : end - 1].sum()) == pytest.approx(right, abs=2e-4)
    assert abs(float(shifted[: start - 1].sum()) - right) > 1  # the mask on the prompt
    assert abs(float(unshifted[start:end].sum()) - right) > 1  # not shifted
    assert abs(float(shifted[start - 1 :].sum()) - right) > 1  # pads counted in
    mean_with_pads = float(shifted[start - 1 :].mean())
    assert abs(mean_with_pads - right / len(answer)) > 0.01  # pads averaged in


def test_a_run_whose_weights_are_not_numbers_neither_answers_nor_is_scored(
    models: dict[str, str],
    conversations: list[Conversation],
    preferences: list[Preference],
    home: Path,
    tmp_path: Path,
) -> None:
    from safetensors.torch import load_file, save_file

    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(record.to_dict()) + "\n" for record in conversations))
    settings = {"model": models["phi"], "device": "cpu", "method": "lora", "max_steps": 1, "name": "broken"}
    folder = train(build(settings, {"data": [str(rows)]}))
    path = folder / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = math.nan
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(FinetuneError, match=r"(?s)log-probabilities of broken .* are not numbers"):
        score_pairs("broken", preferences)
    with pytest.raises(ExportError, match="train it again"):
        measure_trained("broken", read_manifest("broken"))
    for sampling in (GREEDY, Sampling(temperature=1.0)):
        with pytest.raises(FinetuneError, match="scores of token 1 of its answer are not numbers"):
            generate(load_run("broken"), conversations[0].messages[:1], max_new_tokens=2, sampling=sampling)
