"""The attention that a run trains with: the fastest of this machine for rows without padding."""

from typing import Any

from finetune.config import TrainConfig
from finetune.train.device import compute_dtype, device_type

ROWS = "quire_rows"  # the name under which transformers knows `row_attention`


def is_padding_free(config: TrainConfig) -> bool:
    """Return whether the rows of a batch are one long sequence, without padding and without attention between them.

    Pairs are padded on the right instead, where causal attention needs no mask. NEFTune scales its noise by the length of
    the rows, so they stay apart. A batch of one has no padding.
    """
    return config.kind == "sft" and (config.packing or (config.batch_size > 1 and not config.neftune_alpha))


def choose_attention(config: TrainConfig) -> str:
    """Return the name of the attention to train with, for transformers' `attn_implementation`.

    Without padding: FlashAttention 2, installed or from the hub by the `kernels` package, on a GPU in 16 bits; else
    `row_attention`. With padding: sdpa, which has a causal kernel of its own.
    """
    import torch

    if not is_padding_free(config):
        return "sdpa"
    if device_type(config) == "cuda" and compute_dtype(config) != torch.float32 and _has_flash_attention():
        return "flash_attention_2"
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(ROWS, row_attention)
    AttentionMaskInterface.register(ROWS, _padding_mask)
    return ROWS


def _has_flash_attention() -> bool:
    from transformers.utils import is_flash_attn_2_available

    return bool(is_flash_attn_2_available(kernels_fallback_ok=True))  # false for FlashAttention 4, of the same name


def row_attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, *, scaling: float | None = None, **kwargs: Any
) -> tuple[Any, None]:
    """Return causal attention within each row of a batch without padding, of shape [1, tokens, heads, size].

    `query` is [1, heads, tokens, size]; `key` and `value` may have fewer heads. `cu_seq_lens_q` are the places where rows
    start and end. Without them the batch is padded or generated, and sdpa computes it.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    places = kwargs.get("cu_seq_lens_q")
    if places is None or attention_mask is not None:
        found, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return found, None
    window = kwargs.get("sliding_window") or 0
    if _has_kernel(query):
        from torch.nn.attention.varlen import varlen_attn

        longest = int(kwargs["max_length_q"])
        query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # [tokens, heads, size]
        rows: Any = varlen_attn(
            query,
            key,
            value,
            places,
            places,
            longest,
            longest,
            scale=scaling,
            window_size=(window - 1, 0),
            enable_gqa=True,
        )
        return rows[None], None
    parts = [
        _one_row(*row, scaling=scaling, window=window)
        for row in zip(*(tensor.split(places.diff().tolist(), dim=2) for tensor in (query, key, value)), strict=True)
    ]
    import torch

    return torch.cat(parts, dim=2).transpose(1, 2), None


def _has_kernel(query: Any) -> bool:
    """Return whether torch's variable-length attention runs on these tensors: FlashAttention 2 in 16 bits, from Ampere on."""
    import torch

    if query.device.type != "cuda" or query.dtype == torch.float32:
        return False
    return torch.version.hip is None and torch.cuda.get_device_capability(query.device)[0] >= 8


def _one_row(query: Any, key: Any, value: Any, *, scaling: float | None, window: int) -> Any:
    import torch

    length, mask = query.shape[2], None
    if 0 < window < length:
        mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril().triu(1 - window)
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, mask, is_causal=mask is None, scale=scaling, enable_gqa=True
    )


def _padding_mask(*args: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
    """Return sdpa's mask for a padded batch; None for rows without padding, whose places separate them."""
    from transformers.masking_utils import sdpa_mask

    return None if attention_mask is None else sdpa_mask(*args, attention_mask=attention_mask, **kwargs)
