"""Trainer callbacks: they write metrics and samples, and stop training early. Loads transformers."""

import json
import math
import time
from pathlib import Path
from typing import Any, NoReturn

from transformers import IntervalStrategy, TrainerCallback

from finetune.errors import FinetuneError, TrainingFailed
from finetune.templates.messages import Message
from finetune.train.context import Progress, Run
from finetune.train.generate import generate
from finetune.train.guardrails import GuardRails
from finetune.train.load import LoadedModel
from finetune.train.metrics import append_metrics, truncate_metrics
from quire import pluralize, strict_json

PROGRESS_SECONDS = 10.0


class StopWhenNotFinite(TrainerCallback):  # type: ignore[misc]
    """Ends a run at the first logged loss or gradient norm that is not a finite number, and an SFT run that diverged.

    A diverged run has a loss above that of guessing and three times the first one, or twice no gradient at all.

    With fp16 on a GPU, the loss is scaled so that small gradients do not vanish. A gradient that overflows halves that scale,
    from 65536 on, and its step is skipped: a few such steps are usual. When the scale is below 1, the gradient overflows
    without it as well, and no later step would be taken either.
    """

    def __init__(self, *, sft: bool = False) -> None:
        self._sft = sft
        self._first: float | None = None
        self._flat = 0
        self._skipped = 0  # steps since the last one that was taken
        self._took_a_step = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the steps that a resumed run has taken before."""
        self._took_a_step = state.global_step > 0

    def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        """Check the loss scale of fp16 after a step that was skipped."""
        if not optimizer.step_was_skipped:
            self._skipped, self._took_a_step = 0, True
            return
        self._skipped += 1
        if optimizer.scaler.get_scale() < 1:
            self._fail(
                args,
                f"the gradient is not a number in fp16 at step {state.global_step}: it overflowed in "
                f"{pluralize(self._skipped, 'step')} in a row, until the loss scale was below 1",
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Refuse a run that has changed no weight."""
        if self._skipped and not self._took_a_step:
            self._fail(
                args,
                f"nothing was trained: in fp16, the gradient overflowed in every step up to step {state.global_step}",
            )

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, float] | None = None,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Check what was just logged."""
        logs = logs or {}
        skipped = getattr(optimizer, "step_was_skipped", False)  # its gradient overflowed, see above
        watched = ("loss", "eval_loss") if skipped else ("loss", "eval_loss", "grad_norm")
        for name in watched:
            value = logs.get(name, 0.0)
            if not math.isfinite(value):
                problem = f"{name.replace('_', ' ')} is not a number at step {state.global_step} ({value})"
                self._fail(args, problem, resumable=True)
        if self._sft and "loss" in logs:
            self._check_divergence(args, state.global_step, logs, model)

    def _check_divergence(self, args: Any, step: int, logs: dict[str, float], model: Any) -> None:
        loss = logs["loss"]
        self._first = loss if self._first is None else self._first
        guessing = math.log(getattr(getattr(model, "config", None), "vocab_size", 0) or 2**20)
        if loss > max(3 * self._first, guessing + 1):
            self._fail(
                args, f"the run diverges: the loss is {loss:.4g} at step {step}, at first it was {self._first:.4g}"
            )
        self._flat = self._flat + 1 if logs.get("grad_norm") == 0.0 and loss > self._first / 2 else 0
        if self._flat == 2:
            self._fail(args, f"the gradient is 0 at step {step}, with a loss of {loss:.4g}: the run diverged")

    def _fail(self, args: Any, problem: str, *, resumable: bool = False) -> NoReturn:
        hint = (
            "use --dtype bf16 or fp32 instead of fp16, or a lower --learning-rate; if it is the first step, check the "
            "base: `quire finetune generate` with it"
        )
        if resumable and any(Path(args.output_dir).glob("checkpoint-*")):
            hint += "; --resume continues from the last checkpoint, which is sound"
        raise TrainingFailed(problem, hint)


class MetricsWriter(TrainerCallback):  # type: ignore[misc]
    """Writes metrics.jsonl, adds seconds and tokens since the start, and passes the metrics to the guard rails.

    Both are also in the trainer's own log, which is part of each checkpoint, so that a resumed run continues its counts.
    """

    def __init__(self, run: Run, rails: GuardRails) -> None:
        self._folder = run.folder
        self._rails = rails
        self._started = time.perf_counter()
        self._last = (0.0, 0.0)  # seconds and tokens at the last line
        self._before = (0.0, 0.0)  # seconds and tokens of the parts of the run before this one
        self.tokens = 0.0  # of all parts

    @property
    def seconds(self) -> float:
        """Return the seconds that the run has taken, in all its parts up to their last checkpoints."""
        return self._before[0] + time.perf_counter() - self._started

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Continue the counts of a resumed run, and remove the lines after the step from which it continues."""
        if state.is_world_process_zero:
            truncate_metrics(self._folder, state.global_step)
        seconds, tokens = (
            max((float(line.get(name, 0.0)) for line in state.log_history), default=0.0)
            for name in ("seconds", "num_tokens")
        )
        self._started = time.perf_counter()
        self._before = self._last = (seconds, tokens)
        self.tokens = tokens

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Append what the trainer logged."""
        if not logs or not state.is_world_process_zero:
            return
        line: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        line.update({k: v for k, v in logs.items() if k not in ("epoch", "step")})
        added = {"seconds": round(self.seconds, 3)}
        if "num_tokens" in logs:
            self.tokens = added["num_tokens"] = self._before[1] + float(logs["num_tokens"])
        if "num_tokens" in logs and "loss" in logs:
            seconds, tokens = added["seconds"] - self._last[0], self.tokens - self._last[1]
            if seconds > 0:
                line["tokens_per_second"] = round(tokens / seconds, 1)
            self._last = (added["seconds"], self.tokens)
        line.update(added)
        state.log_history[-1].update(added)
        append_metrics(self._folder, line)
        self._rails.check(logs)


class ProgressLines(TrainerCallback):  # type: ignore[misc]
    """Prints how far a run is, for a pipe or a file, where a progress bar would be a mess."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._started = self._last = time.perf_counter()
        self._first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock; a resumed run begins at a later step."""
        self._started = self._last = time.perf_counter()
        self._first_step = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Print a line, at most one in PROGRESS_SECONDS."""
        now, done = time.perf_counter(), state.global_step - self._first_step
        if not logs or "loss" not in logs or not done or now - self._last < PROGRESS_SECONDS:
            return
        self._last = now
        minutes = (now - self._started) / done * (state.max_steps - state.global_step) / 60
        self._progress(
            f"step {state.global_step:,} of {state.max_steps:,}: loss {logs['loss']:.4f}, about {minutes:,.0f} minutes left"
        )


class LogWithCheckpoint(TrainerCallback):  # type: ignore[misc]
    """Logs the last step and before every checkpoint, whatever `log_every` is.

    A short run would show its first loss only, and a checkpoint is written only after its loss was found to be finite.
    """

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Request a log line."""
        if control.should_save or state.global_step >= state.max_steps:
            control.should_log = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Request a log line where checkpoints are written by epoch."""
        if control.should_save:
            control.should_log = True


class StopAtLoss(TrainerCallback):  # type: ignore[misc]
    """Stops training when the logged training loss is below a threshold; a run with held-out rows evaluates that step."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Check the loss that was just logged."""
        if logs and "loss" in logs and logs["loss"] < self._threshold:
            control.should_training_stop = True
            if args.eval_strategy == IntervalStrategy.STEPS:  # by epoch, transformers evaluates when the loop ends
                control.should_evaluate = control.should_save = True


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
        self._sample(state, model, name="final_sample_tokens")

    def _sample(self, state: Any, model: Any, *, name: str = "sample_tokens") -> None:
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
                try:
                    found = generate(loaded, (Message("user", prompt),), max_new_tokens=config.sample_tokens)
                except FinetuneError as exc:
                    raise TrainingFailed(f"at step {state.global_step}, {exc.message}", exc.hint) from exc
                lengths.append(found.tokens)
                line = {"step": state.global_step, "prompt": prompt, "answer": found.text, "finish": found.finish}
                stream.write(strict_json(line) + "\n")
        inner.train(training)
        self._rails.check({name: sum(lengths) / len(lengths)})
