"""An adapter merged into its base one matrix at a time, so the largest matrix sets the memory needed.

A QLoRA adapter was trained on the NF4 weights. Merged into these, dequantized, the model stays the trained one, with the
error of NF4; merged into the full-precision weights, it loses that error and gains numbers that it was never trained with.
Which of the two is better is measured on held-out rows.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finetune.errors import AlreadyExists, UnsupportedModel, WrongBase
from finetune.export.gguf import stops_of
from finetune.export.held_out import HeldOut, measure_trained
from finetune.export.lora import LoraPair, check_base, find_base, read_adapter
from finetune.export.streamed import open_streamed
from finetune.runs.manifest import find_run, read_manifest, trained_dtype
from finetune.safetensors_io import (
    ITEM_BYTES,
    SHARD_BYTES,
    Floats,
    ShardWriter,
    Tensor,
    check_space,
    from_float,
    has_own_head,
    list_tensors,
    plan_shards,
)
from finetune.templates.find import load_template, save_template
from finetune.templates.jinja_and_go import to_jinja
from finetune.templates.template import Template
from quire import UsageError, strict_json

BASES = {"dequantized": "dequantised", "full-precision": "original"}  # and how --onto and merge.json spell them
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
MERGE_FILE = "merge.json"  # written last: its presence means the folder is complete
MAX_MERGE_KL = 0.01  # nats per token from the trained model; a merge beyond it has lost something
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


@dataclass(slots=True)
class MergeReport:
    """What was merged into which base, and what it cost on held-out text."""

    run: str
    base_folder: str
    base: str  # a key of BASES
    dtype: str
    merged: int = 0  # weights that an adapter changed
    held_out: dict[str, dict[str, float]] = field(default_factory=dict)  # nll and KL in nats per trained token
    choice: str = ""  # why this base; empty where it was given, or is the only one

    def to_dict(self) -> dict[str, Any]:
        """Return the report as `merge.json` stores it."""
        return {
            "run": self.run,
            "base": self.base_folder,
            "onto": BASES[self.base],
            "dtype": self.dtype,
            "merged": self.merged,
            "held_out": self.held_out,
            "choice": self.choice,
        }


def merge(
    run: str | Path,
    out: Path,
    *,
    base: str = "",
    base_folder: str = "",
    dtype: str = "",
    measure: bool = True,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[str], None] = lambda line: None,
) -> MergeReport:
    """Write a run's model, with the adapter merged into it, to the new folder `out`.

    `base` is, for QLoRA, "dequantized", "full-precision", or empty: the one with the lower loss on held-out rows, and
    dequantized where both are equal or the run's data can no longer be read. `base_folder` is a folder with the base model
    (empty: where the run had it), `dtype` float32, float16 or bfloat16 (empty: that of the base). With `measure` the report includes
    the cost on held-out text. Raises AlreadyExists, UnfinishedRun, NoSuchRun, WrongBase, UnsupportedModel or UsageError.
    """
    if base and base not in BASES:
        raise UsageError(f"base is {base!r}", f"use one of {', '.join(BASES)}")
    if dtype and dtype not in DTYPES:
        raise UsageError(f"dtype is {dtype!r}", f"use one of {', '.join(DTYPES)}")
    if out.exists():
        raise AlreadyExists(f"{out} already exists", "choose another --out, or remove it")
    folder, manifest = find_run(run), read_manifest(run)
    adapter = folder / manifest.adapter
    weights = adapter if manifest.method == "full" else find_base(manifest, base_folder)
    pairs = {} if manifest.method == "full" else read_adapter(adapter)
    tensors = list_tensors(weights)
    check_base(pairs, tensors, adapter, weights)
    stored = DTYPES[dtype] if dtype else next(iter(tensors.values())).dtype
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    check_space(out, sum(t.size for t in tensors.values()) * ITEM_BYTES[stored])
    is_quantized = manifest.method == "qlora"
    held_out = None
    if measure or (is_quantized and not base):
        progress("measuring the trained model on held-out rows")
        held_out = measure_trained(run, manifest, base_folder=base_folder)
    cost = held_out.cost if held_out else {}
    base, choice = _choose_base(held_out) if is_quantized and not base else (base, "")
    report = MergeReport(str(folder), str(weights), base if is_quantized else "full-precision", stored, 0, cost, choice)
    if choice:
        progress(f"merging into the {base} base: {choice}")
    if not measure:
        held_out = None  # it holds an output head
    nf4_from = trained_dtype(folder, manifest) if report.base == "dequantized" else None
    part.mkdir(parents=True)
    try:
        for number, total, path, shard in _shards(part, tensors, stored, shard_bytes):
            progress(f"shard {number} of {total}: {path.name}")
            report.merged += _write_shard(path, shard, stored, pairs, nf4_from)
        _write_configuration(part, weights, adapter, stored, own_head=has_own_head(tensors))
        if held_out:
            progress("measuring the merged model on held-out rows")
            held_out.add("merged", open_streamed(part, device=held_out.device))
        (part / MERGE_FILE).write_text(strict_json(report.to_dict(), indent=2) + "\n", encoding="utf-8")
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return report


def _write_shard(
    path: Path, tensors: list[Tensor], stored: str, pairs: dict[str, LoraPair], nf4_from: str | None
) -> int:
    """Write one file of the merged model; return how many of its weights an adapter changed."""
    with ShardWriter(path, [(tensor.name, stored, tensor.shape) for tensor in tensors]) as writer:
        for tensor in tensors:
            for piece in merged_pieces(tensor, pairs.get(tensor.name), nf4_from=nf4_from):
                writer.write(from_float(piece, stored))
    return sum(tensor.name in pairs for tensor in tensors)


def base_called(onto: str) -> str:
    """Return the base that `--onto`, `merge.json` and records spell this way; empty for an empty one."""
    return {spelling: base for base, spelling in BASES.items()}.get(onto, "")


def _choose_base(held_out: HeldOut | None) -> tuple[str, str]:
    """Return the base that a QLoRA adapter is merged into, and why."""
    if held_out is None:
        return "dequantized", "the run's data can no longer be read, so the loss on either base is not known"
    return "full-precision" if held_out.favors_full_precision else "dequantized", held_out.choice()


def read_merge_report(run: str | Path, merged: Path) -> dict[str, Any]:
    """Return the `merge.json` of a merged folder; raises WrongBase unless it was merged from this run."""
    try:
        report = dict(json.loads((merged / MERGE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as exc:
        raise WrongBase(
            f"{merged} was not written by `quire finetune merge`", "pass a folder that was, or leave it out"
        ) from exc
    merged_from, name = Path(str(report.get("run"))).name, find_run(run).name
    if merged_from != name:
        raise WrongBase(
            f"{merged} was merged from the run {merged_from!r}, not from {name!r}", "pass the folder of this run"
        )
    return report


def merged_pieces(tensor: Tensor, pair: LoraPair | None, *, nf4_from: str | None) -> Iterator[Floats]:
    """Yield a weight, merged with its adapter, in pieces of whole rows.

    `nf4_from` names the type from which linear weights are first rounded to NF4, as 4-bit loading does; None: not.
    """
    rounded = nf4_from is not None and len(tensor.shape) == 2 and tensor.name.startswith("model.layers.")
    if pair is None and not rounded:
        yield from tensor.pieces()
        return
    weight = tensor.read()
    if rounded and nf4_from is not None:
        weight = nf4_rounded(weight, nf4_from)
    yield weight if pair is None else weight + pair.delta()


def nf4_rounded(weight: Floats, dtype: str) -> Floats:
    """Return a matrix rounded to NF4 with double quantization, as bitsandbytes loads it, and dequantized to fp32."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    given = torch.from_numpy(np.ascontiguousarray(weight)).to(getattr(torch, dtype))
    packed, state = quantize_4bit(given, blocksize=64, compress_statistics=True, quant_type="nf4")
    rounded: Floats = dequantize_4bit(packed, state).float().numpy()
    return rounded


def _shards(
    folder: Path, tensors: dict[str, Tensor], dtype: str, shard_bytes: int
) -> Iterator[tuple[int, int, Path, list[Tensor]]]:
    """Yield number, count, path and tensors of each file of the merged model; several files get an index."""
    shards = plan_shards(tensors, dtype, shard_bytes)
    names = ["model.safetensors"]
    if len(shards) > 1:
        names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
        index = {
            "metadata": {"total_size": sum(t.size * ITEM_BYTES[dtype] for t in tensors.values())},
            "weight_map": {t.name: name for name, shard in zip(names, shards, strict=True) for t in shard},
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    for number, (name, shard) in enumerate(zip(names, shards, strict=True), start=1):
        yield number, len(shards), folder / name, shard


def _write_configuration(out: Path, base: Path, adapter: Path, dtype: str, *, own_head: bool) -> None:
    """Write config, tokenizer, chat template and end tokens beside the weights."""
    template = load_template(adapter)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    for key in ("quantization_config", "_name_or_path", "torch_dtype"):
        config.pop(key, None)
    if own_head:
        config["tie_word_embeddings"] = False  # other programs would answer with the embedding instead
    config["dtype"] = next(name for name, short in DTYPES.items() if short == dtype)
    for name in TOKENIZER_FILES:
        source = adapter / name if (adapter / name).is_file() else base / name
        if source.is_file():
            shutil.copyfile(source, out / name)
    save_template(template, out)
    (out / "chat_template.jinja").write_text(to_jinja(template), encoding="utf-8")
    ends = end_ids(out, template)
    config["eos_token_id"] = ends[0]
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    generation = {"eos_token_id": ends, "do_sample": False}
    (out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")


def end_ids(model: Path, template: Template) -> list[int]:
    """Return the ids of the template's end token and of those stops that are tokens, the end token first."""
    data = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    added = {entry["content"]: int(entry["id"]) for entry in data["added_tokens"]}
    found = [added[text] for text in stops_of(template) if text in added]
    if not found or template.end_token not in added:
        raise UnsupportedModel(
            f"{model}: the tokenizer does not have the end token {template.end_token!r}",
            "use the template that the run was trained with",
        )
    return found
