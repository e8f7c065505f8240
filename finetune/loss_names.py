"""The names of the preference losses and how a weighted sum of them is written; no formulas."""

import difflib
import re

from quire import UsageError

# Pairs of answers, compared with a reference model.
PAIRED_LOSSES = (
    "sigmoid", "ipo", "ipo_sum", "hinge", "robust", "cdpo", "exo_pair", "nca_pair", "apo_zero", "apo_down",
    "sigmoid_norm", "discopop", "sft", "kto_pair",
)  # fmt: skip
# Pairs of answers, without a reference model.
REFERENCE_FREE_LOSSES = ("orpo", "cpo", "simpo")
# Single answers, each labeled as wanted or unwanted.
UNPAIRED_LOSSES = ("kto", "apo_zero_unpaired")
LOSSES = PAIRED_LOSSES + REFERENCE_FREE_LOSSES + UNPAIRED_LOSSES
# Losses that read `label_smoothing`.
SMOOTHED_LOSSES = ("cdpo", "robust", "exo_pair")

_TERM = re.compile(r"^(?:(?P<weight>\d+(?:\.\d+)?)\*)?(?P<name>[a-z_]+)$")


def parse_loss(text: str) -> dict[str, float]:
    """Return the weights of `sigmoid` or `sigmoid+0.2*sft` by loss name, in the order written.

    Raises UsageError, with the known losses, when the text is not valid.
    """
    weights: dict[str, float] = {}
    for term in text.replace(" ", "").split("+"):
        found = _TERM.match(term)
        if not found or found["name"] not in LOSSES:
            near = difflib.get_close_matches(found["name"] if found else term, LOSSES, n=1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"unknown loss {term!r}", f"{guess}the losses are {', '.join(LOSSES)}")
        weights[found["name"]] = float(found["weight"] or 1.0)
    return weights
