"""What only a card can show: exports, first losses, memory, speed. `make gpu` runs it in about ten minutes.

With QUIRE_CARD_SUITE=cpu the same tests run on the processor with tiny models, so that their code is known to work.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from finetune.config import TrainConfig, build
from finetune.data.records import Conversation, Preference
from finetune.templates.messages import Message
from finetune.train.metrics import read_metrics

ON_CPU = os.environ.get("QUIRE_CARD_SUITE") == "cpu"
REPORT = Path("bench-out/card.md")  # in the folder that the tests are started in
SENTENCE = "The cow says moo and the dog says woof while the cat says meow. "

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(900)]


@dataclass
class Bench:
    """The device, the base models by kind, and the figures for the report."""

    device: str
    bases: dict[str, str]
    length: int  # tokens of a row
    rows: int
    figures: list[tuple[str, str]] = field(default_factory=list)

    def note(self, what: str, figure: str) -> None:
        self.figures.append((what, figure))


@pytest.fixture(scope="module")
def bench(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    import torch

    if ON_CPU:
        bench = Bench("cpu", models, length=128, rows=24)
    elif torch.cuda.is_available():
        folder = tmp_path_factory.mktemp("bases")
        bases = {kind: _large(Path(models[kind]), folder / kind, kind) for kind in models}
        bench = Bench("cuda", bases, length=2048, rows=64)
    else:
        pytest.skip("no CUDA device; QUIRE_CARD_SUITE=cpu runs these tests on the processor")
    yield bench
    name = "processor, tiny models" if ON_CPU else torch.cuda.get_device_name()
    REPORT.parent.mkdir(exist_ok=True)
    lines = [f"# Card suite: {name}", "", f"torch {torch.__version__}", "", "| what | figure |", "|---|---|"]
    REPORT.write_text("\n".join([*lines, *(f"| {what} | {figure} |" for what, figure in bench.figures), ""]))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIRE_HOME", str(tmp_path / "home"))


def _large(tiny: Path, folder: Path, kind: str) -> str:
    """Write a model of Qwen2.5-1.5B's or Phi-2's shape with random bf16 weights and the tiny model's tokenizer."""
    import shutil

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shapes = {
        "qwen2": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
                  "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768},
        "phi": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32, "num_attention_heads": 32,
                "num_key_value_heads": 32, "vocab_size": 51200, "max_position_embeddings": 2048},
    }  # fmt: skip
    shutil.copytree(tiny, folder)
    config = AutoConfig.from_pretrained(tiny)
    config.update(shapes[kind])
    if getattr(config, "layer_types", None):
        config.layer_types = ["full_attention"] * config.num_hidden_layers
    torch.manual_seed(0)
    with torch.device("cuda"):
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    torch.cuda.empty_cache()
    return str(folder)


def _config(bench: Bench, kind: str = "qwen2", **changes: Any) -> TrainConfig:
    return build(
        {
            "model": bench.bases[kind], "device": bench.device, "dtype": "bf16", "rank": 16, "max_length": bench.length,
            "batch_size": 2, "accumulation": 1, "max_steps": 4, "epochs": 100.0, "log_every": 1, "warmup": 0.0,
            "schedule": "constant", "optimizer": "adamw_torch", "gradient_checkpointing": not ON_CPU,
        },
        changes,
    )  # fmt: skip


def _conversations(bench: Bench) -> list[Conversation]:
    longest = bench.length // 24
    return [
        Conversation(
            (Message("user", f"Question {i}?"), Message("assistant", SENTENCE * (1 + i * 7 % max(2, longest)))),
            source="made",
            row=i,
        )
        for i in range(bench.rows)
    ]


def _pairs(bench: Bench) -> list[Preference]:
    return [
        Preference(c.messages[:1], c.messages[1:], (Message("assistant", "I do not know. " * (1 + c.row % 5)),), source="made", row=c.row)
        for c in _conversations(bench)
    ]  # fmt: skip


def _train(config: TrainConfig, bench: Bench) -> Path:
    from finetune.train.run import train

    records = _conversations(bench) if config.stage == "sft" else _pairs(bench)
    return train(config, records=records, progress=lambda _: None)


def _losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(run) if "loss" in line]


@pytest.mark.parametrize("precompute", [True, False], ids=["precomputed", "at every step"])
@pytest.mark.parametrize("method", ["qlora", "lora", "full"])
def test_the_first_dpo_loss_is_ln_2_in_bf16(bench: Bench, method: str, precompute: bool) -> None:
    config = _config(bench, stage="dpo", method=method, name="dpo", precompute_reference=precompute, max_steps=1)
    first = _losses(_train(config, bench))[0]
    bench.note(
        f"first DPO loss, {method}, reference {'precomputed' if precompute else 'at every step'}", f"{first:.6f}"
    )
    # batches of another composition take other kernels on a card, so that 16-bit log-probabilities of one row differ
    assert first == pytest.approx(math.log(2), abs=1e-6 if ON_CPU or not precompute else 3e-3)


@pytest.mark.parametrize("kind", ["qwen2", "phi"])
def test_activations_of_a_4_bit_base_have_16_bits(bench: Bench, kind: str) -> None:
    import torch

    from finetune.train.load import add_adapter, load_base

    config = _config(bench, kind, stage="sft", method="qlora", name="types")
    model = add_adapter(load_base(config), config)
    seen: set[torch.dtype] = set()
    for module in model.modules():
        if type(module).__name__.endswith("DecoderLayer"):
            module.register_forward_hook(
                lambda _m, _a, out: seen.add((out[0] if isinstance(out, tuple) else out).dtype)
            )
    ids = torch.arange(4, 36, device=bench.device)[None]
    with torch.no_grad():
        model(input_ids=ids)
    assert seen == {torch.bfloat16}


@pytest.mark.parametrize(("stage", "method"), [("sft", "qlora"), ("sft", "lora"), ("dpo", "qlora")])
@pytest.mark.parametrize("kind", ["qwen2", "phi"])
def test_the_peak_is_within_15_percent_of_the_plan(bench: Bench, kind: str, stage: str, method: str) -> None:
    from finetune.train.cards import GB, detect_card
    from finetune.train.plan import make_plan

    config = _config(bench, kind, stage=stage, method=method, name="memory")
    planned = make_plan(config, card=detect_card()).stages[stage].total / GB
    report = json.loads((_train(config, bench) / "report.json").read_text())
    measured = report["peak_memory_gb"]
    bench.note(f"memory, {kind}, {stage}, {method}: planned, measured", f"{planned:.2f}, {measured:.2f} GB")
    if not ON_CPU:  # the tiny models' share of a process's memory is too small to compare
        assert measured == pytest.approx(planned, rel=0.15)


def test_packed_rows_have_the_loss_of_separate_ones(bench: Bench) -> None:
    from finetune.train.run import train

    rows = [
        Conversation((Message("user", f"Q{n}?"), Message("assistant", "Moo. " * n)), source="made", row=n)
        for n in (1, 2, 4)
    ]
    found = {}
    for packing in (True, False):
        config = _config(
            bench, stage="sft", method="lora", max_steps=1, name=f"packed-{packing}", packing=packing,
            batch_size=1 if packing else 3,
        )  # fmt: skip
        found[packing] = _losses(train(config, records=rows, progress=lambda _: None))[0]
        bench.note(f"loss of three rows, {'packed' if packing else 'separate'}", f"{found[packing]:.4f}")
    assert found[True] == pytest.approx(found[False], rel=5e-3)


@pytest.mark.parametrize(("kind", "method"), [("qwen2", "qlora"), ("qwen2", "lora"), ("phi", "qlora")])
def test_throughput(bench: Bench, kind: str, method: str) -> None:
    changes = {} if method == "qlora" else {"gradient_checkpointing": False}
    config = _config(bench, kind, stage="sft", method=method, name="speed", packing=True, max_steps=8, **changes)
    report = json.loads((_train(config, bench) / "report.json").read_text())
    bench.note(
        f"speed, {kind}, sft, {method}, packed", f"{report['tokens_per_second']:,.0f} tokens/s, MFU {report['mfu']}"
    )
    assert report["tokens_per_second"] > 0


_RUN = """
import json, sys
sys.path.insert(0, sys.argv[3])
from tests.finetune import test_on_a_card as suite
bench = suite.Bench(**json.loads(sys.argv[1]))
config = suite._config(bench, **json.loads(sys.argv[2]))
from finetune.train.run import train
train(config, records=suite._conversations(bench), resume="--resume" in sys.argv, progress=lambda _: None)
"""


def _start(bench: Bench, settings: dict[str, Any], *more: str) -> subprocess.Popen[bytes]:
    given = {"device": bench.device, "bases": bench.bases, "length": bench.length, "rows": bench.rows}
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", _RUN, json.dumps(given), json.dumps(settings), root, *more]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}, stderr=subprocess.PIPE)


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()[-3000:]


def test_a_killed_run_resumes_with_the_losses_of_an_undisturbed_one(bench: Bench, tmp_path: Path) -> None:
    settings = {"stage": "sft", "method": "qlora", "max_steps": 60, "save_every": 10}
    killed = _start(bench, settings | {"name": "killed"})
    runs = tmp_path / "home" / "runs"
    state = runs / "killed" / "checkpoints" / "checkpoint-10" / "trainer_state.json"
    deadline = time.monotonic() + 500
    while not state.is_file():
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    assert not (runs / "killed" / "manifest.json").exists()
    _finish(_start(bench, settings | {"name": "killed"}, "--resume"))
    _finish(_start(bench, settings | {"name": "whole"}))
    last = [_losses(runs / name)[-1] for name in ("killed", "whole")]
    bench.note("last loss: resumed, undisturbed", f"{last[0]:.6f}, {last[1]:.6f}")
    assert last[0] == pytest.approx(last[1], rel=1e-6 if ON_CPU else 1e-2)


def test_a_4_bit_run_is_merged_and_its_file_agrees(bench: Bench, tmp_path: Path) -> None:
    from finetune.export.handover import to_gguf

    run = _train(_config(bench, stage="sft", method="qlora", name="export", max_steps=8, learning_rate=1e-4), bench)
    start = time.monotonic()
    parity = to_gguf(run, tmp_path / "model.gguf").parity
    figures = f"{parity.positions} positions, KL {parity.mean_kl:.1e}, worst {parity.max_kl:.1e}"
    bench.note("merge, F16 and parity check", f"{time.monotonic() - start:.0f} s, {figures}")
    assert parity.passed and (tmp_path / "model.gguf").stat().st_size > 0
