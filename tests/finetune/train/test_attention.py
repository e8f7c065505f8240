"""Rows without padding give the losses of padded rows, with every attention that can separate them."""

from pathlib import Path
from typing import Any

import pytest

from finetune.config import build
from finetune.data.records import Conversation
from finetune.train import attention
from finetune.train.attention import ROWS, choose_attention, is_padding_free
from finetune.train.complete import complete
from finetune.train.context import Run
from finetune.train.load import add_adapter, load_base, load_tokenizer, template_of
from finetune.train.rows import prepare
from finetune.train.run import build_trainer


def test_installed_flash_attention_comes_first_and_only_in_16_bits_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import utils

    sft = build({"model": "m"})
    asked: list[bool] = []

    def available(kernels_fallback_ok: bool = False) -> bool:
        asked.append(kernels_fallback_ok)
        return True

    monkeypatch.setattr(utils, "is_flash_attn_2_available", available)
    assert choose_attention(build({"model": "m", "device": "cpu"})) == ROWS
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    assert choose_attention(sft) == "flash_attention_2"
    assert asked[-1]  # a kernel from the hub will do, where the package `kernels` is installed
    assert choose_attention(build({"model": "m", "method": "lora", "dtype": "fp32"})) == ROWS
    monkeypatch.setattr(utils, "is_flash_attn_2_available", lambda **_: False)
    assert choose_attention(sft) == ROWS


def test_pairs_are_padded_and_rows_with_noise_stay_apart() -> None:
    assert is_padding_free(build({"packing": True})) and is_padding_free(build({}))
    assert not is_padding_free(build({"neftune_alpha": 5.0})) and not is_padding_free(build({"batch_size": 1}))
    pairs = build({"stage": "dpo"})
    assert (is_padding_free(pairs), choose_attention(pairs)) == (False, "sdpa")


def _rows(heads: int, key_heads: int, lengths: list[int]) -> tuple[list[Any], dict[str, Any]]:
    import torch

    torch.manual_seed(0)
    tokens = sum(lengths)
    tensors = [torch.randn(1, count, tokens, 16) for count in (heads, key_heads, key_heads)]
    places = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    return tensors, {"cu_seq_lens_q": places, "max_length_q": max(lengths), "scaling": 0.25}


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("kernel", [False, True])
def test_rows_attend_within_themselves_alone(
    kernel: bool, key_heads: int, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare with a dense mask. torch's kernel needs a GPU: its definition, token by token, stands in for it here."""
    import torch
    from torch.nn.attention import varlen

    def varlen_attn(query: Any, key: Any, value: Any, cu_q: Any, cu_k: Any, max_q: int, max_k: int, *, scale: float,
                    window_size: tuple[int, int], enable_gqa: bool) -> Any:  # fmt: skip
        assert enable_gqa and window_size[1] == 0 and max_q == max_k == int(cu_q.diff().max())
        key, value = (tensor.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for tensor in (key, value))
        found = torch.empty_like(query)
        for start, end in zip(cu_q.tolist(), cu_k.tolist()[1:], strict=False):
            for i in range(start, end):
                first = start if window_size[0] < 0 else max(start, i - window_size[0])
                weights = (torch.einsum("hd,thd->ht", query[i], key[first : i + 1]) * scale).softmax(-1)
                found[i] = torch.einsum("ht,thd->hd", weights, value[first : i + 1])
        return found

    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    monkeypatch.setattr(attention, "_has_kernel", lambda query: kernel)
    lengths = [5, 1, 7]
    (query, key, value), kwargs = _rows(4, key_heads, lengths)
    found, _ = attention.row_attention(None, query, key, value, None, sliding_window=window, **kwargs)
    mask = torch.block_diag(*(torch.ones(n, n).tril().triu(1 - (window or n)) for n in lengths)).bool()
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=0.25, enable_gqa=True)
    assert found.shape == (1, 13, 4, 16)
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-6)


@pytest.mark.parametrize("kind", ["qwen2", "phi"])
def test_a_batch_without_padding_has_the_loss_and_gradients_of_a_padded_one(
    kind: str, models: dict[str, str], conversations: list[Conversation], home: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from finetune.train import sft

    found = []
    for padding_free in (True, False):
        config = complete(build({"model": models[kind], "device": "cpu", "method": "lora", "batch_size": 6, "rank": 4,
                                 "gradient_checkpointing": True}))  # fmt: skip
        tokenizer = load_tokenizer(config.model)
        template = template_of(config, tokenizer)
        rows = prepare(config, template, tokenizer, conversations)
        run = Run(config, tmp_path, template, tokenizer, lambda line: None)
        monkeypatch.setattr(sft, "is_padding_free", lambda _, answer=padding_free: answer)
        trainer, _ = build_trainer(run, add_adapter(load_base(config), config), None, rows)
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(6)])
        assert ("attention_mask" in batch) != padding_free
        assert batch["input_ids"].shape[0] == (1 if padding_free else 6)
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, dict(batch))
        loss.backward()
        grads = {n: p.grad for n, p in trainer.model.named_parameters() if "lora_B" in n}
        found.append((float(loss.detach()), grads))
    (loss, grads), (padded_loss, padded_grads) = found
    assert loss == pytest.approx(padded_loss, abs=1e-5)
    assert all(grads[name].allclose(padded_grads[name], atol=1e-5) for name in grads)
    assert sum(float(grad.abs().sum()) for grad in grads.values()) > 0
