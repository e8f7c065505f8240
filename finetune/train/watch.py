"""Keeps watch over a run while it trains: metrics.jsonl, samples, curves, and remedies said in a line when something goes wrong."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import TrainerCallback

from finetune.config import DPO_RATE, TrainConfig

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
# ten times the learning rate that is custom for preference training is said
COLLAPSE_NATS = 30.0  # a fall of the chosen answers' log-probability that is no longer usual
WINDOW = 4  # logged lines whose mean is compared, where one batch says little
GROWTH = 1.5  # answers longer than this many times the first ones


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's metrics.jsonl."""
    path = folder / METRICS
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def static_notices(config: TrainConfig) -> list[str]:
    """Say what in the settings of preference training is far from what others found to work."""
    if config.stage != "dpo":
        return []
    found = []
    custom = DPO_RATE[config.method]
    if config.family != "free" and config.learning_rate > 10 * custom:
        found.append(
            f"learning_rate {config.learning_rate:g} is more than ten times what is custom for preference training "
            f"with {config.method} ({custom:g}): expect collapsing answers; set --learning-rate {custom:g}"
        )
    if not config.parent and config.family != "free":
        found.append(
            "this model was not tuned on such answers before: preference training works on top of SFT; "
            "run `quire finetune sft` on the chosen answers and give that run as --parent"
        )
    return found


class Rails:
    """Watches logged numbers and says, once each, what goes wrong and the remedy."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._first: dict[str, float] = {}
        self._chosen: list[float] = []
        self._said: set[str] = set()

    def look(self, logs: Mapping[str, float]) -> None:
        """Look at one line of metrics."""
        self._look_at_chosen(logs)
        first, now = self._start("sample_tokens", logs)
        if first and now is not None and now > GROWTH * first:
            self._once(
                "growth",
                f"answers grew from {first:.0f} to {now:.0f} tokens: length is being learned instead of quality; use "
                "--loss sigmoid_norm or simpo, or balance the lengths of chosen and rejected answers",
            )

    def _look_at_chosen(self, logs: Mapping[str, float]) -> None:
        """Tell collapse by the log-ratio to the reference, which is of the same rows; without one, by means of several lines."""
        if "kl/chosen" in logs:
            first, now = self._start("kl/chosen", logs)
        elif "logps/chosen" in logs:
            self._chosen.append(float(logs["logps/chosen"]))
            if len(self._chosen) <= WINDOW:
                return
            first, now = fmean(self._chosen[:WINDOW]), fmean(self._chosen[-WINDOW:])
        else:
            return
        if first is not None and now is not None and now < first - COLLAPSE_NATS:
            self._once(
                "collapse",
                f"log-probability of chosen answers fell by {first - now:.1f} nats: the model unlearns what it "
                "should prefer; add --loss sigmoid+0.2*sft, or lower the learning rate, or raise beta",
            )

    def _start(self, key: str, logs: Mapping[str, float]) -> tuple[float | None, float | None]:
        if key not in logs:
            return None, None
        return self._first.setdefault(key, float(logs[key])), float(logs[key])

    def _once(self, kind: str, sentence: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._say(sentence)


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Writes one line of metrics.jsonl each time the trainer logs, with tokens a second, and feeds the rails."""

    def __init__(self, folder: Path, rails: Rails) -> None:
        self._path = folder / METRICS
        self._rails = rails
        self._last: tuple[float, float] | None = None
        self.tokens = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Drop lines after the step that a resumed run goes on from."""
        self._last = (time.perf_counter(), 0.0)
        if state.is_world_process_zero and self._path.is_file():
            kept = [line for line in read_metrics(self._path.parent) if line["step"] <= state.global_step]
            self._path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            counts = [line["num_tokens"] for line in kept if "num_tokens" in line]
            self._last = (time.perf_counter(), float(counts[-1]) if counts else 0.0)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Append what was logged."""
        if not logs or not state.is_world_process_zero:
            return
        line: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        line.update({k: v for k, v in logs.items() if k not in ("epoch", "step")})
        now = time.perf_counter()
        if "num_tokens" in logs and "loss" in logs:
            self.tokens = float(logs["num_tokens"])
            if self._last and now > self._last[0]:
                line["tokens_per_second"] = round((self.tokens - self._last[1]) / (now - self._last[0]), 1)
            self._last = (now, self.tokens)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        self._rails.look(logs)


class LastStep(TrainerCallback):  # type: ignore[misc]
    """Has the last step logged too, whatever `log_every` is: a run that is shorter would show its first loss alone."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a line at the end."""
        if state.global_step >= state.max_steps:
            control.should_log = True


class StopAtLoss(TrainerCallback):  # type: ignore[misc]
    """Ends training once the logged training loss is below a mark."""

    def __init__(self, mark: float) -> None:
        self._mark = mark

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Look at the loss that was just logged."""
        if logs and "loss" in logs and logs["loss"] < self._mark:
            control.should_training_stop = True


class Sampler(TrainerCallback):  # type: ignore[misc]
    """Answers the same prompts at each evaluation and keeps the answers in samples.jsonl."""

    def __init__(self, folder: Path, config: TrainConfig, tokenizer: Any, template: Any, rails: Rails) -> None:
        self._path = folder / SAMPLES
        self._config = config
        self._tokenizer = tokenizer
        self._template = template
        self._rails = rails

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Answer before the first step, for comparison; drop answers after the step that a resumed run goes on from."""
        if state.is_world_process_zero and self._path.is_file():
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if state.global_step and json.loads(line)["step"] <= state.global_step]
            self._path.write_text("".join(kept), encoding="utf-8")
        if state.global_step == 0:
            self._sample(state, model)

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Answer with the weights just evaluated."""
        self._sample(state, model)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Answer with the last weights."""
        self._sample(state, model)

    def _sample(self, state: Any, model: Any) -> None:
        if not state.is_world_process_zero or not self._config.prompts:
            return
        from finetune.evaluate.generate import answer
        from finetune.templates.messages import Message
        from finetune.train.load import Loaded

        inner = getattr(model, "module", model)  # DDP wraps
        loaded = Loaded(inner, self._tokenizer, self._template, self._config.model)
        training = inner.training
        inner.eval()
        lengths = []
        with self._path.open("a", encoding="utf-8") as stream:
            for prompt in self._config.prompts:
                found = answer(loaded, (Message("user", prompt),), max_new_tokens=self._config.sample_tokens)
                lengths.append(found.tokens)
                line = {"step": state.global_step, "prompt": prompt, "answer": found.text, "finish": found.finish}
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        inner.train(training)
        self._rails.look({"sample_tokens": sum(lengths) / len(lengths)})


CURVES = (
    ("loss", ("loss", "eval_loss")),
    ("learning rate", ("learning_rate",)),
    ("tokens/s", ("tokens_per_second",)),
    ("rewards", ("rewards/chosen", "rewards/rejected")),
    ("log-probabilities", ("logps/chosen", "logps/rejected")),
    ("margin", ("rewards/margins", "eval_rewards/margins")),
    ("accuracy", ("rewards/accuracies", "eval_rewards/accuracies", "mean_token_accuracy")),
    ("KL to the reference", ("kl", "eval_kl")),
    ("answer tokens", ("lengths/chosen", "lengths/rejected")),
)


def draw_curves(folder: Path) -> Path | None:
    """Draw metrics.jsonl as curves.png, one panel a kind of number; None when nothing was logged."""
    lines = read_metrics(folder)
    panels = [(title, keys) for title, keys in CURVES if any(key in line for line in lines for key in keys)]
    if not panels:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    count = -(-len(panels) // columns)
    figure = Figure(figsize=(4.5 * columns, 3 * count), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (title, keys) in enumerate(panels):
        axes = figure.add_subplot(count, columns, index + 1)
        for key in keys:
            points = [(line["step"], line[key]) for line in lines if key in line]
            if points:
                axes.plot(*zip(*points, strict=True), label=key, marker="." if len(points) < 30 else None)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.legend(fontsize="small")
    figure.savefig(folder / "curves.png", dpi=100)
    return folder / "curves.png"
