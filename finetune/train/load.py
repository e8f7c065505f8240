"""Models as they are loaded: a base in 4, 16 or 32 bits, adapters in fp32, finished runs.

Two faults of the libraries are worked around here (A and C in docs/training.md): 4-bit weights are never repacked on a
CPU, and adapters keep their fp32 values when a trainer is built around them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig, build
from finetune.errors import MissingLibrary, ModelUnavailable
from finetune.hub_access import endpoint, hub_or_cache, reachable
from finetune.runs.manifest import RunManifest, find_run, read_manifest, texts_of
from finetune.safetensors_io import list_tensors
from finetune.templates.chat_template import AnswerTemplate
from finetune.templates.find import choose_template, load_template
from finetune.templates.template import Template
from finetune.train.architectures import shape_of, unknown_target
from finetune.train.attention import choose_attention
from finetune.train.device import compute_dtype, device_type
from finetune.train.libraries import quiet_libraries, require_kernels, require_libraries
from quire import install_extra

REFERENCE = "ref"  # the adapter name that TRL expects


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready for use, its tokenizer and its template."""

    model: Any
    tokenizer: Any
    template: AnswerTemplate
    base: str


# -- the base


def load_tokenizer(model: str, revision: str = "", *, gguf_file: str = "") -> Any:
    """Return a model's tokenizer, padding on the right; without a pad token, the end token pads. No token is added.

    `gguf_file` is the name of a GGUF file in the folder `model`.
    """
    from transformers import AutoTokenizer

    try:
        with hub_or_cache(model):
            tokenizer = AutoTokenizer.from_pretrained(model, revision=revision or None, gguf_file=gguf_file or None)
    except (OSError, ValueError) as exc:
        raise _unavailable(model, exc) from exc
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    if hasattr(tokenizer, "legacy"):
        # where LlamaTokenizer puts a blank depends on it, and transformers 5.23 does not save it
        tokenizer.init_kwargs["legacy"] = tokenizer.legacy
    return tokenizer


def _unavailable(model: str, exc: Exception) -> ModelUnavailable:
    hint = "give a folder with config.json and safetensors, or a hub name while there is a network"
    if not Path(model).exists() and not reachable():
        return ModelUnavailable(
            f"the model {model!r} is not a local folder, {endpoint()} does not answer, and it is not in the cache",
            hint,
        )
    first = str(exc).strip().splitlines()[0][:300] if str(exc).strip() else type(exc).__name__
    return ModelUnavailable(f"the model {model!r} could not be loaded: {first}", hint)


def load_base(config: TrainConfig, *, for_training: bool = True, gguf_file: str = "", mapped: bool = True) -> Any:
    """Return the base model as the method stores it: NF4 with double quantization (qlora), 16 bits or fp32.

    Full training stores every weight in fp32 and computes under autocast.
    Weights are read from safetensors, or from a GGUF file in the folder `config.model`; pickle files are refused. Without
    `mapped`, the files of a folder take no memory while they are read.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = compute_dtype(config)
    on_gpu = device_type(config) == "cuda"
    options: dict[str, Any] = {
        "dtype": torch.float32 if config.method == "full" and for_training else dtype,
        "attn_implementation": choose_attention(config) if for_training else "sdpa",
        "revision": config.revision or None,
    }
    if config.use_kernels and for_training:
        require_kernels()
        options["use_kernels"] = True
    options |= {"gguf_file": gguf_file} if gguf_file else {"use_safetensors": True}
    load: Any = partial(AutoModelForCausalLM.from_pretrained, config.model) if mapped else _unmapped(Path(config.model))
    if config.method == "qlora":
        options["quantization_config"] = _nf4(dtype)
    # torchrun starts one process a GPU, and nothing has selected the GPU yet when the model is loaded; without a map,
    # transformers puts a 4-bit base on a GPU although the run asked for the CPU
    place = int(os.environ.get("LOCAL_RANK", torch.cuda.current_device())) if on_gpu else "cpu"
    options["device_map"] = {"": place}
    try:
        with hub_or_cache(config.model):
            model = load(**options)
    except (OSError, ValueError, ImportError) as exc:
        raise _unavailable(config.model, exc) from exc
    if not on_gpu and hasattr(model, "hf_device_map"):
        del model.hf_device_map  # PEFT takes one with "cpu" for offloading, and spreads the model over GPUs again
    never_repack(model)
    model.config.use_cache = not for_training
    return model


def _unmapped(folder: Path) -> Any:
    """Return the function that makes the model in a folder without mapping its files.

    By default they are mapped until the last weight is read: of the 2.6 GB at which loading 0.5B in 4 bits peaked, 0.9 GB.
    """
    from safetensors import safe_open
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    kept = AutoConfig.from_pretrained(folder)
    paths = sorted({tensor.path for tensor in list_tensors(folder).values()})
    files: list[Any] = [safe_open(path, framework="pt", backend="pread") for path in paths]
    slices = {name: file.get_slice(name) for file in files for name in file.keys()}  # noqa: SIM118 - it is no dict
    return partial(MODEL_FOR_CAUSAL_LM_MAPPING[type(kept)].from_pretrained, None, config=kept, state_dict=slices)


def _nf4(dtype: Any) -> Any:
    try:
        import bitsandbytes  # noqa: F401 - transformers needs it later and reports that less clearly
    except ImportError as exc:
        raise MissingLibrary(
            "method qlora needs bitsandbytes, which is not installed", install_extra("finetune")
        ) from exc
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def never_repack(model: Any) -> None:
    """Disable the repacking of 4-bit weights on AVX512-BF16 CPUs.

    There, the first forward pass without gradients repacks the weights into a form without a backward pass
    (bitsandbytes 0.50), so training after an evaluation is wrong; for layers without bias, without any error.
    """
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False


# -- adapters


def check_targets(config: TrainConfig) -> None:
    """Raise UnknownTarget before any weight is read, where the model's shape is known without loading it."""
    if config.method == "full":
        return
    try:
        shape = shape_of(config.model)
    except ModelUnavailable:
        return  # of unknown shape: `find_targets` checks it once it is loaded
    shape.resolve_targets(config.targets)


def find_targets(model: Any, targets: tuple[str, ...]) -> list[str]:
    """Return the names of the modules that get adapters.

    `all-linear` means every linear module except the output head. Raises UnknownTarget, with the model's modules, for a
    name that matches none: PEFT itself accepts a list when any one of its names matches.
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
    """Return the model with new LoRA adapters in fp32; with method full, with every weight trainable instead."""
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
    _upcast_adapters(peft_model)
    return peft_model


def load_adapter(base: Any, folder: Path, *, trainable: bool) -> Any:
    """Return the base model with a stored adapter, in fp32."""
    from peft import PeftModel

    # by itself, PEFT reads the adapter through the GPU wherever there is one, also for a base on the CPU
    place = str(next(base.parameters()).device)
    model = PeftModel.from_pretrained(base, str(folder), is_trainable=trainable, torch_device=place)
    _upcast_adapters(model)
    return model


def _upcast_adapters(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()


@contextmanager
def keep_adapters_in_fp32(model: Any) -> Iterator[None]:
    """Restore the adapters' values and fp32 type after a trainer was built around the model inside the `with`.

    TRL 1.16 casts the adapters of a quantized base to bf16, which rounds away most of AdamW's small steps; the first
    DPO loss is then not ln 2, and a resumed run differs from an uninterrupted one.
    """
    before = {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}
    yield
    for name, parameter in model.named_parameters():
        if name in before:
            parameter.data = before[name].to(parameter.device)
        elif "lora_" in name:  # the frozen copy that is DPO's reference
            parameter.data = parameter.data.float()


def count_trainable(model: Any) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)  # packed 4-bit weights are never trainable


def count_parameters(model: Any) -> int:
    """Return the number of parameters as published: packed 4-bit weights unpacked, a frozen reference not counted."""
    from math import prod

    total, seen = 0, set()
    for name, parameter in model.named_parameters():
        if id(parameter) in seen or f".{REFERENCE}." in name:
            continue
        seen.add(id(parameter))
        state = getattr(parameter, "quant_state", None)
        total += prod(state.shape) if state is not None else parameter.numel()
    return total


# -- models for use


def template_of(config: TrainConfig, tokenizer: Any) -> Template:
    """Return the template that a run's settings name, or else the one for its model, as `choose_template` fits it."""
    return choose_template(config.template, config.model, tokenizer, system=config.system)


def load_run(
    run: str | Path, *, device: str = "auto", method: str = "", base: str = "", dtype: str = "", mapped: bool = True
) -> LoadedModel:
    """Return the model of a finished run: its base as it was trained, its adapter, tokenizer and template.

    `base` is the base model's new location when it has moved; `dtype` replaces the type that suits the device; `mapped` is
    that of `load_base`. Raises NoSuchRun or UnfinishedRun.
    """
    require_libraries()
    quiet_libraries()
    folder, manifest = find_run(run), read_manifest(run)
    manifest = replace(manifest, base=base or manifest.base)
    adapter = folder / manifest.adapter
    config = run_config(manifest, device=device, method=method, dtype=dtype)
    texts = texts_of(run)
    tokenizer, template = load_tokenizer(str(texts)), load_template(texts)
    if manifest.method == "full":
        model = load_base(replace(config, model=str(adapter), revision=""), for_training=False)
    else:
        model = load_adapter(load_base(config, for_training=False, mapped=mapped), adapter, trainable=False)
    return LoadedModel(model.eval(), tokenizer, template, manifest.base)


def run_config(manifest: RunManifest, *, device: str = "auto", method: str = "", dtype: str = "") -> TrainConfig:
    """Return the settings of a finished run for loading its model on this machine."""
    kept = {**manifest.config, "model": manifest.base, "device": device}
    return build(kept, {"method": method or None, "dtype": dtype or (None if device == "auto" else "fp32")})


def load_plain(model: str, *, device: str = "auto", method: str = "lora") -> LoadedModel:
    """Return a model that was not trained here, with the template for it."""
    require_libraries()
    quiet_libraries()
    config = build({"model": model, "method": method, "device": device})
    tokenizer = load_tokenizer(model)
    return LoadedModel(load_base(config, for_training=False).eval(), tokenizer, template_of(config, tokenizer), model)
