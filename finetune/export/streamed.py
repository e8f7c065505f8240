"""A model run with one layer's weights in memory at a time, whatever the size of the model.

A check of an export needs exact log-probabilities in fp32, and the fp32 weights of 7B are 30 GB. Here the memory needed is
the largest layer, the embedding table and the values at the chosen positions. Rows go through a layer together, so that it
is read once for all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetune.errors import UnsupportedModel
from finetune.export.lora import find_base
from finetune.runs.manifest import find_run, read_manifest, trained_dtype
from finetune.safetensors_io import Tensor, list_tensors
from finetune.train.device import own_device, return_large_blocks

MAX_TOKENS = 4096  # of a batch, padding included

Place = tuple[Any, str, Tensor]  # a module, the name of one of its parameters, and where its values are stored


def open_streamed(folder: Path, *, adapter: Path | None = None, device: str = "cpu") -> Any:
    """Return the model in a folder as a module whose layers read their fp32 weights when they run and drop them after.

    It computes on `device`. `adapter` is a PEFT folder that is applied on top, unmerged, by PEFT. Raises UnsupportedModel when the folder lacks a
    weight of the model.
    """
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    return_large_blocks()
    config = AutoConfig.from_pretrained(folder)
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    model.eval()
    model.streamed_to = torch.device(device)
    for module in model.modules():
        for name, value in module._buffers.items():
            module._buffers[name] = None if value is None else value.to(device)
    tensors = list_tensors(folder)
    names = {id(module): name for name, module in model.named_modules()}
    tied = bool(getattr(config, "tie_word_embeddings", False))
    for unit in _units(model):
        _stream(unit, list(_places(unit, names[id(unit)], tensors, folder, tied=tied)), device)
    if adapter is not None:
        _apply_adapter(model, adapter, device)
    return model


def _apply_adapter(model: Any, folder: Path, device: str) -> None:
    """Put PEFT's layers with the adapter's weights around the model's linear modules, whose own weights stay streamed."""
    import torch
    from peft import PeftConfig, PeftModel, load_peft_weights

    wrapped = PeftModel(model, PeftConfig.from_pretrained(str(folder)))
    weights = load_peft_weights(str(folder), device="cpu")
    # set one by one: PEFT's own loading moves them to the device of the base's weights, which have none
    for name, module in wrapped.named_modules():
        if name.endswith((".lora_A.default", ".lora_B.default")):
            stored = weights.pop(f"{name.removesuffix('.default')}.weight", None)
            if stored is None:
                raise UnsupportedModel(f"{folder} has no weight for {name}", "pass a complete adapter")
            module.weight = torch.nn.Parameter(stored.float().to(device), requires_grad=False)
    if weights:
        raise UnsupportedModel(f"{folder} has {next(iter(weights))}, which is no part of the model", "pass its base")
    wrapped.eval()


def open_trained(run: str | Path, *, full_precision: bool = False, base_folder: str = "") -> Any:
    """Return the model of a run as it was trained, adapter unmerged: a 4-bit base in memory, any other streamed.

    It is on the run's own device where that is visible.
    `full_precision` puts the adapter of a QLoRA run on the base in full precision. `base_folder` is where the base model
    is now (empty: where the run had it). Raises WrongBase, NoSuchRun or UnfinishedRun.
    """
    from finetune.train.load import load_run

    return_large_blocks()
    folder, manifest = find_run(run), read_manifest(run)
    adapter, device = folder / manifest.adapter, own_device(manifest.device)
    if manifest.method == "full":
        return open_streamed(adapter, device=device)
    base = find_base(manifest, base_folder)
    if manifest.method == "qlora" and not full_precision:
        # rounded to NF4 from the type in which it was trained; fp32 holds every fp16 value, and CPUs do not compute in fp16
        half, place = ("fp16", "auto") if device == "cuda" else ("fp32", "cpu")
        dtype = "bf16" if trained_dtype(folder, manifest) == "bfloat16" else half
        return _computing_in_fp32(load_run(run, device=place, base=str(base), dtype=dtype, mapped=False).model)
    return open_streamed(base, adapter=adapter, device=device)


def _computing_in_fp32(model: Any) -> Any:
    """Return a model with 4-bit weights, which stay as they are; all else becomes fp32."""
    import torch

    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.compute_dtype, module.weight.quant_state.dtype = torch.float32, torch.float32
    for value in (*model.parameters(), *model.buffers()):
        if value.is_floating_point():
            value.data = value.data.float()
    return model


def _units(model: Any) -> Iterator[Any]:
    """Yield the modules whose weights are read together: each layer, and what is before and after the layers."""
    for child in model.get_decoder().children():
        yield from child if type(child).__name__ == "ModuleList" else [child]
    yield model.get_output_embeddings()


def _places(unit: Any, prefix: str, tensors: dict[str, Tensor], folder: Path, *, tied: bool) -> Iterator[Place]:
    for name, module in unit.named_modules(prefix=prefix):
        for leaf, value in module._parameters.items():
            if value is None:
                continue
            full = f"{name}.{leaf}"
            if full == "lm_head.weight" and full not in tensors and tied:
                full = "model.embed_tokens.weight"
            if full not in tensors:
                raise UnsupportedModel(f"{folder} has no tensor {full}", "pass the folder of a complete model")
            yield module, leaf, tensors[full]


def _stream(unit: Any, places: Sequence[Place], device: str) -> None:
    empty = [module._parameters[leaf] for module, leaf, _ in places]

    def load(*_: Any) -> None:
        _fill(places, device)

    def drop(*_: Any) -> None:
        for (module, leaf, _tensor), value in zip(places, empty, strict=True):
            module._parameters[leaf] = value

    if places:
        unit.register_forward_pre_hook(load)
        unit.register_forward_hook(drop)


def _fill(places: Iterable[Place], device: str) -> None:
    import torch

    for module, leaf, tensor in places:
        module._parameters[leaf] = torch.nn.Parameter(_mapped(tensor, device), requires_grad=False)


def _mapped(tensor: Tensor, device: str) -> Any:
    """Return a stored tensor in fp32; on a CPU, one stored as F32 is the mapped file itself, without memory of its own."""
    import torch

    kind = {"F32": np.float32, "F16": np.float16, "BF16": np.int16}[tensor.dtype]
    # mode c: torch wants memory that could be written to
    stored = torch.from_numpy(np.memmap(tensor.path, kind, mode="c", offset=tensor.offset, shape=tensor.shape))
    return (stored.view(torch.bfloat16) if tensor.dtype == "BF16" else stored).to(device).float()


# -- what is asked of a model, streamed or not


def hidden_states(model: Any, rows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> list[Any]:
    """Return for each row of token ids the last hidden states at its positions, [positions, hidden], in fp32."""
    import torch

    decoder, device = _plain(model).get_decoder(), _device(model)
    found: dict[int, Any] = {}
    with torch.inference_mode():
        for batch in _batches([len(row) for row in rows]):
            width = max(len(rows[number]) for number in batch)
            # padded on the right, without a mask: attention is causal, so padding cannot reach the tokens before it
            padded = [[*rows[number], *[0] * (width - len(rows[number]))] for number in batch]
            ids = torch.tensor(padded, device=device)
            hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state
            for place, number in enumerate(batch):
                found[number] = hidden[place, list(positions[number])].float().clone()
    return [found[number] for number in range(len(rows))]


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the numbers of the rows that go through the model together: rows of similar lengths, which need little padding."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[number] * (len(batch) + 1) > MAX_TOKENS:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def head_of(model: Any) -> Callable[[Any], Any]:
    """Return the function from hidden states [positions, hidden] to log-probabilities [positions, vocabulary].

    It holds the weights of the output head while it exists.
    """
    import torch

    head = _plain(model).get_output_embeddings()
    for hook in head._forward_pre_hooks.values():
        hook(head, ())
    weight, bias = head.weight.float(), None if head.bias is None else head.bias.float()
    for hook in head._forward_hooks.values():
        hook(head, (), None)

    def log_probs(hidden: Any) -> Any:
        with torch.inference_mode():
            logits = torch.nn.functional.linear(hidden, weight, bias)
            return logits.sub_(logits.logsumexp(dim=-1, keepdim=True))

    return log_probs


def greedy(
    model: Any, prompts: Sequence[Sequence[int]], *, ends: Sequence[int], max_tokens: int
) -> list[tuple[list[int], bool]]:
    """Return for each prompt the greedy answer as ids without its end token, and whether the model ended it.

    All prompts are answered together: a streamed model is read once a token for all of them.
    """
    import torch

    model = _plain(model)
    width = max(len(prompt) for prompt in prompts)
    device = _device(model)
    ids = torch.tensor([[*[0] * (width - len(p)), *p] for p in prompts], device=device)
    mask = torch.tensor([[*[0] * (width - len(p)), *[1] * len(p)] for p in prompts], device=device)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    answers: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    cache = None
    with torch.inference_mode():
        for _ in range(max_tokens):
            out = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = out.past_key_values
            chosen = out.logits[:, -1].argmax(dim=-1)
            for row, token in enumerate(chosen.tolist()):
                ended[row] = ended[row] or token in ends
                if not ended[row]:
                    answers[row].append(token)
            if all(ended):
                break
            ids, positions = chosen[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    return list(zip(answers, ended, strict=True))


def _device(model: Any) -> Any:
    """Return where a model computes: between passes, the weights of a streamed one are nowhere."""
    plain = _plain(model)
    return getattr(plain, "streamed_to", plain.device)


def _plain(model: Any) -> Any:
    """Return the model inside PEFT's wrapper, which holds the adapter's layers."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
