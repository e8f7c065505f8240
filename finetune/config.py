"""What one training run is: every setting of SFT and preference training, with its default, unit and reason.

A recipe is a flat TOML file of these settings; flags lie over it. Everything that is wrong with a set of settings
(misspelt names, wrong types, values out of range, pairs that cannot be) is told in one error before anything loads.
"""

import difflib
import inspect
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from finetune.errors import SettingsError
from quire import UsageError, home_folder

STAGES = ("sft", "dpo")
METHODS = ("qlora", "lora", "full")
DTYPES = ("auto", "bf16", "fp16", "fp32")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt")
OPTIMIZERS = (
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_8bit",
    "paged_adamw_8bit",
    "paged_adamw_32bit",
    "rmsprop",
    "adafactor",
    "sgd",
)
# Losses of a pair against a reference, of a pair without one, and of single labelled answers.
PAIR_LOSSES = (
    "sigmoid",
    "ipo",
    "ipo_sum",
    "hinge",
    "robust",
    "cdpo",
    "exo_pair",
    "nca_pair",
    "apo_zero",
    "apo_down",
    "sigmoid_norm",
    "discopop",
    "sft",
    "kto_pair",
)
FREE_LOSSES = ("orpo", "cpo", "simpo")
LABEL_LOSSES = ("kto", "apo_zero_unpaired")
LOSSES = PAIR_LOSSES + FREE_LOSSES + LABEL_LOSSES
# learning rates that are custom for preference training: ten times less than full training takes with adapters on
DPO_RATE = {"lora": 5e-6, "qlora": 5e-6, "full": 5e-7}
SMOOTHED_LOSSES = ("cdpo", "robust", "exo_pair")

_TERM = re.compile(r"^(?:(?P<weight>\d+(?:\.\d+)?)\*)?(?P<name>[a-z_]+)$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def runs_folder() -> Path:
    """Give the folder that training runs live in."""
    return home_folder() / "runs"


def parse_loss(text: str) -> dict[str, float]:
    """Read `sigmoid` or `sigmoid+0.2*sft` as weights by loss name, in the order written.

    Raises UsageError with the names there are when the text cannot be read.
    """
    weights: dict[str, float] = {}
    for term in text.replace(" ", "").split("+"):
        found = _TERM.match(term)
        if not found or found["name"] not in LOSSES:
            near = difflib.get_close_matches(found["name"] if found else term, LOSSES, n=1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"there is no loss {term!r}", f"{guess}there are: {', '.join(LOSSES)}")
        weights[found["name"]] = float(found["weight"] or 1.0)
    return weights


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of one training run; made by `build`, which tells everything that is wrong at once."""

    # what is trained
    stage: str = "sft"  # sft or dpo; dpo stands for every preference loss
    name: str = ""  # folder under runs/; empty: made of model, stage and date
    model: str = ""  # hub name, folder, or (dpo) empty to take the parent run's base
    revision: str = ""  # commit or tag on the hub; empty: the newest
    parent: str = ""  # dpo: the SFT run whose adapter is trained on and, frozen, is the reference
    template: str = ""  # name of the template; empty: the model's own kind
    method: str = "qlora"  # qlora (NF4), lora or full
    dtype: str = "auto"  # auto: bf16 where the card has it, fp16 on older ones, fp32 on a processor
    device: str = "auto"  # auto or cpu
    # adapters
    rank: int = 16  # LoRA rank; 16 to 64 for instruction data
    alpha: float = 32.0  # LoRA scale is alpha / rank
    dropout: float = 0.0  # 0 keeps fused kernels and an exact reference
    targets: tuple[str, ...] = ("all-linear",)  # names of modules, or all-linear (best at equal size)
    rslora: bool = False  # scale by sqrt(rank); from rank 64 on
    # data
    data: tuple[str, ...] = ()  # files or hub names, format detected
    weights: tuple[str, ...] = ()  # share of each data file in the mixture, in their order; empty: all rows of all
    eval_data: tuple[str, ...] = ()  # held-out rows; empty: a share of `data`
    eval_share: float = 0.0  # share of groups (trees, prompts) held out of `data`, 0 to 0.5
    max_rows: int = 0  # first rows only; 0: all
    max_length: int = 1024  # tokens a row; longer rows are cut and counted
    packing: bool = False  # several rows a sequence, without attention between them (sft)
    # preference loss
    loss: str = "sigmoid"  # dpo: one loss, or a sum such as sigmoid+0.2*sft
    beta: float = 0.1  # strength of the reference (0.01 to 0.5)
    label_smoothing: float = 0.0  # share of pairs believed wrong: cdpo, robust, exo_pair
    discopop_tau: float = 0.05  # temperature of discopop
    simpo_gamma: float = 0.5  # target margin of simpo
    desirable_weight: float = 1.0  # kto: weight of wanted answers
    undesirable_weight: float = 1.0  # kto: weight of unwanted answers
    reference: str = "parent"  # dpo: parent (the frozen SFT adapter) or base
    precompute_reference: bool = False  # one pass before training, cached; then no reference forward
    # optimisation
    learning_rate: float = 2e-4  # of adapters in SFT; stage dpo without one takes 5e-6, method full 5e-7
    schedule: str = "cosine"  # shape of the learning rate after warm-up
    warmup: float = 0.05  # share of all steps
    epochs: float = 1.0  # passes over the data
    max_steps: int = 0  # stop after this many updates; 0: by epochs
    batch_size: int = 4  # rows (pairs) a forward pass and device
    accumulation: int = 4  # forward passes an update
    optimizer: str = "paged_adamw_8bit"  # states that leave the card when memory runs out
    weight_decay: float = 0.0  # share of a weight taken away at each step of size 1
    max_grad_norm: float = 1.0  # gradients are scaled down to this norm
    neftune_alpha: float = 0.0  # noise on embeddings (sft); 5 is usual, 0 is none
    gradient_checkpointing: bool = True  # forward again instead of keeping activations
    compile: bool = False  # torch.compile
    seed: int = 0  # of adapters, order of rows and held-out rows; the same seed gives the same run
    # keeping watch
    log_every: int = 10  # updates a line of metrics.jsonl
    eval_every: int = 0  # updates between evaluations; 0: once an epoch
    save_every: int = 0  # updates between checkpoints; 0: with each evaluation
    keep_checkpoints: int = 2  # how many stay; the best by held-out loss is always one of them
    patience: int = 0  # stop after this many evaluations without a better loss; 0: never
    stop_loss: float = 0.0  # stop once the training loss is below this; 0: never
    prompts: tuple[str, ...] = ()  # answered at each evaluation, kept in samples.jsonl
    sample_tokens: int = 64  # new tokens a sample
    trackers: tuple[str, ...] = ()  # tensorboard, wandb
    # what it costs
    price_per_hour: float = 0.0  # any currency; 0: not reported
    watts: float = 0.0  # mean draw of the machine; 0: not reported

    def __post_init__(self) -> None:
        problems = _range_problems(self) + _pair_problems(self)
        if problems:
            raise SettingsError(problems)

    @property
    def losses(self) -> dict[str, float]:
        """Give the weights of the preference loss by name."""
        return parse_loss(self.loss)

    @property
    def family(self) -> str:
        """Say which kind of rows the loss takes: `sft`, `pair`, `free` (pairs without a reference) or `label`."""
        if self.stage == "sft":
            return "sft"
        name = next(iter(self.losses))
        if name in LABEL_LOSSES:
            return "label"
        return "free" if name in FREE_LOSSES else "pair"

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> list[str]:
    if value in allowed:
        return []
    near = difflib.get_close_matches(value, allowed, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    return [f"{name} = {value!r}: must be one of {', '.join(allowed)}{guess}"]


def _range_problems(c: TrainConfig) -> list[str]:
    found: list[str] = []
    for name, allowed in (
        ("stage", STAGES),
        ("method", METHODS),
        ("dtype", DTYPES),
        ("schedule", SCHEDULES),
        ("optimizer", OPTIMIZERS),
        ("device", ("auto", "cpu")),
        ("reference", ("parent", "base")),
    ):
        found += _one_of(name, getattr(c, name), allowed)
    for tracker in c.trackers:
        found += _one_of("trackers", tracker, ("tensorboard", "wandb"))
    for name, low, high in (
        ("rank", 1, 4096),
        ("alpha", 1e-6, 1e6),
        ("dropout", 0, 0.9),
        ("eval_share", 0, 0.5),
        ("max_rows", 0, math.inf),
        ("max_length", 8, 1 << 20),
        ("beta", 1e-6, 100),
        ("label_smoothing", 0, 0.5),
        ("discopop_tau", 1e-6, 100),
        ("simpo_gamma", 0, 100),
        ("desirable_weight", 0, 1e6),
        ("undesirable_weight", 0, 1e6),
        ("learning_rate", 1e-12, 10),
        ("warmup", 0, 1),
        ("epochs", 1e-6, 1e6),
        ("max_steps", 0, math.inf),
        ("batch_size", 1, 1 << 16),
        ("accumulation", 1, 1 << 16),
        ("weight_decay", 0, 10),
        ("max_grad_norm", 0, 1e6),
        ("neftune_alpha", 0, 1000),
        ("log_every", 1, math.inf),
        ("eval_every", 0, math.inf),
        ("save_every", 0, math.inf),
        ("keep_checkpoints", 1, math.inf),
        ("patience", 0, math.inf),
        ("stop_loss", 0, math.inf),
        ("sample_tokens", 1, 1 << 16),
        ("price_per_hour", 0, math.inf),
        ("watts", 0, math.inf),
    ):
        value = getattr(c, name)
        if not low <= value <= high:
            found.append(f"{name} = {value!r}: must lie between {low:g} and {high:g}")
    if c.name and not _NAME.match(c.name):
        found.append(f"name = {c.name!r}: letters, digits, '.', '_' and '-' only, it names a folder")
    if not c.targets:
        found.append("targets is empty: name modules, or all-linear")
    return found


def _pair_problems(c: TrainConfig) -> list[str]:
    """Name pairs of settings that cannot be together."""
    found: list[str] = []

    def refuse(wrong: bool, sentence: str) -> None:
        if wrong:
            found.append(sentence)

    quantised = c.method == "qlora"
    refuse(
        quantised and c.dtype == "fp32" and c.device != "cpu",
        "method qlora computes in bf16 or fp16: dtype fp32 undoes it on a card",
    )
    refuse(
        c.method == "full" and c.optimizer.startswith("paged") and c.device == "cpu",
        "paged optimisers need a card: use adamw_torch on a processor",
    )
    refuse(
        c.method == "full" and c.targets != ("all-linear",),
        "targets are for lora and qlora: method full trains every weight",
    )
    refuse(
        "lm_head" in c.targets,
        "lm_head cannot be a target: log-probabilities are computed from its weight directly, the adapter would never train",
    )
    refuse(
        bool({"embed_tokens", "wte"} & set(c.targets)),
        "embeddings cannot be a target: Qwen2.5 ties them to the output, and no token is ever added",
    )
    refuse(
        len(c.targets) > 1 and "all-linear" in c.targets,
        "targets: all-linear already names every linear module, leave the others out",
    )
    refuse(bool(c.eval_data) and c.eval_share > 0, "eval_data and eval_share both name held-out rows: give one")
    refuse(not _weights_fit(c), "weights needs one number above 0 for each data file, in their order")
    has_eval = bool(c.eval_data) or c.eval_share > 0
    refuse(c.patience > 0 and not has_eval, "patience needs held-out rows: give eval_data or eval_share")
    refuse(c.eval_every > 0 and not has_eval, "eval_every needs held-out rows: give eval_data or eval_share")
    refuse(
        has_eval and c.eval_every > 0 and c.save_every > 0 and c.save_every % c.eval_every != 0,
        "save_every must be a multiple of eval_every, so that the best checkpoint was evaluated",
    )
    refuse(c.device == "cpu" and c.dtype == "fp16", "dtype fp16 needs a card: use fp32 or bf16 on a processor")
    if c.stage == "sft":
        refuse(bool(c.parent), "parent is for dpo: an SFT run starts from a model")
        refuse(c.loss != "sigmoid", "loss is for dpo: SFT has one loss, the assistant's tokens")
        return found
    return found + _preference_problems(c)


def _weights_fit(c: TrainConfig) -> bool:
    try:
        return not c.weights or (len(c.weights) == len(c.data) and all(float(weight) > 0 for weight in c.weights))
    except ValueError:
        return False


def _preference_problems(c: TrainConfig) -> list[str]:
    try:
        weights = parse_loss(c.loss)
        unreadable = []
    except UsageError as exc:
        weights, unreadable = {"sigmoid": 1.0}, [f"loss: {exc}"]
    names = list(weights)
    rules = [
        (c.packing, "packing is for sft: pairs are compared row by row"),
        (c.neftune_alpha > 0, "neftune_alpha is for sft: noise would part the policy from its reference"),
        (
            len(names) > 1 and not set(names) <= set(PAIR_LOSSES),
            f"loss {c.loss!r}: only losses of a pair with a reference can be added up ({', '.join(PAIR_LOSSES)})",
        ),
        (names == ["sft"], "loss sft alone is SFT: use stage sft, or add it, as in sigmoid+0.2*sft"),
        (
            c.label_smoothing > 0 and not set(names) & set(SMOOTHED_LOSSES),
            f"label_smoothing has no part in {c.loss}: use {', '.join(SMOOTHED_LOSSES)}",
        ),
        ("cdpo" in names and c.label_smoothing == 0, "loss cdpo needs label_smoothing above 0 (0.1 is usual)"),
        (
            "exo_pair" in names and c.label_smoothing == 0,
            "loss exo_pair needs label_smoothing above 0 (0.001 in its paper)",
        ),
        ("robust" in names and c.label_smoothing >= 0.5, "loss robust needs label_smoothing below 0.5"),
        (
            names[0] in FREE_LOSSES and c.precompute_reference,
            f"loss {names[0]} has no reference: precompute_reference has nothing to do",
        ),
        (
            bool(set(names) & {"kto", "kto_pair"}) and c.batch_size < 2,
            "kto estimates its KL over the rows of a batch: batch_size must be at least 2",
        ),
        (
            c.label_smoothing > 0 and len(set(names) & {"cdpo", "robust"}) == 2,
            "cdpo and robust read label_smoothing in opposite ways: use one",
        ),
        (c.dropout > 0, "dropout must be 0 in dpo: it is switched off there, so that policy and reference agree"),
    ]
    return unreadable + [sentence for wrong, sentence in rules if wrong]


_FIELDS = {f.name: f for f in fields(TrainConfig)}
_DEFAULTS = {f.name: f.default for f in fields(TrainConfig)}


def _convert(name: str, value: Any) -> tuple[Any, str | None]:
    """Give the value in its field's type, or a sentence about why it does not fit."""
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
        if name == "weights" and isinstance(many, list | tuple):  # numbers, which a flag gives as text
            many = [str(item) if isinstance(item, int | float) else item for item in many]
        if isinstance(many, list | tuple) and all(isinstance(item, str) for item in many):
            return tuple(many), None
        return None, f"{name} = {value!r}: must be a list of strings"
    return (value, None) if isinstance(value, str) else (None, f"{name} = {value!r}: must be text in quotes")


def build(*layers: Mapping[str, Any]) -> TrainConfig:
    """Make one set of settings of layers, the last strongest, None meaning unset.

    Raises SettingsError listing every misspelt name, wrong type, value out of range and impossible pair.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update({k: v for k, v in layer.items() if v is not None})
    problems: list[str] = []
    good: dict[str, Any] = {}
    for key, value in merged.items():
        if key not in _FIELDS:
            near = difflib.get_close_matches(key, _FIELDS, n=1)
            guess = f": did you mean {near[0]!r}?" if near else f": there are {', '.join(sorted(_FIELDS))}"
            problems.append(f"there is no setting {key!r}{guess}")
            continue
        converted, problem = _convert(key, value)
        if problem:
            problems.append(problem)
        else:
            good[key] = converted
    if good.get("stage") == "dpo" and "learning_rate" not in merged:
        good["learning_rate"] = DPO_RATE.get(good.get("method", ""), DPO_RATE["qlora"])
    try:
        config = TrainConfig(**good)
    except SettingsError as exc:
        raise SettingsError([*problems, *exc.problems]) from None
    if problems:
        raise SettingsError(problems)
    return config


def setting_notes() -> dict[str, str]:
    """Give the line that says what each setting is, from where it is defined."""
    try:
        source = inspect.getsource(TrainConfig)
    except OSError:  # a frozen program carries no source
        return {}
    return {found[1]: found[2] for found in re.finditer(r"^    (\w+): [^#\n]*# (.+)$", source, re.MULTILINE)}


def recipes_folder() -> Path:
    """Give the folder of the recipes that come with the package."""
    return Path(__file__).parent / "recipes"


def read_recipe(name: str) -> dict[str, Any]:
    """Read a TOML file, or a recipe of the package by its name (`qwen2.5-1.5b-sft`).

    Raises UsageError when there is no such recipe or it is not TOML.
    """
    path = Path(name)
    if not path.is_file():
        shipped = recipes_folder() / f"{name.removesuffix('.toml')}.toml"
        if not shipped.is_file():
            there = ", ".join(sorted(p.stem for p in recipes_folder().glob("*.toml")))
            raise UsageError(f"there is no recipe {name!r}", f"give a TOML file or one of: {there}")
        path = shipped
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} is not TOML: {exc}", "mend the line that it names") from exc


def to_toml(config: TrainConfig) -> str:
    """Write every setting as TOML that `read_recipe` and `build` read back to an equal config."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in config.to_dict().items())


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
