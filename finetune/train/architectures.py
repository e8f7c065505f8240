"""The shape of a model: the sizes of its layers, and its parameter counts without loading any weight.

The shapes of common models are in `shapes.json`; those of other models are read from their `config.json`.
"""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from finetune.errors import ExportError, ModelUnavailable, UnknownTarget

ARCHITECTURES = ("qwen2", "phi", "llama", "mistral")
_ATTENTION = ("q_proj", "k_proj", "v_proj")
_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a decoder, from which its parameter counts follow exactly."""

    name: str
    architecture: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    tied: bool
    head_dim: int = 0  # 0: hidden / heads
    biases: tuple[str, ...] = ()  # linear modules with a bias, beyond those that every model of the architecture has

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Return the linear modules of one layer: (inputs, outputs) by name."""
        h, i, size = self.hidden, self.intermediate, self.head_dim or self.hidden // self.heads
        q, kv = self.heads * size, self.kv_heads * size
        attention = {"q_proj": (h, q), "k_proj": (h, kv), "v_proj": (h, kv)}
        if self.architecture == "phi":
            return {**attention, "dense": (q, h), "fc1": (h, i), "fc2": (i, h)}
        return {**attention, "o_proj": (q, h), "gate_proj": (h, i), "up_proj": (h, i), "down_proj": (i, h)}

    @property
    def linear_weights(self) -> int:
        """Return the number of weights of linear modules inside layers: those that 4-bit loading quantizes."""
        return self.layers * sum(a * b for a, b in self.linears.values())

    @property
    def vectors(self) -> int:
        """Return the number of one-dimensional parameters: norms and biases."""
        shapes = self.linears
        if self.architecture == "phi":  # every linear has a bias, one LayerNorm a layer, the head has a bias
            a_layer = sum(out for _, out in shapes.values()) + 2 * self.hidden
            return self.layers * a_layer + 2 * self.hidden + self.vocab
        biased = {*self.biases, *(_ATTENTION if self.architecture == "qwen2" else ())}
        a_layer = sum(shapes[name][1] for name in biased) + 2 * self.hidden
        return self.layers * a_layer + self.hidden

    @property
    def table_weights(self) -> int:
        """Return the number of weights of the embedding and, if it is not tied, of the output head."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Return the number of all parameters."""
        return self.linear_weights + self.vectors + self.table_weights

    def resolve_targets(self, targets: Iterable[str]) -> tuple[str, ...]:
        """Return the module names that `targets` means; raises UnknownTarget with the model's modules."""
        wanted = list(targets)
        if wanted == ["all-linear"]:
            return tuple(self.linears)
        for name in wanted:
            if name not in self.linears:
                raise unknown_target(name, self.name, self.linears)
        return tuple(wanted)

    def adapter_parameters(self, targets: Iterable[str], rank: int) -> int:
        """Return the number of LoRA parameters: rank times (inputs plus outputs), for each module of each layer."""
        shapes = self.linears
        return self.layers * sum(rank * sum(shapes[name]) for name in self.resolve_targets(targets))


def unknown_target(name: str, model: str, candidates: Iterable[str]) -> UnknownTarget:
    """Return the error for a target that the model does not have, with the modules that it has."""
    modules = sorted(set(candidates))
    near = difflib.get_close_matches(name, modules, n=1, cutoff=0.4)
    guess = f"did you mean {near[0]}? " if near else ""
    return UnknownTarget(
        f"{model} has no module {name!r}", f"{guess}its modules are {', '.join(modules)}; all-linear means all"
    )


@cache
def _shipped() -> dict[str, Shape]:
    rows = json.loads((Path(__file__).parent / "shapes.json").read_text(encoding="utf-8"))
    keep = set(Shape.__dataclass_fields__)
    return {name: Shape(name=name, **{k: v for k, v in row.items() if k in keep}) for name, row in rows.items()}


def shape_names() -> list[str]:
    """Return the names of the models whose shapes need no file and no network."""
    return list(_shipped())


def _normal(model: str) -> str:
    name = model.lower().rsplit("/", 1)[-1].replace(":", "-").replace("_", "-")
    return re.sub(r"-(instruct|chat|hf)(?=-|$)", "", name.removeprefix("meta-"))


def shape_of(model: str) -> Shape:
    """Return the shape of a common model (with or without organization and -Instruct), a folder or a cached hub model.

    Raises ModelUnavailable with the known names.
    """
    folder = Path(model).expanduser()
    if (folder / "config.json").is_file():
        return _from_config(folder / "config.json", model)
    if found := _shipped().get(_normal(model)):
        return found
    if cached := _cached_config(model):
        return _from_config(cached, model)
    near = difflib.get_close_matches(_normal(model), shape_names(), n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    raise ModelUnavailable(
        f"the shape of {model!r} is not known",
        f"{guess}give one of {', '.join(shape_names())}, or a folder with config.json",
    )


def _cached_config(model: str) -> Path | None:
    """Return the config.json of a hub model in the cache, or None."""
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _from_config(path: Path, model: str) -> Shape:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise ModelUnavailable(
            f"the architecture of {model} is {kind!r}", f"a run can be planned for {', '.join(ARCHITECTURES)}"
        )
    heads = int(config["num_attention_heads"])
    return Shape(
        name=Path(model).name,
        architecture=kind,
        hidden=int(config["hidden_size"]),
        intermediate=int(config["intermediate_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        vocab=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings", False)) and not _stores_own_head(path.parent),
        head_dim=int(config.get("head_dim") or 0),
        biases=_biases(config) if kind == "llama" else (),
    )


def _stores_own_head(folder: Path) -> bool:
    """Return whether a folder has weights with an output head of its own: transformers loads it, whatever the flag says."""
    from finetune.safetensors_io import has_own_head, list_tensors

    try:
        return has_own_head(list_tensors(folder))
    except ExportError:
        return False  # without weights that can be read, the config is all there is to plan with


def _biases(config: dict[str, Any]) -> tuple[str, ...]:
    """Return the linear modules that have a bias in a Llama model; most have none."""
    attention = (*_ATTENTION, "o_proj") if config.get("attention_bias") else ()
    return (*attention, *(_FEED_FORWARD if config.get("mlp_bias") else ()))
