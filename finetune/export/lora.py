"""A LoRA adapter read from disk, matrix pair by matrix pair, and the base model that it belongs to."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import UnsupportedModel, WrongBase
from finetune.hub_access import download_model
from finetune.runs.manifest import RunManifest
from finetune.safetensors_io import Floats, Tensor, list_tensors
from quire import QuireError

_MODULE_PREFIX = "base_model.model."  # PEFT puts it before every module's name
_UNSUPPORTED_OPTIONS = (
    "use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "fan_in_fan_out", "trainable_token_indices", "lora_bias",
)  # fmt: skip
_PLAIN_LORA_ONLY = "only plain LoRA adapters are supported"


@dataclass(frozen=True, slots=True)
class LoraPair:
    """The two low-rank matrices of one weight and the scale of their product."""

    a: Tensor  # [rank, inputs]
    b: Tensor  # [outputs, rank]
    scale: float

    def delta(self) -> Floats:
        """Return the change to the weight, [outputs, inputs]."""
        product: Floats = self.scale * (self.b.read() @ self.a.read())
        return product


def find_base(manifest: RunManifest, folder: str = "") -> Path:
    """Return the folder of a run's base model: `folder` if given, else what the manifest names.

    A hub name is downloaded into the hub's cache. Raises WrongBase when neither works.
    """
    name = folder or manifest.base
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    try:
        return download_model(name, str(manifest.config.get("revision") or ""))
    except QuireError as exc:
        raise WrongBase(
            f"the base model {name!r} is not a folder and cannot be downloaded: {exc}",
            "pass its folder with --base, or try again with a network connection",
        ) from exc


def read_adapter(folder: Path) -> dict[str, LoraPair]:
    """Return the matrix pairs of a PEFT LoRA adapter by the name of the weight that each changes.

    Raises UnsupportedModel for anything but plain LoRA.
    """
    scale = _read_scale(folder / "adapter_config.json")
    tensors = list_tensors(folder)
    pairs: dict[str, LoraPair] = {}
    for name, tensor in tensors.items():
        stem, found, _ = name.partition(".lora_A.")
        if found:
            other = name.replace(".lora_A.", ".lora_B.")
            if other not in tensors:
                raise UnsupportedModel(f"{tensor.path}: {name} has no matching {other}", "train the run again")
            pairs[stem.removeprefix(_MODULE_PREFIX) + ".weight"] = LoraPair(tensor, tensors[other], scale)
        elif ".lora_B." not in name or not name.endswith(".weight"):
            raise UnsupportedModel(f"{tensor.path} contains {name}, which is not a LoRA matrix", _PLAIN_LORA_ONLY)
    return pairs


def _read_scale(path: Path) -> float:
    """Return the factor of every matrix product, after checking that the adapter is plain LoRA."""
    if not path.is_file():
        raise UnsupportedModel(f"{path.parent} has no adapter_config.json", "pass the folder of a finished run")
    try:
        config: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        rank = config["r"]
        scale = float(config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank))
    except (ValueError, TypeError, KeyError) as exc:
        raise UnsupportedModel(f"{path} cannot be read: {exc}", "copy it again, or train again") from exc
    for key in _UNSUPPORTED_OPTIONS:
        if config.get(key):
            raise UnsupportedModel(f"{path}: {key} is set", _PLAIN_LORA_ONLY)
    if config.get("bias", "none") != "none":
        raise UnsupportedModel(f"{path}: biases were trained", _PLAIN_LORA_ONLY)
    return scale


def check_base(pairs: dict[str, LoraPair], tensors: dict[str, Tensor], adapter: Path, base: Path) -> None:
    """Raise WrongBase when an adapter's matrices do not fit the weights of the base."""
    hint = "pass the base model that it was trained on: --base"
    for name, pair in pairs.items():
        expected = (pair.b.shape[0], pair.a.shape[1])
        if name not in tensors:
            raise WrongBase(f"{adapter} changes {name}, which {base} does not have", hint)
        if tensors[name].shape != expected:
            raise WrongBase(
                f"{adapter} changes {name} of shape {list(expected)}; in {base} its shape is {list(tensors[name].shape)}",
                hint,
            )
