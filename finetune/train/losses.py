"""Preference losses that TRL does not have, as plain functions of log-probability ratios; the others are TRL's own.

All take `chosen` and `rejected`: log p(answer) - log p_ref(answer), summed over the answer's tokens, one value a pair
(tensors of shape [pairs]), and give one loss a pair.
"""

from typing import Any

OURS = ("cdpo", "ipo_sum", "kto_pair")


def conservative_dpo(chosen: Any, rejected: Any, *, beta: float, smoothing: float) -> Any:
    """cDPO: binary cross-entropy with a share `smoothing` of pairs believed to be the wrong way round.

    Mitchell, "A note on DPO with noisy preferences and relationship to IPO" (2023), eq. 3:
    -(1 - eps) log sigmoid(beta h) - eps log sigmoid(-beta h).
    """
    from torch.nn.functional import logsigmoid

    h = beta * (chosen - rejected)
    return -(1 - smoothing) * logsigmoid(h) - smoothing * logsigmoid(-h)


def ipo_sum(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """IPO on summed log-ratios: (h - 1 / (2 beta))**2.

    Azar et al., arXiv:2310.12036, eq. 17 as it is written. TRL's `ipo` divides by the answer's length first, which its
    authors confirmed to be what they measured; the sum is offered for comparison.
    """
    return (chosen - rejected - 1 / (2 * beta)) ** 2


def kto_pair(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """KTO on pairs: each answer against the other side's mean log-ratio of the batch as its KL estimate.

    Ethayarajh et al., arXiv:2402.01306, eq. 7 with lambda 1; the estimate is clamped at 0 and has no gradient.
    The mean of the two terms is given for each pair.
    """
    import torch

    kl_chosen = chosen.mean().clamp(min=0).detach()
    kl_rejected = rejected.mean().clamp(min=0).detach()
    wanted = 1 - torch.sigmoid(beta * (chosen - kl_rejected))
    unwanted = 1 - torch.sigmoid(beta * (kl_chosen - rejected))
    return (wanted + unwanted) / 2


def our_loss(name: str, chosen: Any, rejected: Any, *, beta: float, smoothing: float) -> Any:
    """Compute one of `OURS` by its name."""
    if name == "cdpo":
        return conservative_dpo(chosen, rejected, beta=beta, smoothing=smoothing)
    if name == "ipo_sum":
        return ipo_sum(chosen, rejected, beta=beta)
    if name == "kto_pair":
        return kto_pair(chosen, rejected, beta=beta)
    raise ValueError(f"{name!r} is not one of {OURS}")
