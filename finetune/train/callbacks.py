"""Trainer callbacks: they write metrics and samples, and stop training early. Loads transformers."""

import json
import time
from typing import Any

from transformers import TrainerCallback

from finetune.templates.messages import Message
from finetune.train.context import Run
from finetune.train.generate import generate
from finetune.train.guardrails import GuardRails
from finetune.train.load import LoadedModel
from finetune.train.metrics import append_metrics, truncate_metrics


class MetricsWriter(TrainerCallback):  # type: ignore[misc]
    """Writes metrics.jsonl, adds tokens per second, and passes the metrics to the guard rails."""

    def __init__(self, run: Run, rails: GuardRails) -> None:
        self._folder = run.folder
        self._rails = rails
        self._last: tuple[float, float] | None = None  # time and tokens at the last line
        self.tokens = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remove the lines after the step from which a resumed run continues."""
        kept = truncate_metrics(self._folder, state.global_step) if state.is_world_process_zero else []
        counts = [line["num_tokens"] for line in kept if "num_tokens" in line]
        self._last = (time.perf_counter(), float(counts[-1]) if counts else 0.0)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Append what the trainer logged."""
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
        append_metrics(self._folder, line)
        self._rails.check(logs)


class LogLastStep(TrainerCallback):  # type: ignore[misc]
    """Logs the last step as well, whatever `log_every` is: a shorter run would show its first loss only."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Request a log line at the last step."""
        if state.global_step >= state.max_steps:
            control.should_log = True


class StopAtLoss(TrainerCallback):  # type: ignore[misc]
    """Stops training when the logged training loss is below a threshold."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Check the loss that was just logged."""
        if logs and "loss" in logs and logs["loss"] < self._threshold:
            control.should_training_stop = True


class Sampler(TrainerCallback):  # type: ignore[misc]
    """Answers the run's prompts at each evaluation and appends the answers to samples.jsonl."""

    def __init__(self, run: Run, rails: GuardRails) -> None:
        self._path = run.folder / "samples.jsonl"
        self._run = run
        self._rails = rails

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Answer before the first step; remove the answers after the step from which a resumed run continues."""
        if state.is_world_process_zero and self._path.is_file():
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if state.global_step and json.loads(line)["step"] <= state.global_step]
            self._path.write_text("".join(kept), encoding="utf-8")
        if state.global_step == 0:
            self._sample(state, model)

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Answer with the weights that were just evaluated."""
        self._sample(state, model)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Answer with the final weights."""
        self._sample(state, model)

    def _sample(self, state: Any, model: Any) -> None:
        if not state.is_world_process_zero:
            return
        config = self._run.config
        inner = getattr(model, "module", model)  # DDP wraps the model
        loaded = LoadedModel(inner, self._run.tokenizer, self._run.template, config.model)
        training = inner.training
        inner.eval()
        lengths = []
        with self._path.open("a", encoding="utf-8") as stream:
            for prompt in config.prompts:
                found = generate(loaded, (Message("user", prompt),), max_new_tokens=config.sample_tokens)
                lengths.append(found.tokens)
                line = {"step": state.global_step, "prompt": prompt, "answer": found.text, "finish": found.finish}
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        inner.train(training)
        self._rails.check({"sample_tokens": sum(lengths) / len(lengths)})
