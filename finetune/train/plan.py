"""The plan of a run before anything loads: memory by stage, trainable parameters and time.

Weights, adapters, gradients and optimizer states are computed exactly from the model's shape. Activations are estimated
from what one layer keeps for its backward pass, measured in tests/finetune/train/test_plan.py. A GB is 2**30 bytes here,
as in the memory sizes of GPUs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from finetune.config import TrainConfig
from finetune.train.architectures import Shape, shape_of
from finetune.train.cards import GB, Card
from quire import UsageError

STAGES = ("sft", "dpo", "orpo")  # orpo: every loss without a reference
# Bytes of a 4-bit weight: half a byte, an 8-bit scale for each 64 weights, a 32-bit scale for each 256 of those scales.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
# Values that a decoder layer keeps for its backward pass, per token, as multiples of the hidden and the intermediate
# size, by architecture and bytes of a value. Counted over autograd's saved tensors (torch 2.13, transformers 5.23, sdpa,
# LoRA on all linear modules). In 16 bits there are more, because norms compute in fp32.
# Llama and Mistral keep what Qwen2 keeps: their layers differ from its by biases only, which are weights.
KEPT_VALUES = {
    **{(kind, 4): (7, 4) for kind in ("qwen2", "llama", "mistral")},
    **{(kind, 2): (13, 4) for kind in ("qwen2", "llama", "mistral")},
    ("phi", 4): (7, 5),
    ("phi", 2): (10, 5),
}
LOSS_TILE = (4096, 32768)  # positions and vocabulary entries in one tile of TRL's fused loss
# Without Triton, on a CPU, the fused loss uses this many fp32 tiles at its peak; counted by torch's memory profiler.
CPU_TILES = 8.25
CONTEXT_BYTES = 0.6 * GB  # CUDA context and allocator overhead
# On a CPU: 0.85 GB once Python has loaded torch, transformers, PEFT and TRL, the rest what the allocator keeps. With it, the
# plans of a model of 136 M parameters are within 10 % of its peaks (lora: 2.00 GB, qlora: 1.88 GB).
CPU_BYTES = 1.15 * GB
USABLE_SHARE = 0.95  # of a card's memory; fragmentation and the display need the rest
LARGE_CARD_GB = 75.0  # cards sold with 80 GB; from there on, settings that need more memory are recommended
MAX_BATCH = 16  # recommended rows a pass; larger ones do not make a large card faster
UTILIZATION = 0.35  # share of a card's bf16 peak that training reaches; an assumption, printed with the estimate


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory of one stage in bytes, by use, and the number of base models in it."""

    models: int
    weights: float
    adapters: float
    gradients: float
    optimizer: float
    activations: float
    overhead: float

    @property
    def total(self) -> float:
        """Return the sum in bytes."""
        return self.weights + self.adapters + self.gradients + self.optimizer + self.activations + self.overhead


USES = tuple(name for name in Memory.__dataclass_fields__ if name != "models")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run needs on a card, and how to make it fit."""

    shape: Shape
    config: TrainConfig
    stage: str
    trainable: int
    stages: dict[str, Memory]
    card: Card
    tokens_per_second: float
    seconds: float
    tokens: float
    changes: list[str]  # that make it fit
    faster: list[str]  # that use what a large card has left

    @property
    def memory_gb(self) -> float:
        """Return the peak memory of the planned stage in GB."""
        return self.stages[self.stage].total / GB

    @property
    def fits(self) -> bool:
        """Return whether the peak is within the usable memory of the card."""
        return self.memory_gb <= self.card.memory_gb * USABLE_SHARE

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as `quire finetune plan --json` prints it."""
        return {
            "model": self.shape.name,
            "stage": self.stage,
            "method": self.config.method,
            "dtype": self.config.dtype,
            "models": self.stages[self.stage].models,
            "parameters": self.shape.parameters,
            "trainable_parameters": self.trainable,
            "trainable_share": self.trainable / self.shape.parameters,
            "memory_gb": round(self.memory_gb, 3),
            "fits": self.fits,
            "card": {"name": self.card.name, "memory_gb": round(self.card.memory_gb, 2)},
            "stages": {
                name: {
                    "models": memory.models,
                    **{key: round(getattr(memory, key) / GB, 4) for key in USES},
                    "memory_gb": round(memory.total / GB, 3),
                }
                for name, memory in self.stages.items()
            },
            "max_length": self.config.max_length,
            "batch_size": self.config.batch_size,
            "tokens": self.tokens or None,
            "tokens_per_second": round(self.tokens_per_second) or None,
            "seconds": round(self.seconds) or None,
            "changes": self.changes,
            "faster": self.faster,
        }


def as_trained(config: TrainConfig, card: Card) -> TrainConfig:
    """Return the settings as a run on the card resolves them: data type, optimizer on a CPU."""
    dtype = config.dtype
    if dtype == "auto":
        dtype = "fp32" if card.is_cpu else "bf16" if card.bf16 else "fp16"
    values: dict[str, Any] = {"dtype": dtype}
    if card.is_cpu:
        paged = config.optimizer.startswith("paged")
        values |= {"device": "cpu", "optimizer": "adamw_torch" if paged else config.optimizer}
    return replace(config, **values)


def _value_bytes(config: TrainConfig) -> int:
    return 4 if config.dtype == "fp32" else 2


def weight_bytes(shape: Shape, config: TrainConfig) -> float:
    """Return the bytes of a base model as it is loaded; in full training all weights are fp32."""
    value_bytes = _value_bytes(config)
    if config.method == "qlora":
        return shape.linear_weights * NF4_BYTES + (shape.table_weights + shape.vectors) * value_bytes
    return shape.parameters * (4.0 if config.method == "full" else value_bytes)


def state_bytes(optimizer: str) -> float:
    """Return the bytes of optimizer state for one trained parameter."""
    if "8bit" in optimizer:
        return 2.0 + 8 / 256  # two 8-bit moments, each with a 32-bit scale per block of 256
    return {"rmsprop": 4.0, "sgd": 0.0, "adafactor": 0.1}.get(optimizer, 8.0)


def activation_bytes(shape: Shape, config: TrainConfig, *, sequences: int) -> float:
    """Return the bytes kept for the backward pass of `sequences` rows of the longest length, loss head included."""
    value_bytes = _value_bytes(config)
    tokens = sequences * config.max_length
    by_hidden, by_intermediate = KEPT_VALUES[shape.architecture, value_bytes]
    a_layer = tokens * value_bytes * (by_hidden * shape.hidden + by_intermediate * shape.intermediate)
    if config.gradient_checkpointing:
        last = value_bytes if shape.architecture == "phi" else 4  # RMSNorm keeps its input in fp32
        inputs = tokens * shape.hidden * (value_bytes * shape.layers + last)  # of each layer and of the last norm
        kept = inputs + a_layer
    else:
        kept = a_layer * shape.layers
    return kept + head_bytes(shape, config, sequences=sequences)


def head_bytes(shape: Shape, config: TrainConfig, *, sequences: int) -> float:
    """Return the bytes of the output head: tiles of logits (on a GPU, with gradient and copy), and the hidden states."""
    tokens = sequences * config.max_length
    hidden = 2 * tokens * shape.hidden * 4
    tile = min(LOSS_TILE[0], tokens) * min(LOSS_TILE[1], shape.vocab)
    return (CPU_TILES * 4 if config.device == "cpu" else 3 * _value_bytes(config)) * tile + hidden


def stage_memory(shape: Shape, config: TrainConfig, stage: str) -> Memory:
    """Return the peak memory of one stage.

    sft: one model. dpo: one model, whose frozen adapter is the reference; in full training a second model, unless the
    reference is precomputed. orpo, which stands for all losses without a reference: one model.
    """
    config = _for_stage(config, stage)
    full = config.method == "full"
    trained = float(shape.parameters) if full else float(shape.adapter_parameters(config.targets, config.rank))
    needs_reference = stage == "dpo" and not config.precompute_reference
    models = 2 if full and needs_reference else 1
    adapter_sets = 2 if not full and needs_reference and config.reference == "parent" else 1
    weights = models * weight_bytes(shape, config)  # the reference is stored as the policy
    return Memory(
        models=models,
        weights=weights,
        adapters=0.0 if full else trained * 4 * adapter_sets,
        gradients=trained * 4,
        optimizer=trained * state_bytes(config.optimizer),
        activations=activation_bytes(shape, config, sequences=config.batch_size * (1 if stage == "sft" else 2)),
        overhead=CPU_BYTES if config.device == "cpu" else CONTEXT_BYTES,
    )


def _for_stage(config: TrainConfig, stage: str) -> TrainConfig:
    """Return settings with a loss of the stage: a plan shows the memory of the other stages beside that of its own."""
    kind = config.kind
    if stage == "orpo" and kind != "reference-free":
        return _other_stage(config, "dpo", "orpo")
    if stage == "dpo" and kind in ("sft", "reference-free"):
        return _other_stage(config, "dpo", "sigmoid")
    return _other_stage(config, "sft", "sigmoid") if stage == "sft" and kind != "sft" else config


def _other_stage(config: TrainConfig, stage: str, loss: str) -> TrainConfig:
    sizes = ("model", "method", "dtype", "device", "rank", "targets", "max_length", "batch_size", "optimizer", "reference",
             "gradient_checkpointing")  # fmt: skip
    return TrainConfig(stage=stage, loss=loss, **{name: getattr(config, name) for name in sizes})


def flops_per_token(shape: Shape, config: TrainConfig, stage: str) -> float:
    """Return the floating point operations per token: 2 per weight in the forward pass, and 2 for each gradient."""
    weights = shape.linear_weights + shape.vocab * shape.hidden
    passes = 2.0 + 2.0 + (2.0 if config.method == "full" else 0.0)
    if config.gradient_checkpointing:
        passes += 2.0
    if stage.startswith("dpo") and not config.precompute_reference:
        passes += 2.0
    return passes * weights


def make_plan(config: TrainConfig, *, card: Card, stage: str = "", rows: int = 0) -> Plan:
    """Return the plan of a run on a card, with tokens and time for `rows` of the longest length (0: unknown).

    Raises ModelUnavailable for a model of unknown shape, and UnknownTarget for a target that the model does not have.
    """
    shape, dtype = shape_of(config.model), config.dtype
    config = as_trained(config, card)
    stage = stage or ("orpo" if config.stage == "dpo" and config.kind == "reference-free" else config.stage)
    if stage not in STAGES:
        raise UsageError(f"unknown stage {stage!r}", f"the stages are {', '.join(STAGES)}")
    full = config.method == "full"
    trainable = shape.parameters if full else shape.adapter_parameters(config.targets, config.rank)
    stages = {name: stage_memory(shape, config, name) for name in STAGES}
    pair = 2 if stage.startswith("dpo") or stage == "orpo" else 1
    tokens = rows * config.epochs * config.max_length * pair
    speed = card.tflops * 1e12 * UTILIZATION / flops_per_token(shape, config, stage)
    changes = [] if stages[stage].total / GB <= card.memory_gb * USABLE_SHARE else _changes(shape, config, stage, card)
    if not card.bf16 and dtype == "bf16":
        changes.append(f"dtype = fp16: {card.name} has no bf16")
    faster = [] if changes or card.memory_gb < LARGE_CARD_GB or card.is_cpu else _faster(shape, config, stage, card)
    seconds = tokens / speed if speed else 0.0
    return Plan(shape, config, stage, trainable, stages, card, speed, seconds, tokens, changes, faster)


def _changes(shape: Shape, config: TrainConfig, stage: str, card: Card) -> list[str]:
    """Return the changes of settings, in order, until the run fits."""
    on_gpu = config.device != "cpu"
    paged = {"optimizer": "paged_adamw_8bit"} if on_gpu else {}
    dtype = config.dtype if config.dtype != "fp32" or not on_gpu else "bf16" if card.bf16 else "fp16"
    steps: Iterable[tuple[str, bool, dict[str, Any]]] = (
        ("gradient_checkpointing = true", not config.gradient_checkpointing, {"gradient_checkpointing": True}),
        (
            "precompute_reference = true",
            stage == "dpo" and not config.precompute_reference,
            {"precompute_reference": True},
        ),
        ("batch_size = 1 (raise accumulation by the same factor)", config.batch_size > 1, {"batch_size": 1}),
        ("method = qlora", config.method != "qlora", {"method": "qlora", "dtype": dtype, **paged}),
        ("optimizer = paged_adamw_8bit", on_gpu and "8bit" not in config.optimizer, paged),
        (f"max_length = {config.max_length // 2}", config.max_length > 256, {"max_length": config.max_length // 2}),
        ("max_length = 256", config.max_length > 512, {"max_length": 256}),
    )
    found: list[str] = []
    for sentence, applies, values in steps:
        if not applies:
            continue
        config = replace(config, **values)
        found.append(sentence)
        need = stage_memory(shape, config, stage).total / GB
        if need <= card.memory_gb * USABLE_SHARE:
            return [*found, f"then it needs {need:.1f} GB: it fits"]
    need = stage_memory(shape, config, stage).total / GB
    return [*found, f"then it needs {need:.1f} GB: still too much, use a smaller model or a larger card"]


def _faster(shape: Shape, config: TrainConfig, stage: str, card: Card) -> list[str]:
    """Return the changes of settings, in order, that make a run faster and still fit on a large card."""

    def fits(candidate: TrainConfig) -> bool:
        return stage_memory(shape, candidate, stage).total / GB <= card.memory_gb * USABLE_SHARE

    in_16_bits = config.method == "qlora" and not config.parent  # a parent decides the method
    steps: list[tuple[str, bool, dict[str, Any]]] = [
        ("method = lora: no weight is unpacked at each pass", in_16_bits, {"method": "lora"}),
        (
            "optimizer = adamw_torch_fused",
            config.optimizer != "adamw_torch_fused" and (config.method != "full"),
            {"optimizer": "adamw_torch_fused"},
        ),
        (
            "gradient_checkpointing = false: nothing is computed twice",
            config.gradient_checkpointing,
            {"gradient_checkpointing": False},
        ),
    ]
    rows = config.batch_size * config.accumulation
    for size in (2 * config.batch_size * 2**power for power in range(6)):
        if size <= MAX_BATCH and rows % size == 0:
            values = {"batch_size": size, "accumulation": rows // size}
            steps.append((f"batch_size = {size}, accumulation = {rows // size}", True, values))
    found: dict[str, str] = {}
    for sentence, applies, values in steps:
        if applies and fits(candidate := replace(config, **values)):
            config = candidate
            found[sentence.split(" = ")[0]] = sentence  # of several batch sizes, the largest
    need = stage_memory(shape, config, stage).total / GB
    return [*found.values(), f"then it needs {need:.1f} GB"] if found else []


def render(plan: Plan) -> str:
    """Return a plan as text."""
    shape, config = plan.shape, plan.config
    lines = [
        f"{shape.name}: {shape.parameters:,} parameters, {plan.trainable:,} of them trainable "
        f"({plan.trainable / shape.parameters:.3%}; {config.method})",
        f"{config.batch_size} rows of {config.max_length} tokens per pass, {config.optimizer}, "
        f"gradient checkpointing {'on' if config.gradient_checkpointing else 'off'}, computed in {config.dtype}",
        "",
        f"{'GB':<8}{'models':>8}{'weights':>9}{'adapters':>10}{'gradients':>11}{'optimizer':>11}{'activations':>13}{'overhead':>10}{'total':>9}",
    ]
    for name, memory in plan.stages.items():
        mark = " <" if name == plan.stage else ""
        cells = (
            memory.weights,
            memory.adapters,
            memory.gradients,
            memory.optimizer,
            memory.activations,
            memory.overhead,
        )
        widths = (9, 10, 11, 11, 13, 10)
        row = "".join(f"{value / GB:>{width}.2f}" for value, width in zip(cells, widths, strict=True))
        lines.append(f"{name:<8}{memory.models:>8}{row}{memory.total / GB:>9.2f}{mark}")
    lines += ["", f"{plan.card.name}, {plan.card.memory_gb:.0f} GB: {'fits' if plan.fits else 'does not fit'}"]
    lines += [f"  {'' if change.startswith('then') else 'set '}{change}" for change in plan.changes]
    lines += [f"  {'' if change.startswith('then') else 'faster: '}{change}" for change in plan.faster]
    if plan.tokens_per_second:
        lines.append(f"about {plan.tokens_per_second:,.0f} tokens/s, estimated at {UTILIZATION:.0%} of the card's peak")
    if plan.seconds:
        lines.append(f"{plan.tokens:,.0f} tokens: about {plan.seconds / 60:,.0f} minutes")
    elif plan.tokens:
        lines.append(f"{plan.tokens:,.0f} tokens at most; give --card NAME to estimate the time")
    return "\n".join(lines)
