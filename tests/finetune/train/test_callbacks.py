"""A run that diverged with a finite loss ends with an error; one that learns goes on."""

from types import SimpleNamespace

import pytest

from finetune.errors import TrainingFailed
from finetune.train.callbacks import StopWhenNotFinite

ARGS = SimpleNamespace(output_dir="nowhere")
MODEL = SimpleNamespace(config=SimpleNamespace(vocab_size=512))


def log(lines: list[tuple[float, float]], *, sft: bool = True) -> None:
    watch = StopWhenNotFinite(sft=sft)
    for step, (loss, norm) in enumerate(lines, start=1):
        state = SimpleNamespace(global_step=step)
        watch.on_log(ARGS, state, None, logs={"loss": loss, "grad_norm": norm}, model=MODEL)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([(6.0, 1.0), (23.0, 1.0)], "diverges: the loss is 23 at step 2"),
        ([(6.0, 1.0), (6.1, 0.0), (6.1, 0.0)], "gradient is 0 at step 3"),
    ],
)
def test_a_diverged_run_ends_and_names_the_step(lines: list[tuple[float, float]], match: str) -> None:
    with pytest.raises(TrainingFailed, match=match):
        log(lines)
    log(lines, sft=False)


def test_a_run_that_learns_goes_on() -> None:
    log([(6.0, 1.0), (7.0, 2.0), (0.5, 0.1), (0.001, 0.0), (0.001, 0.0)])
    log([(0.2, 1.0), (5.0, 1.0)])
