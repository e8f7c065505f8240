"""The defaults that depend on the stage, the method and the loss, each with its source.

They apply to settings that neither a recipe nor a flag sets.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from finetune.loss_names import UNPAIRED_LOSSES


class Usual(NamedTuple):
    """Usual learning rates with adapters and in full training, and usual values of a loss's own settings."""

    adapters: float
    full: float
    values: Mapping[str, float] = {}


# Adapters take ten times the rate of full training (Schulman et al., "LoRA Without Regret", 2025; also arXiv:2305.14314).
_SFT = Usual(2e-4, 2e-5)  # QLoRA, arXiv:2305.14314, appendix B (7B, 13B); full: Stanford Alpaca, and TRL's SFTConfig
_DPO = Usual(5e-6, 5e-7)  # Zephyr, arXiv:2310.16944, section 4.2; also KTO, arXiv:2402.01306
# By loss; a loss that is not named has DPO's row.
_LOSSES = {
    # ORPO replaces SFT, so its rate is near that of SFT: arXiv:2403.07691, appendix C (8e-6)
    "orpo": Usual(8e-5, 8e-6),
    "cpo": Usual(1e-5, 1e-6),  # TRL's CPOConfig; the loss includes SFT's, at a rate that suits both
    # arXiv:2405.14734, table 7: beta 2.0 to 2.5 and gamma 0.3 to 1.6. The loss is on mean log-probabilities a token:
    # -log sigmoid(beta * difference - gamma), so gamma / beta = 0.5 nats a token is the margin that it asks for.
    "simpo": Usual(5e-6, 5e-7, {"beta": 2.0, "simpo_gamma": 1.0}),
    # a tenth of the pairs mislabeled: the example of Mitchell's note on cDPO (2023)
    "cdpo": Usual(*_DPO[:2], {"label_smoothing": 0.1}),
    "robust": Usual(*_DPO[:2], {"label_smoothing": 0.1}),
    "exo_pair": Usual(*_DPO[:2], {"label_smoothing": 0.001}),  # the value that TRL's documentation recommends
}


def usual_settings(stage: str, method: str, losses: Iterable[str]) -> dict[str, Any]:
    """Return the default learning rate, and the defaults of the losses' own settings.

    In a sum of losses, the first one decides the rate. Other settings have the same default everywhere.
    """
    names = list(losses)
    rows = [_SFT] if stage == "sft" else [_LOSSES.get(loss, _DPO) for loss in names] or [_DPO]
    # pairs are padded; KTO's rows have an order of their own, and SFT's have no padding
    found: dict[str, Any] = {"group_by_length": stage == "dpo" and not set(names) & set(UNPAIRED_LOSSES)}
    for row in reversed(rows):
        found.update(row.values)
    return {**found, "learning_rate": rows[0].full if method == "full" else rows[0].adapters}


def describe_default(setting: str) -> str:
    """Return the defaults of a setting that depends on stage, method or loss, for --help; empty for any other."""
    rows = {"sft": _SFT, "dpo": _DPO, **_LOSSES}
    if setting == "learning_rate":
        rates = {name: row for name, row in rows.items() if name in ("sft", "dpo") or row[:2] != _DPO[:2]}
        return "; ".join(f"{name} {row.adapters:g}, with method full {row.full:g}" for name, row in rates.items())
    return ", ".join(f"{name} {row.values[setting]:g}" for name, row in rows.items() if setting in row.values)
