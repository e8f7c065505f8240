"""An adapter folded into its base, matrix by matrix: memory is bound by one matrix, whatever the size of the model.

The default base is the one that was trained on: for QLoRA the NF4 weights, dequantised. Folded into the original weights
instead, the adapter meets numbers it was never trained with; what each costs is measured on held-out text and told.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finetune.errors import AlreadyExists, ExportError, UnsupportedModel, WrongBase
from finetune.export.hub import fetched_model
from finetune.export.safetensors_io import (
    ITEM_BYTES,
    SHARD_BYTES,
    Floats,
    ShardWriter,
    Tensor,
    check_space,
    from_float,
    plan_shards,
    tensors_of,
)
from finetune.runs.manifest import RunManifest, find_run, read_manifest
from finetune.templates.find import load_template, save_template
from finetune.templates.languages import to_jinja
from finetune.templates.template import Template
from quire import QuireError, UsageError

ONTO = ("dequantised", "original")
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
MERGE_FILE = "merge.json"  # written last: a folder with it is whole
NEAR = 0.01  # nats a token; a merge that parts further from what was trained has lost something
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Pair:
    """The two low-rank matrices on one weight and the scale of their product."""

    a: Tensor  # [rank, inputs]
    b: Tensor  # [outputs, rank]
    scale: float

    def update(self, rows: slice) -> Floats:
        """Compute rows of the change to the weight."""
        product: Floats = self.scale * (self.b.read()[rows] @ self.a.read())
        return product


@dataclass(slots=True)
class MergeReport:
    """What was merged, onto what, and what it cost on held-out text."""

    run: str
    base: str
    onto: str
    dtype: str
    merged: int = 0  # weights that an adapter changed
    held_out: dict[str, dict[str, float]] = field(default_factory=dict)  # nll and KL in nats a trained token

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain values."""
        return asdict(self)


Say = Callable[[str], None]


def merge(
    run: str | Path,
    out: Path,
    *,
    onto: str = "dequantised",
    base: str = "",
    dtype: str = "",
    measure: bool = True,
    shard_bytes: int = SHARD_BYTES,
    say: Say = lambda line: None,
) -> MergeReport:
    """Write a run's model, adapter folded in, into a new folder `out`.

    `base` names a folder with the base model when it is no longer where the run had it; `dtype` is float32, float16 or
    bfloat16 (empty: the base's own). Raises AlreadyExists, UnfinishedRun, NoSuchRun, WrongBase or UnsupportedModel.
    """
    if onto not in ONTO:
        raise UsageError(f"onto is {onto!r}", f"use one of {', '.join(ONTO)}")
    if dtype and dtype not in DTYPES:
        raise UsageError(f"dtype is {dtype!r}", f"use one of {', '.join(DTYPES)}")
    if out.exists():
        raise AlreadyExists(f"{out} is there already", "give another --out, or remove it")
    folder, manifest = find_run(run), read_manifest(run)
    adapter = folder / manifest.adapter
    weights = adapter if manifest.method == "full" else base_folder(manifest, base)
    pairs = {} if manifest.method == "full" else read_adapter(adapter)
    nf4 = manifest.method == "qlora" and onto == "dequantised"
    tensors = tensors_of(weights)
    check_base(pairs, tensors, adapter, weights)
    stored = DTYPES[dtype] if dtype else next(iter(tensors.values())).dtype
    report = MergeReport(str(folder), str(weights), onto if manifest.method == "qlora" else "original", stored)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    check_space(out, sum(t.size for t in tensors.values()) * ITEM_BYTES[stored])
    part.mkdir(parents=True)
    try:
        for number, total, path, shard in _shards(part, tensors, stored, shard_bytes):
            say(f"shard {number} of {total}: {path.name}")
            with ShardWriter(path, [(t.name, stored, t.shape) for t in shard]) as writer:
                for tensor in shard:
                    for piece in merged_rows(
                        tensor, pairs.get(tensor.name), nf4=nf4, dtype=_trained_dtype(folder, manifest)
                    ):
                        writer.write(from_float(piece, stored))
                    report.merged += tensor.name in pairs
        _write_rest(part, weights, adapter, stored)
        if measure:
            say("measuring on held-out text")
            report.held_out = held_out_cost(run, manifest, part, base=base)
        (part / MERGE_FILE).write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return report


def base_folder(manifest: RunManifest, given: str = "") -> Path:
    """Find the folder of the model that a run's adapter sits on; a hub name is fetched into the hub's cache.

    Raises WrongBase when it cannot be had.
    """
    name = given or manifest.base
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    try:
        return fetched_model(name, str(manifest.config.get("revision") or ""))
    except QuireError as exc:
        raise WrongBase(
            f"the base model {name!r} is no folder, and cannot be fetched: {exc}",
            "give its folder with --base, or go on while there is a network",
        ) from exc


def read_adapter(folder: Path) -> dict[str, Pair]:
    """Read a PEFT LoRA adapter: pairs of matrices by the name of the weight they change.

    Raises UnsupportedModel for anything that is not a plain low-rank sum.
    """
    path = folder / "adapter_config.json"
    if not path.is_file():
        raise UnsupportedModel(f"{folder} has no adapter_config.json", "give the folder of a finished run")
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
        rank = config["r"]
        scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    except (ValueError, TypeError, KeyError) as exc:
        raise UnsupportedModel(f"{path} cannot be read: {exc}", "copy it again, or train again") from exc
    for key in (
        "use_dora",
        "modules_to_save",
        "rank_pattern",
        "alpha_pattern",
        "fan_in_fan_out",
        "trainable_token_indices",
    ):
        if config.get(key):
            raise UnsupportedModel(f"{path}: {key} is set", "only plain LoRA adapters can be merged piece by piece")
    if config.get("bias", "none") != "none":
        raise UnsupportedModel(f"{path}: biases were trained", "only plain LoRA adapters can be merged piece by piece")
    tensors = tensors_of(folder)
    pairs: dict[str, Pair] = {}
    for name, tensor in tensors.items():
        stem, found, _ = name.partition(".lora_A.")
        if found:
            other = name.replace(".lora_A.", ".lora_B.")
            if other not in tensors:
                raise UnsupportedModel(f"{tensor.path}: {name} has no partner {other}", "train the run again")
            pairs[stem.removeprefix(PREFIX) + ".weight"] = Pair(tensor, tensors[other], scale)
        elif ".lora_B." not in name:
            raise UnsupportedModel(
                f"{tensor.path} holds {name}, which is no LoRA matrix", "only plain LoRA can be merged"
            )
    return pairs


def check_base(pairs: dict[str, Pair], tensors: dict[str, Tensor], adapter: Path, base: Path) -> None:
    """Raise WrongBase when an adapter's matrices do not fit the weights of the base."""
    for name, pair in pairs.items():
        wanted = (pair.b.shape[0], pair.a.shape[1])
        if name not in tensors:
            raise WrongBase(
                f"{adapter} changes {name}, which {base} does not have", "give the base it was trained on: --base"
            )
        if tensors[name].shape != wanted:
            raise WrongBase(
                f"{adapter} changes {name} of shape {list(wanted)}, in {base} it has {list(tensors[name].shape)}",
                "give the base it was trained on: --base",
            )


def merged_rows(tensor: Tensor, pair: Pair | None, *, nf4: bool, dtype: str) -> Iterator[Floats]:
    """Give a weight with its adapter folded in, in pieces of whole rows.

    With `nf4` a linear weight is first rounded as 4-bit loading rounds it (from `dtype`, the run's own).
    """
    linear = len(tensor.shape) == 2 and tensor.name.startswith("model.layers.")
    if not (nf4 and linear) and pair is None:
        yield from tensor.pieces()
        return
    weight = tensor.read()
    if nf4 and linear:
        weight = nf4_rounded(weight, dtype)
    yield weight if pair is None else weight + pair.update(slice(None))


def nf4_rounded(weight: Floats, dtype: str) -> Floats:
    """Round a matrix to NF4 with double quantisation, as bitsandbytes loads it, and widen it again."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    given = torch.from_numpy(np.ascontiguousarray(weight)).to(getattr(torch, dtype))
    packed, state = quantize_4bit(given, blocksize=64, compress_statistics=True, quant_type="nf4")
    rounded: Floats = dequantize_4bit(packed, state).float().numpy()
    return rounded


def _trained_dtype(folder: Path, manifest: RunManifest) -> str:
    """Say in which type the run read its base: 4-bit rounding starts from it."""
    named = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
    told = str(manifest.config.get("dtype", "auto"))
    if told in named:
        return named[told]
    report = folder / "report.json"
    hardware = json.loads(report.read_text(encoding="utf-8")).get("hardware", "") if report.is_file() else ""
    on_card = any(word in json.dumps(hardware).lower() for word in ("nvidia", "cuda", "geforce", "tesla"))
    return "bfloat16" if on_card else "float32"


def _shards(
    folder: Path, tensors: dict[str, Tensor], dtype: str, shard_bytes: int
) -> Iterator[tuple[int, int, Path, list[Tensor]]]:
    """Name the files of the merged model and write the index when there are several."""
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


def _write_rest(out: Path, base: Path, adapter: Path, dtype: str) -> None:
    """Write config, tokenizer, template and the ends of an answer beside the weights."""
    template = load_template(adapter)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    for key in ("quantization_config", "_name_or_path", "torch_dtype"):
        config.pop(key, None)
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
    """Give the ids of the template's end token and of its stops that are tokens, the end token first."""
    from finetune.export.gguf import stops_of

    data = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    added = {entry["content"]: int(entry["id"]) for entry in data["added_tokens"]}
    found = [added[text] for text in stops_of(template) if text in added]
    if not found or template.end_token not in added:
        raise UnsupportedModel(
            f"{model}: the tokenizer does not have the end token {template.end_token!r}",
            "the template must be the one that the run was trained with",
        )
    return found


# -- what it cost


def held_out_cost(
    run: str | Path, manifest: RunManifest, merged: Path, *, rows: int = 32, base: str = ""
) -> dict[str, dict[str, float]]:
    """Measure the trained model, the merged folder and (QLoRA) the adapter on the original base, on the run's own rows.

    Gives for each `nll`, nats a trained token, and `kl`, nats a token against the trained model. Held-out rows are used
    when the run has any, else the first training rows. Empty when the data can no longer be read.
    """
    from finetune.train.load import load_run

    try:
        examples = held_out_rows(run, manifest)[:rows]
    except (OSError, ExportError):
        return {}
    trained = _log_probs(load_run(run, device="cpu", base=base).model, examples)
    spreads = {"trained": trained, "merged": _log_probs(_plain_model(merged), examples)}
    if manifest.method == "qlora":
        spreads["original"] = _log_probs(load_run(run, device="cpu", method="lora", base=base).model, examples)
    found = {}
    for name, logs in spreads.items():
        nll = [-row[np.arange(len(t)), t] for row, (_, _, t) in zip(logs, examples, strict=True)]
        kl = [(np.exp(p) * (p - q)).sum(axis=-1) for p, q in zip(trained, logs, strict=True)]
        found[name] = {"nll": float(np.concatenate(nll).mean()), "kl": max(0.0, float(np.concatenate(kl).mean()))}
    return found


Example = tuple[list[int], list[int], list[int]]  # ids, positions that predict a trained token, those tokens


def held_out_rows(run: str | Path, manifest: RunManifest) -> list[Example]:
    """Encode the run's held-out rows (else its training rows) again, as training did."""
    from finetune.train.load import load_tokenizer, run_config
    from finetune.train.rows import prepare

    adapter = find_run(run) / manifest.adapter
    try:
        prepared = prepare(run_config(manifest, device="cpu"), load_template(adapter), load_tokenizer(str(adapter)))
    except QuireError as exc:
        raise ExportError(f"the run's data cannot be read again: {exc.message}", exc.hint) from exc
    return [_example(row) for row in prepared.held_out or prepared.training]


def _example(row: dict[str, Any]) -> Example:
    if "input_ids" in row:
        ids, labels = row["input_ids"], row["labels"]
    else:
        answer = row.get("chosen_ids") or row.get("completion_ids") or []
        ids = [*row["prompt_ids"], *answer]
        labels = [-100] * len(row["prompt_ids"]) + list(answer)
    at = [i - 1 for i, label in enumerate(labels) if label >= 0 and i > 0]
    return list(ids), at, [labels[i + 1] for i in at]


def _plain_model(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _log_probs(model: Any, examples: list[Example]) -> list[Floats]:
    import torch

    found = []
    with torch.no_grad():
        for ids, at, _ in examples:
            logits = model(torch.tensor([ids])).logits[0, at].float()
            found.append(torch.log_softmax(logits, dim=-1).numpy())
    return found
