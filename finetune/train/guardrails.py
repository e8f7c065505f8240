"""Guard rails of a run: warnings, each with a remedy, about its settings and its metrics."""

from collections.abc import Callable, Mapping
from statistics import fmean

from finetune.config import TrainConfig
from finetune.defaults import usual_settings

COLLAPSE_NATS = 30.0  # a larger fall of the chosen answers' log-probability is not usual
MEAN_OF_LINES = 4  # logged lines averaged where single batches vary too much
GROWTH_FACTOR = 1.5  # how much longer than at the start sampled answers may become


def settings_warnings(config: TrainConfig) -> list[str]:
    """Return a warning for each preference setting far outside what is known to work."""
    if config.stage != "dpo":
        return []
    found = []
    usual = usual_settings(config.stage, config.method, config.losses)["learning_rate"]
    if config.learning_rate > 10 * usual:
        found.append(
            f"learning_rate {config.learning_rate:g} is over 10x the usual one of {config.loss} with {config.method} "
            f"({usual:g}): expect collapse; set --learning-rate {usual:g}"
        )
    if not config.parent and config.kind != "reference-free":
        found.append(
            "this model has had no SFT on such answers: preference training works best after SFT; "
            "run `quire finetune sft` on the chosen answers and give that run as --parent"
        )
    return found


class GuardRails:
    """Checks logged metrics and reports each kind of problem once.

    In SFT, answers are expected to become as long as those of the data, of `answer_tokens` on average (0: unknown), and to
    end; in preference training, to stay about as long as they were.
    """

    def __init__(self, warn: Callable[[str], None], *, stage: str = "dpo", answer_tokens: float = 0.0) -> None:
        self._warn = warn
        self._stage = stage
        self._answer_tokens = answer_tokens
        self._first: dict[str, float] = {}
        self._chosen: list[float] = []
        self._reported: set[str] = set()

    def check(self, metrics: Mapping[str, float]) -> None:
        """Check one line of metrics."""
        if self._stage == "sft":
            self._check_ending(metrics)
        else:
            self._check_chosen(metrics)
            self._check_growth(metrics)

    def _check_ending(self, metrics: Mapping[str, float]) -> None:
        now, usual = metrics.get("final_sample_tokens", 0.0), self._answer_tokens
        if usual and now > GROWTH_FACTOR * usual:
            self._warn_once(
                "ending",
                f"sampled answers have {now:.0f} tokens, those of the data {usual:.0f}: the model has not learned when to stop; "
                "look for the end token in `quire finetune data show`, and train longer or with a higher learning rate",
            )

    def _check_growth(self, metrics: Mapping[str, float]) -> None:
        metrics = {"sample_tokens": metrics["final_sample_tokens"]} if "final_sample_tokens" in metrics else metrics
        first, now = self._first_and_current("sample_tokens", metrics)
        if first and now is not None and now > GROWTH_FACTOR * first:
            self._warn_once(
                "growth",
                f"sampled answers grew from {first:.0f} to {now:.0f} tokens: the model learns length instead of "
                "quality; use --loss sigmoid_norm or simpo, or balance the lengths of chosen and rejected answers",
            )

    def _check_chosen(self, metrics: Mapping[str, float]) -> None:
        """Detect collapse from the log-ratio to the reference, or, without a reference, from means of several lines."""
        if "kl/chosen" in metrics:
            first, now = self._first_and_current("kl/chosen", metrics)
        elif "logps/chosen" in metrics:
            self._chosen.append(float(metrics["logps/chosen"]))
            if len(self._chosen) <= MEAN_OF_LINES:
                return
            first, now = fmean(self._chosen[:MEAN_OF_LINES]), fmean(self._chosen[-MEAN_OF_LINES:])
        else:
            return
        if first is not None and now is not None and now < first - COLLAPSE_NATS:
            self._warn_once(
                "collapse",
                f"log-probability of chosen answers fell by {first - now:.1f} nats: the model unlearns the answers it "
                "should prefer; add --loss sigmoid+0.2*sft, or lower the learning rate, or raise beta",
            )

    def _first_and_current(self, key: str, metrics: Mapping[str, float]) -> tuple[float | None, float | None]:
        if key not in metrics:
            return None, None
        return self._first.setdefault(key, float(metrics[key])), float(metrics[key])

    def _warn_once(self, kind: str, sentence: str) -> None:
        if kind not in self._reported:
            self._reported.add(kind)
            self._warn(sentence)
