"""The preference losses, as functions of log-probabilities.

Every tensor has the shape [pairs], and every function returns one loss a pair, in nats where it is a log-likelihood.
`chosen` and `rejected` are log-ratios log p(answer) - log p_ref(answer), summed over the answer's tokens, unless a function
says otherwise. `beta` scales log-ratios: 0.1 is usual, 0.01 to 0.5 the range, and a higher one stays closer to the
reference. Losses of single answers, at the end, take tensors of the shape [answers].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# -- with a reference


def sigmoid(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the DPO loss: -log sigmoid(beta (chosen - rejected)); ln 2 where the policy is the reference.

    Rafailov et al., arXiv:2305.18290, eq. 7. On means over tokens it is `sigmoid_norm`, arXiv:2411.15124, section 5.
    """
    return -_logsigmoid(beta * (chosen - rejected))


def hinge(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the hinge loss: max(0, 1 - beta (chosen - rejected)).

    SLiC, arXiv:2305.10425; on log-ratios as in RSO, arXiv:2309.06657, section 3.
    """
    return (1 - beta * (chosen - rejected)).clamp(min=0)


def ipo(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the IPO loss: (chosen - rejected - 1 / (2 beta))**2.

    Azar et al., arXiv:2310.12036, eq. 17, where beta is called tau. `ipo` is this on means over tokens, which the authors
    confirmed is what they measured; `ipo_sum` is the equation as printed, for comparison.
    """
    return (chosen - rejected - 1 / (2 * beta)) ** 2


def conservative_dpo(chosen: Any, rejected: Any, *, beta: float, smoothing: float) -> Any:
    """Return the cDPO loss: binary cross-entropy that assumes a share `smoothing` of pairs to be mislabeled.

    Mitchell, "A note on DPO with noisy preferences and relationship to IPO" (2023), eq. 3:
    -(1 - eps) log sigmoid(beta h) - eps log sigmoid(-beta h) with h = chosen - rejected. `smoothing` is 0.1 to 0.3.
    """
    h = beta * (chosen - rejected)
    return -(1 - smoothing) * _logsigmoid(h) - smoothing * _logsigmoid(-h)


def robust(chosen: Any, rejected: Any, *, beta: float, smoothing: float) -> Any:
    """Return the robust DPO loss, which is unbiased where a share `smoothing` of the pairs is mislabeled.

    Chowdhury et al., arXiv:2403.00409, eq. 9: (-(1 - eps) log sigmoid(beta h) + eps log sigmoid(-beta h)) / (1 - 2 eps).
    `smoothing` is 0.1 to 0.3, and below 0.5.
    """
    h = beta * (chosen - rejected)
    return (-(1 - smoothing) * _logsigmoid(h) + smoothing * _logsigmoid(-h)) / (1 - 2 * smoothing)


def exo_pair(chosen: Any, rejected: Any, *, beta: float, smoothing: float) -> Any:
    """Return the EXO loss of two answers: the reverse KL from softmax(beta log-ratios) to (1 - eps, eps).

    Ji et al., arXiv:2402.00856, eq. 16. `smoothing` is the paper's epsilon, above 0; 0.001 is usual.
    """
    h = beta * (chosen - rejected)
    wanted = h.sigmoid() * (_logsigmoid(h) - math.log1p(-smoothing))
    return wanted + (-h).sigmoid() * (_logsigmoid(-h) - math.log(smoothing))


def nca_pair(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the NCA loss of two answers, which also keeps the chosen answer's likelihood from falling.

    Chen et al., arXiv:2402.05369, eq. 11, with r = beta times log-ratio:
    -log sigmoid(r_c) - (log sigmoid(-r_c) + log sigmoid(-r_r)) / 2. `beta` is 0.01 there.
    """
    good, bad = beta * chosen, beta * rejected
    return -_logsigmoid(good) - 0.5 * _logsigmoid(-good) - 0.5 * _logsigmoid(-bad)


def apo_zero(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the APO-zero loss, for chosen answers that are better than the model's own: 1 - sigmoid(r_c) + sigmoid(r_r).

    D'Oosterlinck et al., arXiv:2408.06266, eq. 7, with r = beta times log-ratio.
    """
    return 1 - (beta * chosen).sigmoid() + (beta * rejected).sigmoid()


def apo_down(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the APO-down loss, for chosen answers that are worse than the model's own: sigmoid(r_c) + 1 - sigmoid(r_c - r_r).

    D'Oosterlinck et al., arXiv:2408.06266, eq. 8, with r = beta times log-ratio.
    """
    return (beta * chosen).sigmoid() + 1 - (beta * (chosen - rejected)).sigmoid()


def discopop(chosen: Any, rejected: Any, *, beta: float, tau: float) -> Any:
    """Return the DiscoPOP loss: a mix of the logistic and the exponential loss of x = beta (chosen - rejected).

    Lu et al., arXiv:2406.08414, eq. 5, with m = sigmoid(x / tau): (1 - m) (-log sigmoid(x)) + m exp(-x). `tau` is 0.05.
    """
    x = beta * (chosen - rejected)
    mix = (x / tau).sigmoid()
    return -_logsigmoid(x) * (1 - mix) + (-x).exp() * mix


def kto_pair(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the KTO loss of pairs, whose KL estimate for one side is the batch's mean log-ratio of the other side.

    Ethayarajh et al., arXiv:2402.01306, eq. 7 with lambda 1. The estimate is clamped at 0 and has no gradient. The loss
    of a pair is the mean of its two terms.
    """
    kl_chosen = chosen.mean().clamp(min=0).detach()
    kl_rejected = rejected.mean().clamp(min=0).detach()
    wanted = 1 - (beta * (chosen - kl_rejected)).sigmoid()
    unwanted = 1 - (beta * (kl_chosen - rejected)).sigmoid()
    return (wanted + unwanted) / 2


# -- without a reference: on log-probabilities instead of log-ratios


def likelihood(chosen: Any, tokens: Any) -> Any:
    """Return SFT's loss on the chosen answers, the same for each pair: -(sum of log p) / (sum of `tokens`).

    `chosen` are summed log-probabilities and `tokens` lengths of answers. In a sum such as sigmoid+0.2*sft it is RPO's term,
    arXiv:2404.19733, eq. 1; weights of 0.1 to 1 are usual.
    """
    return (-chosen.sum() / tokens.sum()).expand(chosen.shape)


def orpo(chosen: Any, rejected: Any, *, beta: float) -> Any:
    """Return the ORPO loss: -chosen - beta log sigmoid(log odds ratio), on mean log-probabilities a token.

    Hong et al., arXiv:2403.07691, eqs. 6 and 7, where beta is called lambda and is 0.1 to 1.
    """
    return -chosen - beta * _logsigmoid(log_odds_ratio(chosen, rejected))


def log_odds_ratio(chosen: Any, rejected: Any) -> Any:
    """Return log(odds(chosen) / odds(rejected)) with odds(p) = p / (1 - p), of mean log-probabilities a token (below 0)."""
    return chosen - rejected - (_log1mexp(chosen) - _log1mexp(rejected))


def cpo(chosen: Any, rejected: Any, tokens: Any, *, beta: float) -> Any:
    """Return the CPO loss: -log sigmoid(beta (chosen - rejected)) on summed log-probabilities, plus `likelihood`.

    Xu et al., arXiv:2401.08417, eqs. 4 and 5; `beta` is 0.1 there.
    """
    return sigmoid(chosen, rejected, beta=beta) + likelihood(chosen, tokens)


def simpo(chosen: Any, rejected: Any, *, beta: float, gamma: float) -> Any:
    """Return the SimPO loss: -log sigmoid(beta (chosen - rejected) - gamma), on mean log-probabilities a token.

    Meng et al., arXiv:2405.14734, eq. 6. `beta` is 2.0 to 2.5 and `gamma` 0.3 to 1.6 there (table 7); the target margin is
    gamma / beta nats a token.
    """
    return -_logsigmoid(beta * (chosen - rejected) - gamma)


# -- of single answers, each labeled as wanted or not


def kto(ratios: Any, wanted: Any, reference_point: Any, *, beta: float) -> Any:
    """Return the KTO loss: 1 - sigmoid(beta (ratio - z0)) of a wanted answer, 1 - sigmoid(beta (z0 - ratio)) of another.

    Ethayarajh et al., arXiv:2402.01306, eqs. 7 and 8, before the weights lambda. `ratios` are log-ratios and `wanted` booleans
    of the shape [answers], `reference_point` is a number. The loss is between 0 and 1, and 1/2 where policy and reference are equal.
    """
    distance = beta * (ratios - reference_point)
    return 1 - distance.where(wanted, -distance).sigmoid()


def kto_reference_point(mismatched_ratios: Any) -> Any:
    """Return z0, the estimate of the KL from the reference: the mean log-ratio of mismatched answers, at least 0.

    arXiv:2402.01306, section 4.1: each answer was written for another prompt than the one that it follows. `mismatched_ratios`
    are sums over tokens of the shape [answers]; the result has no gradient. Noisy with few answers: batches of 8 and more are
    usual.
    """
    return mismatched_ratios.mean().clamp(min=0).detach()


def apo_zero_unpaired(ratios: Any, wanted: Any, *, beta: float) -> Any:
    """Return the APO-zero loss of single answers: 1 - sigmoid(beta ratio) of a wanted answer, sigmoid(beta ratio) of another.

    D'Oosterlinck et al., arXiv:2408.06266, eq. 7, whose two terms are those of a wanted and of an unwanted answer. It is KTO
    with a reference point of 0. `ratios` and `wanted` have the shape [answers].
    """
    return kto(ratios, wanted, 0.0, beta=beta)


# -- by name


@dataclass(frozen=True, slots=True)
class PairLogProbs:
    """Log-probabilities of a batch of pairs, summed over answers, their lengths in tokens, and the reference's; all [pairs].

    Without a reference, its log-probabilities are 0.
    """

    chosen: Any
    rejected: Any
    chosen_tokens: Any
    rejected_tokens: Any
    ref_chosen: Any
    ref_rejected: Any

    @property
    def ratios(self) -> tuple[Any, Any]:
        """Return the log-ratios of chosen and rejected answers."""
        return self.chosen - self.ref_chosen, self.rejected - self.ref_rejected

    @property
    def mean_ratios(self) -> tuple[Any, Any]:
        """Return the log-ratios as means over tokens."""
        chosen, rejected = self.ratios
        return chosen / self.chosen_tokens, rejected / self.rejected_tokens

    @property
    def means(self) -> tuple[Any, Any]:
        """Return the log-probabilities as means over tokens."""
        return self.chosen / self.chosen_tokens, self.rejected / self.rejected_tokens


@dataclass(frozen=True, slots=True)
class LossSettings:
    """The settings of losses, as TrainConfig names and explains them."""

    beta: float = 0.1
    label_smoothing: float = 0.0
    discopop_tau: float = 0.05
    simpo_gamma: float = 0.5
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0


_BY_NAME: dict[str, Callable[[PairLogProbs, LossSettings], Any]] = {
    "sigmoid": lambda x, s: sigmoid(*x.ratios, beta=s.beta),
    "sigmoid_norm": lambda x, s: sigmoid(*x.mean_ratios, beta=s.beta),
    "hinge": lambda x, s: hinge(*x.ratios, beta=s.beta),
    "ipo": lambda x, s: ipo(*x.mean_ratios, beta=s.beta),
    "ipo_sum": lambda x, s: ipo(*x.ratios, beta=s.beta),
    "cdpo": lambda x, s: conservative_dpo(*x.ratios, beta=s.beta, smoothing=s.label_smoothing),
    "robust": lambda x, s: robust(*x.ratios, beta=s.beta, smoothing=s.label_smoothing),
    "exo_pair": lambda x, s: exo_pair(*x.ratios, beta=s.beta, smoothing=s.label_smoothing),
    "nca_pair": lambda x, s: nca_pair(*x.ratios, beta=s.beta),
    "apo_zero": lambda x, s: apo_zero(*x.ratios, beta=s.beta),
    "apo_down": lambda x, s: apo_down(*x.ratios, beta=s.beta),
    "discopop": lambda x, s: discopop(*x.ratios, beta=s.beta, tau=s.discopop_tau),
    "kto_pair": lambda x, s: kto_pair(*x.ratios, beta=s.beta),
    "sft": lambda x, s: likelihood(x.chosen, x.chosen_tokens),
    "orpo": lambda x, s: orpo(*x.means, beta=s.beta),
    "cpo": lambda x, s: cpo(x.chosen, x.rejected, x.chosen_tokens, beta=s.beta),
    "simpo": lambda x, s: simpo(*x.means, beta=s.beta, gamma=s.simpo_gamma),
}


def preference_loss(weights: dict[str, float], pairs: PairLogProbs, settings: LossSettings) -> Any:
    """Return the weighted sum of the named losses, as a mean over pairs."""
    return sum(weight * _BY_NAME[name](pairs, settings).mean() for name, weight in weights.items())


def answer_loss(name: str, ratios: Any, wanted: Any, reference_point: Any, settings: LossSettings) -> Any:
    """Return a loss of single answers as a mean over them, each weighted by its label; tensors as for `kto`."""
    if name == "kto":
        losses = kto(ratios, wanted, reference_point, beta=settings.beta)
    else:
        losses = apo_zero_unpaired(ratios, wanted, beta=settings.beta)
    return (losses * (wanted * settings.desirable_weight + ~wanted * settings.undesirable_weight)).mean()


def _logsigmoid(x: Any) -> Any:
    from torch.nn.functional import logsigmoid

    return logsigmoid(x)


def _log1mexp(x: Any) -> Any:
    """Return log(1 - exp(x)) for x < 0; at 0, where a model is certain, it would be infinite."""
    return (-x.clamp(max=-1e-6).expm1()).log()
