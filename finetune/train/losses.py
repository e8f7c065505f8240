"""Preference losses that TRL does not have, as functions of log-ratios.

Each takes `chosen` and `rejected`: log p(answer) - log p_ref(answer), summed over the answer's tokens, one value a pair
(tensors of shape [pairs]). Each returns one loss a pair.
"""

from typing import Any

NOT_IN_TRL = ("cdpo", "ipo_sum", "kto_pair")


def conservative_dpo(chosen: Any, rejected: Any, *, beta: float, smoothing: float) -> Any:
    """Return the cDPO loss: binary cross-entropy that assumes a share `smoothing` of pairs to be mislabeled.

    Mitchell, "A note on DPO with noisy preferences and relationship to IPO" (2023), eq. 3:
    -(1 - eps) log sigmoid(beta h) - eps log sigmoid(-beta h).
    """
    from torch.nn.functional import logsigmoid

    h = beta * (chosen - rejected)
    return -(1 - smoothing) * logsigmoid(h) - smoothing * logsigmoid(-h)


def ipo_sum(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the IPO loss on summed log-ratios: (h - 1 / (2 beta))**2.

    Azar et al., arXiv:2310.12036, eq. 17 as printed. TRL's `ipo` first divides by the answer's length, which the authors
    confirmed is what they measured; the sum is here for comparison.
    """
    return (chosen - rejected - 1 / (2 * beta)) ** 2


def kto_pair(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the KTO loss of pairs, whose KL estimate for one side is the batch's mean log-ratio of the other side.

    Ethayarajh et al., arXiv:2402.01306, eq. 7 with lambda 1. The estimate is clamped at 0 and has no gradient. The loss
    of a pair is the mean of its two terms.
    """
    import torch

    kl_chosen = chosen.mean().clamp(min=0).detach()
    kl_rejected = rejected.mean().clamp(min=0).detach()
    wanted = 1 - torch.sigmoid(beta * (chosen - kl_rejected))
    unwanted = 1 - torch.sigmoid(beta * (kl_chosen - rejected))
    return (wanted + unwanted) / 2


def named_loss(name: str, chosen: Any, rejected: Any, *, beta: float, smoothing: float) -> Any:
    """Return one of `NOT_IN_TRL` by its name."""
    if name == "cdpo":
        return conservative_dpo(chosen, rejected, beta=beta, smoothing=smoothing)
    return {"ipo_sum": ipo_sum, "kto_pair": kto_pair}[name](chosen, rejected, beta=beta)
