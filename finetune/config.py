"""The settings of one training run, each with its default, its unit and what it does.

A recipe is a flat TOML file of these settings; flags override it. `build` reports everything that is wrong with a set
of settings (misspelled names, wrong types, values out of range, settings that exclude each other) in one error, before
anything loads.
"""

import difflib
import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from finetune.defaults import usual_settings
from finetune.errors import SettingsError
from finetune.loss_names import PAIRED_LOSSES, REFERENCE_FREE_LOSSES, SMOOTHED_LOSSES, UNPAIRED_LOSSES, parse_loss
from quire import UsageError

STAGES = ("sft", "dpo")
METHODS = ("qlora", "lora", "full")
DTYPES = ("auto", "bf16", "fp16", "fp32")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt")
OPTIMIZERS = (
    "adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "rmsprop", "adafactor",
    "sgd",
)  # fmt: skip

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")

Kind = Literal["sft", "paired", "reference-free", "unpaired"]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of one training run; `build` makes them and reports every mistake at once."""

    # the model
    stage: str = "sft"  # sft, or dpo for all preference losses
    name: str = ""  # folder under runs/; empty: made from model and stage
    model: str = ""  # hub name or folder; empty in dpo: the parent run's base
    revision: str = ""  # commit or tag on the hub; empty: the newest
    parent: str = ""  # dpo: the SFT run to continue; a frozen copy of its adapter is the reference
    template: str = ""  # name of the chat template; empty: the one for the model
    system: str = ""  # default system message of rows without one; empty: the template's
    method: str = "qlora"  # qlora (4-bit base), lora or full
    dtype: str = "auto"  # auto: bf16 on GPUs that support it, fp16 on older ones, fp32 on a CPU
    device: str = "auto"  # auto (a GPU if there is one) or cpu
    # adapters
    rank: int = 16  # LoRA rank; 16 to 64 for instruction data
    alpha: float = 32.0  # LoRA scale is alpha / rank
    dropout: float = 0.0  # LoRA dropout; 0 in dpo
    targets: tuple[str, ...] = ("all-linear",)  # modules that get an adapter: names, or all-linear
    rslora: bool = False  # scale by alpha / sqrt(rank); useful from rank 64
    # data
    data: tuple[str, ...] = ()  # files or hub names; the format is detected
    weights: tuple[str, ...] = ()  # weight of each data file in the mixture, in order; empty: all rows of all files
    eval_data: tuple[str, ...] = ()  # held-out rows; empty: a share of `data`
    eval_share: float = 0.0  # share of `data` to hold out, 0 to 0.5; rows of one tree or prompt stay together
    max_eval_rows: int = 500  # hold out at most this many rows for eval_share; 0: no limit
    max_rows: int = 0  # use only this many rows, from the first; 0: all
    max_length: int = 1024  # tokens per row; longer rows are truncated and counted
    packing: bool = False  # sft: put several rows into one sequence, without attention between them
    group_by_length: bool = False  # put rows of similar length into one batch, which saves padding; on for pairs
    # preference loss
    loss: str = "sigmoid"  # dpo: one loss, or a sum such as sigmoid+0.2*sft
    beta: float = 0.1  # how close to stay to the reference model, 0.01 to 0.5; higher is closer
    label_smoothing: float = 0.0  # cdpo, robust, exo_pair: share of pairs assumed to be mislabeled
    discopop_tau: float = 0.05  # temperature of discopop
    simpo_gamma: float = 0.5  # simpo: simpo_gamma / beta is the target margin in nats per token
    desirable_weight: float = 1.0  # kto: weight of answers marked good
    undesirable_weight: float = 1.0  # kto: weight of answers marked bad
    reference: str = "parent"  # dpo: parent (the frozen SFT adapter) or base
    precompute_reference: bool = False  # score the data with the reference once, before training, and cache the result
    # optimization
    learning_rate: float = 2e-4  # peak rate, after the warm-up
    schedule: str = "cosine"  # learning rate after warm-up: linear, cosine, constant, ...
    warmup: float = 0.05  # share of the steps used for warm-up
    epochs: float = 1.0  # passes over the data
    max_steps: int = 0  # stop after this many steps; 0: use epochs
    batch_size: int = 4  # rows (or pairs) per forward pass and device
    accumulation: int = 4  # forward passes per step
    optimizer: str = "paged_adamw_8bit"  # adamw_torch, adamw_8bit, ...; paged ones move their state to the CPU when GPU memory is full
    weight_decay: float = 0.0  # decoupled weight decay of AdamW
    max_grad_norm: float = 1.0  # gradients are clipped to this norm
    neftune_alpha: float = 0.0  # sft: noise on embeddings; 5 is usual, 0 is off
    gradient_checkpointing: bool = True  # recompute activations in the backward pass instead of keeping them
    compile: bool = False  # compile each decoder layer with torch.compile; for GPUs, and packed rows of one length
    use_kernels: bool = False  # norms and feed-forward layers from the hub; needs a GPU and the package kernels
    seed: int = 0  # seed of new adapters, row order and held-out rows; the same seed repeats the run
    # monitoring
    log_every: int = 10  # steps between lines of metrics.jsonl
    eval_every: float = 0.0  # steps between evaluations; below 1: a share of all steps; 0: once per epoch
    save_every: float = 0.0  # steps between checkpoints, or a share of all steps; 0: with each evaluation
    keep_checkpoints: int = 2  # checkpoints to keep; the best by held-out loss is always one of them
    patience: int = 0  # stop after this many evaluations without improvement; 0: never
    stop_loss: float = 0.0  # stop when the training loss falls below this; 0: never
    prompts: tuple[str, ...] = ()  # prompts to answer at each evaluation; the answers go to samples.jsonl
    sample_tokens: int = 64  # length of an answer to `prompts`, in tokens
    trackers: tuple[str, ...] = ()  # also log to tensorboard or wandb
    # cost
    price_per_hour: float = 0.0  # price of the machine in any currency; 0: not reported
    watts: float = 0.0  # mean power of the machine; 0: not reported

    def __post_init__(self) -> None:
        problems = _invalid_values(self) + _conflicts(self)
        if problems:
            raise SettingsError(problems)

    @property
    def losses(self) -> dict[str, float]:
        """Return the weights of the preference loss by name."""
        return parse_loss(self.loss)

    @property
    def kind(self) -> Kind:
        """Return `sft`, or what the preference loss takes: pairs, pairs without a reference, or single answers."""
        if self.stage == "sft":
            return "sft"
        name = next(iter(self.losses))
        if name in UNPAIRED_LOSSES:
            return "unpaired"
        return "reference-free" if name in REFERENCE_FREE_LOSSES else "paired"

    @property
    def task(self) -> Literal["sft", "preference", "label"]:
        """Return the task that the run's data is read for."""
        if self.kind == "sft":
            return "sft"
        return "label" if self.kind == "unpaired" else "preference"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


_CHOICES = {
    "stage": STAGES,
    "method": METHODS,
    "dtype": DTYPES,
    "schedule": SCHEDULES,
    "optimizer": OPTIMIZERS,
    "device": ("auto", "cpu"),
    "reference": ("parent", "base"),
}
_RANGES = {
    "rank": (1, 4096), "alpha": (1e-6, 1e6), "dropout": (0, 0.9), "eval_share": (0, 0.5),
    "max_eval_rows": (0, math.inf), "max_rows": (0, math.inf), "max_length": (8, 1 << 20), "beta": (1e-6, 100), "label_smoothing": (0, 0.5), "discopop_tau": (1e-6, 100),
    "simpo_gamma": (0, 100), "desirable_weight": (0, 1e6), "undesirable_weight": (0, 1e6), "learning_rate": (1e-12, 10),
    "warmup": (0, 1), "epochs": (1e-6, 1e6), "max_steps": (0, math.inf), "batch_size": (1, 1 << 16),
    "accumulation": (1, 1 << 16), "weight_decay": (0, 10), "max_grad_norm": (0, 1e6), "neftune_alpha": (0, 1000),
    "log_every": (1, math.inf), "eval_every": (0, math.inf), "save_every": (0, math.inf),
    "keep_checkpoints": (1, math.inf), "patience": (0, math.inf), "stop_loss": (0, math.inf),
    "sample_tokens": (1, 1 << 16), "price_per_hour": (0, math.inf), "watts": (0, math.inf),
}  # fmt: skip

# A rule: whether it is broken, and the sentence that reports it.
Rule = tuple[bool, str]


def _invalid_values(c: TrainConfig) -> list[str]:
    found: list[str] = []
    for name, allowed in _CHOICES.items():
        found += _one_of(name, getattr(c, name), allowed)
    for tracker in c.trackers:
        found += _one_of("trackers", tracker, ("tensorboard", "wandb"))
    for name, (low, high) in _RANGES.items():
        value = getattr(c, name)
        if not low <= value <= high:
            found.append(f"{name} = {value!r}: must be between {low:g} and {high:g}")
    if c.name and not _NAME.match(c.name):
        found.append(f"name = {c.name!r}: only letters, digits, '.', '_' and '-', because it names a folder")
    if not c.targets:
        found.append("targets is empty: name modules, or all-linear")
    return found


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> list[str]:
    if value in allowed:
        return []
    near = difflib.get_close_matches(value, allowed, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    return [f"{name} = {value!r}: must be one of {', '.join(allowed)}{guess}"]


def _conflicts(c: TrainConfig) -> list[str]:
    """Return a sentence for each combination of settings that is not valid."""
    has_eval = bool(c.eval_data) or c.eval_share > 0
    rules: list[Rule] = [
        (
            c.method == "qlora" and c.dtype == "fp32" and c.device != "cpu",
            "method qlora computes in bf16 or fp16 on a GPU: use dtype auto",
        ),
        (
            c.method == "full" and c.optimizer.startswith("paged") and c.device == "cpu",
            "paged optimizers need a GPU: use adamw_torch on a CPU",
        ),
        (
            c.method == "full" and c.targets != ("all-linear",),
            "targets are for lora and qlora: method full trains every weight",
        ),
        (
            "lm_head" in c.targets,
            "lm_head cannot be a target: log-probabilities are computed from its weight alone, an adapter would not train",
        ),
        (
            bool({"embed_tokens", "wte"} & set(c.targets)),
            "embeddings cannot be a target: Qwen2.5 ties them to the output, and no token is ever added",
        ),
        (
            len(c.targets) > 1 and "all-linear" in c.targets,
            "targets: all-linear already includes every linear module, remove the others",
        ),
        (bool(c.eval_data) and c.eval_share > 0, "eval_data and eval_share both define held-out rows: give one"),
        (not _weights_fit(c), "weights needs one number above 0 for each data file, in the same order"),
        (
            c.patience > 0 and not has_eval,
            "patience needs held-out rows: give eval_data or eval_share, or set patience to 0",
        ),
        (
            any(every > 1 and not every.is_integer() for every in (c.eval_every, c.save_every)),
            "eval_every and save_every are whole numbers of steps, or shares of all steps below 1",
        ),
        (c.eval_every > 0 and not has_eval, "eval_every needs held-out rows: give eval_data or eval_share"),
        (
            has_eval and not _saves_what_is_evaluated(c.eval_every, c.save_every),
            "save_every must be a multiple of eval_every, and a share equal to it, so that the best checkpoint has been "
            "evaluated",
        ),
        (c.use_kernels and c.device == "cpu", "use_kernels needs a GPU: hub kernels are written for one"),
        (
            c.packing and c.group_by_length and c.stage == "sft",
            "group_by_length has no effect with packing: packed sequences are full",
        ),
        (c.device == "cpu" and c.dtype == "fp16", "dtype fp16 needs a GPU: use fp32 or bf16 on a CPU"),
    ]
    if c.stage == "sft":
        rules += [
            (bool(c.parent), "parent is for dpo: an SFT run starts from a model"),
            (c.loss != "sigmoid", "loss is for dpo: SFT has one loss, cross-entropy on the assistant's tokens"),
        ]
    else:
        rules += _preference_rules(c)
    return [sentence for broken, sentence in rules if broken]


def _saves_what_is_evaluated(eval_every: float, save_every: float) -> bool:
    """Return whether every checkpoint is evaluated: multiples of a share are rounded up, and may miss evaluations."""
    if not eval_every or not save_every:
        return True
    return eval_every == save_every if min(eval_every, save_every) < 1 else save_every % eval_every == 0


def _weights_fit(c: TrainConfig) -> bool:
    try:
        return not c.weights or (len(c.weights) == len(c.data) and all(float(weight) > 0 for weight in c.weights))
    except ValueError:
        return False


def _preference_rules(c: TrainConfig) -> list[Rule]:
    try:
        names = list(parse_loss(c.loss))
        unknown: list[Rule] = []
    except UsageError as exc:
        names, unknown = ["sigmoid"], [(True, f"loss: {exc}")]
    smoothed = set(names) & set(SMOOTHED_LOSSES)
    return [
        *unknown,
        (c.packing, "packing is for sft: preference losses compare pairs row by row"),
        (c.neftune_alpha > 0, "neftune_alpha is for sft: noise would make the policy differ from its reference"),
        (
            len(names) > 1 and not set(names) <= set(PAIRED_LOSSES),
            f"loss {c.loss!r}: only losses of pairs with a reference can be added ({', '.join(PAIRED_LOSSES)})",
        ),
        (names == ["sft"], "loss sft alone is SFT: use stage sft, or add it to another loss, as in sigmoid+0.2*sft"),
        (
            c.label_smoothing > 0 and not smoothed,
            f"label_smoothing has no effect on {c.loss}: use {', '.join(SMOOTHED_LOSSES)}",
        ),
        (
            "cdpo" in names and c.label_smoothing == 0,
            "loss cdpo needs label_smoothing above 0 (0.1 is usual): with 0 it is sigmoid",
        ),
        (
            "exo_pair" in names and c.label_smoothing == 0,
            "loss exo_pair needs label_smoothing above 0 (0.001 in its paper)",
        ),
        ("robust" in names and c.label_smoothing >= 0.5, "loss robust needs label_smoothing below 0.5"),
        (
            names[0] in REFERENCE_FREE_LOSSES and c.precompute_reference,
            f"loss {names[0]} has no reference, so precompute_reference has no effect: add --no-precompute-reference",
        ),
        (
            bool(set(names) & {"kto", "kto_pair"}) and c.batch_size < 2,
            "kto estimates its KL over the rows of a batch: batch_size must be at least 2",
        ),
        (
            c.group_by_length and names[0] in UNPAIRED_LOSSES,
            f"group_by_length cannot be used with {names[0]}: the order of its rows pairs answers of other prompts",
        ),
        (
            c.label_smoothing > 0 and smoothed >= {"cdpo", "robust"},
            "cdpo and robust use label_smoothing in opposite ways: use one of them",
        ),
        (c.dropout > 0, "dropout must be 0 in dpo: it is disabled there, so that policy and reference agree"),
    ]


_DEFAULTS = {field.name: field.default for field in fields(TrainConfig)}


def build(*layers: Mapping[str, Any]) -> TrainConfig:
    """Return settings from layers; later layers override earlier ones, and None means not set.

    Raises SettingsError listing every misspelled name, wrong type, value out of range and conflict.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update({k: v for k, v in layer.items() if v is not None})
    problems: list[str] = []
    good: dict[str, Any] = {}
    for key, value in merged.items():
        if key not in _DEFAULTS:
            near = difflib.get_close_matches(key, _DEFAULTS, n=1)
            guess = f": did you mean {near[0]!r}?" if near else f": the settings are {', '.join(sorted(_DEFAULTS))}"
            problems.append(f"unknown setting {key!r}{guess}")
            continue
        converted, problem = _convert(key, value)
        if problem:
            problems.append(problem)
        else:
            good[key] = converted
    try:
        config = TrainConfig(**{**_usual(good), **good})
    except SettingsError as exc:
        raise SettingsError([*problems, *exc.problems]) from None
    if problems:
        raise SettingsError(problems)
    return config


def _usual(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults for the stage, method and loss of the given settings."""
    stage, method, loss = (given.get(name, _DEFAULTS[name]) for name in ("stage", "method", "loss"))
    try:
        return usual_settings(stage, method, parse_loss(loss))
    except UsageError:  # an unknown loss: the rules report it
        return usual_settings(stage, method, ())


def _convert(name: str, value: Any) -> tuple[Any, str | None]:
    """Return the value in its field's type, or a sentence that says why it does not fit."""
    default = _DEFAULTS[name]
    if isinstance(default, bool):
        return (value, None) if isinstance(value, bool) else (None, f"{name} = {value!r}: must be true or false")
    if isinstance(default, int):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return (value, None) if whole else (None, f"{name} = {value!r}: must be a whole number")
    if isinstance(default, float):
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return (float(value), None) if number else (None, f"{name} = {value!r}: must be a number")
    if isinstance(default, tuple):
        many = [value] if isinstance(value, str) else value
        if name == "weights" and isinstance(many, list | tuple):  # numbers in a recipe, text in a flag
            many = [str(item) if isinstance(item, int | float) else item for item in many]
        if isinstance(many, list | tuple) and all(isinstance(item, str) for item in many):
            return tuple(many), None
        return None, f"{name} = {value!r}: must be a list of strings"
    return (value, None) if isinstance(value, str) else (None, f"{name} = {value!r}: must be text in quotes")


def setting_notes() -> dict[str, str]:
    """Return the comment beside each setting in TrainConfig; it is the setting's text in --help."""
    try:
        source = inspect.getsource(TrainConfig)
    except OSError:  # a frozen executable has no source
        return {}
    return {found[1]: found[2] for found in re.finditer(r"^    (\w+): [^#\n]*# (.+)$", source, re.MULTILINE)}
