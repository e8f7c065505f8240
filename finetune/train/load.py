"""Loads what is trained: a base model in 4 bits, 16 or 32, adapters on it in fp32, and finished runs for use.

Bugs A and C of docs/training.md are mended here: 4-bit weights are never repacked on a processor, and adapters keep
their fp32 values whatever a trainer does to them when it is built.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig
from finetune.errors import MissingLibrary, ModelUnavailable
from finetune.hub_access import endpoint, hub_or_cache, reachable
from finetune.runs.manifest import RunManifest, find_run, read_manifest
from finetune.templates.builtin import get_template
from finetune.templates.find import find_template, load_template
from finetune.templates.template import Template
from finetune.train.architectures import shape_of, unknown_target
from quire import install_extra, pip_install

REFERENCE = "ref"  # adapter name that TRL looks for


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready for use, its tokenizer and its template."""

    model: Any
    tokenizer: Any
    template: Template
    base: str


def require_libraries() -> None:
    """Raise MissingLibrary with the install line when a training library is not there."""
    import importlib.util

    missing = [name for name in ("torch", "transformers", "peft", "trl") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingLibrary(f"training needs {', '.join(missing)}, not installed here", install_extra("finetune"))


def require_trackers(trackers: tuple[str, ...]) -> None:
    """Raise MissingLibrary for a tracker whose library is not installed."""
    import importlib.util

    for tracker in trackers:
        if importlib.util.find_spec(tracker) is None:
            raise MissingLibrary(f"the tracker {tracker} is not installed here", pip_install(tracker))


def quiet_libraries() -> None:
    """Keep progress bars off a pipe, where each would be a line, and what the libraries say to developers to themselves."""
    renamed = r"`(is_)?gradient_checkpointing(_enable|_disable)?` is deprecated"
    warnings.filterwarnings("ignore", message=renamed, category=FutureWarning)
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # a faster kernel that no one asked for
    for name in ("trainer_utils", "tokenization_utils_base", "generation.stopping_criteria"):
        logging.getLogger(f"transformers.{name}").setLevel(logging.ERROR)  # file times, and lengths that we count
    if sys.stderr.isatty():
        return
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def has_flash_attention() -> bool:
    """Say whether packed rows can be kept apart by a kernel instead of by a mask."""
    import importlib.util

    return importlib.util.find_spec("flash_attn") is not None


def device_of(config: TrainConfig) -> str:
    """Give the device type that a run uses: cuda or cpu."""
    import torch

    return "cuda" if config.device == "auto" and torch.cuda.is_available() else "cpu"


def compute_dtype(config: TrainConfig) -> Any:
    """Give the torch dtype that a run computes in: for `auto` bf16 or fp16 by card, fp32 on a processor."""
    import torch

    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if config.dtype in named:
        return named[config.dtype]
    if device_of(config) == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def load_tokenizer(model: str, revision: str = "") -> Any:
    """Load a model's tokenizer; it must name a pad token, and none is ever added."""
    from transformers import AutoTokenizer

    try:
        with hub_or_cache(model):
            tokenizer = AutoTokenizer.from_pretrained(model, revision=revision or None)
    except (OSError, ValueError) as exc:
        raise _unavailable(model, exc) from exc
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def _unavailable(model: str, exc: Exception) -> ModelUnavailable:
    if not Path(model).exists() and not reachable():
        return ModelUnavailable(
            f"the model {model!r} is no folder here, {endpoint()} is not reached, and the cache does not hold it",
            "give a folder with config.json and safetensors, or a hub name while there is a network",
        )
    first = str(exc).strip().splitlines()[0][:300] if str(exc).strip() else type(exc).__name__
    return ModelUnavailable(
        f"the model {model!r} could not be loaded: {first}",
        "give a folder with config.json and safetensors, or a hub name while there is a network",
    )


def load_base(config: TrainConfig, *, for_training: bool = True) -> Any:
    """Load the base model as the method asks: NF4 twice quantised (qlora), 16 bits or fp32.

    Norms, biases and other vectors are fp32. Full training holds every weight in fp32; autocast computes narrower.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = compute_dtype(config)
    storage = torch.float32 if config.method == "full" and for_training else dtype
    flash = config.packing and device_of(config) == "cuda" and has_flash_attention()
    attention = "flash_attention_2" if flash else "sdpa"
    options: dict[str, Any] = {
        "dtype": storage,
        "attn_implementation": attention,
        "revision": config.revision or None,
    }
    if config.method == "qlora":
        options["quantization_config"] = _nf4(dtype)
    if device_of(config) == "cuda":
        # torchrun starts one process a card, and nothing has chosen the card yet when the model is loaded
        options["device_map"] = {"": int(os.environ.get("LOCAL_RANK", torch.cuda.current_device()))}
    try:
        with hub_or_cache(config.model):
            model = AutoModelForCausalLM.from_pretrained(config.model, **options)
    except (OSError, ValueError, ImportError) as exc:
        raise _unavailable(config.model, exc) from exc
    never_repack(model)
    keep_vectors_wide(model)
    model.config.use_cache = not for_training
    return model


def _nf4(dtype: Any) -> Any:
    try:
        import bitsandbytes  # noqa: F401 - transformers asks for it later and less clearly
    except ImportError as exc:
        raise MissingLibrary("method qlora needs bitsandbytes, not installed here", install_extra("finetune")) from exc
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def never_repack(model: Any) -> None:
    """Forbid the repacking of 4-bit weights on AVX512-BF16 processors.

    There, the first forward pass without gradients turns the weights into a form whose product has no gradient
    (bitsandbytes 0.50), so training after an evaluation is broken, for layers without bias without any error.
    """
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False


def keep_vectors_wide(model: Any) -> None:
    """Turn norms, biases and other one-dimensional weights into fp32: they are few, and rounding them costs accuracy."""
    import torch

    for parameter in model.parameters():
        if parameter.ndim == 1 and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()


@contextmanager
def computing(model: Any) -> Iterator[None]:
    """Compute as a trainer does: where a base is held in 16 bits, narrow its fp32 vectors to it operation by operation.

    Whatever runs a model outside of a trainer needs it: a norm in fp32 hands fp32 to a matrix in bf16.
    """
    import torch

    weight = model.get_input_embeddings().weight
    with torch.autocast(weight.device.type, dtype=weight.dtype, enabled=weight.dtype != torch.float32):
        yield


def find_targets(model: Any, targets: tuple[str, ...]) -> list[str]:
    """Give the names of modules that adapters sit on.

    `all-linear` means every linear module except the output head. Raises UnknownTarget, with the modules there are,
    for a name that matches none: PEFT itself is content when any one of several names matches.
    """
    head = model.get_output_embeddings()
    linear = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if module is not head and (type(module).__name__ in ("Linear", "Linear4bit", "Linear8bitLt"))
    }
    if targets == ("all-linear",):
        return sorted(linear)
    for name in targets:
        if name not in linear:
            raise unknown_target(name, model.config.model_type, linear)
    return list(targets)


def add_adapter(model: Any, config: TrainConfig) -> Any:
    """Put fresh LoRA adapters, fp32, on a model; with method full, make every weight trainable instead."""
    import torch
    from peft import LoraConfig, get_peft_model

    if config.method == "full":
        model.requires_grad_(True)
        return model
    torch.manual_seed(config.seed)
    peft_model = get_peft_model(
        model,
        LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=find_targets(model, config.targets),
            use_rslora=config.rslora,
            task_type="CAUSAL_LM",
            base_model_name_or_path=config.model,
        ),
    )
    widen_adapters(peft_model)
    return peft_model


def widen_adapters(model: Any) -> None:
    """Turn every adapter weight into fp32."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()


def load_adapter(base: Any, folder: Path, *, trainable: bool) -> Any:
    """Put a stored adapter on a base model, fp32."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(base, str(folder), is_trainable=trainable)
    widen_adapters(model)
    return model


@contextmanager
def exact_weights(model: Any) -> Iterator[None]:
    """Give trained weights back their values and fp32 type after a trainer was built around the model.

    TRL 1.16 casts the adapters of a quantised base to bf16, in which most of AdamW's small updates round away, and
    after which the first DPO loss is no longer ln 2 and a resumed run differs from an uninterrupted one.
    """
    before = {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}
    yield
    for name, parameter in model.named_parameters():
        if name in before:
            parameter.data = before[name].to(parameter.device)
        elif "lora_" in name:  # the frozen copy that DPO compares with
            parameter.data = parameter.data.float()


def count_trainable(model: Any) -> int:
    """Count trainable parameters; packed 4-bit weights are never trainable, so bytes are counted nowhere."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_parameters(model: Any) -> int:
    """Count parameters as authors do: packed 4-bit weights by the numbers they stand for, a frozen reference not at all."""
    from math import prod

    total, seen = 0, set()
    for name, parameter in model.named_parameters():
        if id(parameter) in seen or f".{REFERENCE}." in name:
            continue
        seen.add(id(parameter))
        state = getattr(parameter, "quant_state", None)
        total += prod(state.shape) if state is not None else parameter.numel()
    return total


def template_of(config: TrainConfig) -> Template:
    """Give the template of a run: the one it names, else that of the model's kind."""
    return get_template(config.template) if config.template else find_template(config.model)


def load_run(run: str | Path, *, device: str = "auto", method: str = "", base: str = "") -> Loaded:
    """Load a finished run for use: its base as it was trained, its adapter, tokenizer and template.

    `base` says where the base model is now when it has moved. Raises NoSuchRun or UnfinishedRun.
    """
    require_libraries()
    quiet_libraries()
    folder, manifest = find_run(run), read_manifest(run)
    manifest = replace(manifest, base=base or manifest.base)
    adapter = folder / manifest.adapter
    config = run_config(manifest, device=device, method=method)
    tokenizer = load_tokenizer(str(adapter))
    template = load_template(adapter)
    if manifest.method == "full":
        model = load_base(replace(config, model=str(adapter), revision=""), for_training=False)
    else:
        model = load_adapter(load_base(config, for_training=False), adapter, trainable=False)
    model.eval()
    return Loaded(model, tokenizer, template, manifest.base)


def run_config(manifest: RunManifest, *, device: str = "auto", method: str = "") -> TrainConfig:
    """Give the settings of a finished run for loading its model on this machine."""
    from finetune.config import build

    kept = {**manifest.config, "model": manifest.base, "device": device}
    return build(kept, {"method": method or None, "dtype": None if device == "auto" else "fp32"})


def load_plain(model: str, *, device: str = "auto", method: str = "lora") -> Loaded:
    """Load an untuned model for use with the template of its kind."""
    from finetune.config import build

    require_libraries()
    quiet_libraries()
    config = build({"model": model, "method": method, "device": device})
    tokenizer = load_tokenizer(model)
    loaded = load_base(config, for_training=False)
    loaded.eval()
    return Loaded(loaded, tokenizer, template_of(config), model)


def check_shape(config: TrainConfig) -> None:
    """Refuse unknown targets by the model's shape alone, before any weight is read, where the shape is known."""
    if config.method == "full":
        return
    try:
        shape = shape_of(config.model)
    except ModelUnavailable:
        return  # a model of another kind: its modules are checked once it is loaded
    shape.resolve_targets(config.targets)
