"""Training learns, starts at ln 2, resumes bit for bit, packs without leakage, and is the same with two processes."""

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from finetune.config import TrainConfig, build
from finetune.data.records import Conversation, Preference, to_task
from finetune.errors import MissingLibrary, RunExists, TrainingFailed, UnfinishedRun
from finetune.loss_names import LOSSES, UNPAIRED_LOSSES
from finetune.recipes import read_recipe
from finetune.runs.manifest import MANIFEST_FILE, read_manifest
from finetune.templates.messages import Message
from finetune.train.metrics import read_metrics
from finetune.train.run import last_checkpoint, train
from quire import UsageError
from tests.finetune.hosts import contacted

COMMON: dict[str, Any] = {
    "device": "cpu",
    "method": "lora",
    "rank": 4,
    "optimizer": "adamw_torch",
    "schedule": "constant",
    "warmup": 0.0,
    "batch_size": 3,
    "accumulation": 1,
    "max_length": 128,
    "gradient_checkpointing": False,
    "log_every": 1,
}


def quiet(line: str) -> None:
    """Print nothing."""


def weights_hash(folder: Path) -> str:
    found = sorted((folder / "adapter").glob("*.safetensors"))
    assert found
    return hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder) if "loss" in line]


@pytest.fixture(scope="module")
def sft(models: dict[str, str], conversations: list[Conversation], session_home: Path) -> dict[str, Path]:
    """An SFT run of each kind that knows the six animals; qwen2 in 4 bits, phi not."""
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUIRE_HOME", str(session_home))
        for kind, method in (("qwen2", "qlora"), ("phi", "lora")):
            config = build(COMMON, {
                "model": models[kind], "name": f"{kind}-sft", "method": method, "learning_rate": 5e-3, "epochs": 60.0,
                "stop_loss": 0.03, "prompts": ["What does the cow say?"], "sample_tokens": 16, "rank": 16, "batch_size": 6,
                "price_per_hour": 2.0, "watts": 100.0,
            })  # fmt: skip
            runs[kind] = train(config, records=conversations, progress=quiet)
    return runs


@pytest.fixture
def with_sft(sft: dict[str, Path], session_home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The same, with the home they live in."""
    monkeypatch.setenv("QUIRE_HOME", str(session_home))
    return sft


@pytest.mark.parametrize("kind", ["qwen2", "phi"])
def test_sft_learns_its_task_and_the_answer_ends(kind: str, sft: dict[str, Path]) -> None:
    samples = [json.loads(line) for line in (sft[kind] / "samples.jsonl").read_text().splitlines()]
    assert "moo" not in samples[0]["answer"]
    assert samples[-1]["answer"] == "The cow says moo."
    assert samples[-1]["finish"] == "stop"
    assert losses(sft[kind])[-1] < 0.03


def test_a_finished_run_has_all_its_files(sft: dict[str, Path]) -> None:
    folder = sft["qwen2"]
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.toml",
        "adapter",
        "checkpoints",
        "metrics.jsonl",
        "curves.png",
        "report.json",
        MANIFEST_FILE,
    } <= names
    assert {path.name for path in (folder / "adapter").iterdir()} >= {
        "adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja", "template.json",
    }  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    assert report["tokens_per_second"] > 0 and report["peak_memory_gb"] > 0
    assert report["price"] == pytest.approx(report["seconds"] / 3600 * 2.0, abs=1e-5)
    assert report["energy_kwh"] == pytest.approx(report["seconds"] / 3600 * 0.1, abs=1e-5)
    assert read_manifest(folder).versions["trl"]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_has_the_shares_of_padding_and_of_the_peak(
    sft: dict[str, Path], with_sft: dict[str, Path], preferences: list[Preference], monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune.train import results
    from finetune.train.cards import Card

    report = json.loads((sft["qwen2"] / "report.json").read_text())
    assert (report["padding"], report["mfu"]) == (
        0.0,
        None,
    )  # SFT's batches have no padding, and a CPU has no known peak
    monkeypatch.setattr(results, "device_type", lambda config: "cuda")
    monkeypatch.setattr(results, "detect_card", lambda: Card("a card", 80.0, tflops=1e-3))
    config = build(COMMON, {"stage": "dpo", "parent": "phi-sft", "name": "shares", "max_steps": 2, "batch_size": 6})
    report = json.loads((train(config, records=preferences, progress=quiet) / "report.json").read_text())
    assert 0 < report["padding"] < 0.5
    shape = results.shape_of(read_manifest("phi-sft").base)
    weights = shape.linear_weights + shape.vocab * shape.hidden
    # forward, gradients of activations, and the reference's forward: 2 operations per weight each
    assert report["mfu"] == pytest.approx(report["tokens_per_second"] * 6 * weights / 1e9, rel=0.01)


def test_stored_adapters_are_fp32(sft: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    tensors = load_file(sft["qwen2"] / "adapter" / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.float32"}


@pytest.mark.parametrize("kind", ["qwen2", "phi"])
@pytest.mark.parametrize("precompute", [False, True])
def test_the_first_dpo_loss_is_exactly_ln_2_and_falls(
    kind: str, precompute: bool, with_sft: dict[str, Path], preferences: list[Preference]
) -> None:
    name = f"{kind}-dpo-{precompute}"
    config = build(COMMON, {"stage": "dpo", "parent": f"{kind}-sft", "name": name, "learning_rate": 2e-4,
                            "max_steps": 6, "precompute_reference": precompute})  # fmt: skip
    folder = train(config, records=preferences, progress=quiet)
    found = losses(folder)
    assert found[0] == pytest.approx(math.log(2), abs=1e-6 if precompute else 1e-7)
    assert found[-1] < found[0] - 0.05
    line = next(line for line in reversed(read_metrics(folder)) if "kl" in line)
    assert line["kl"] > 0 and line["rewards/margins"] > 0
    assert {"logps/chosen", "logps/rejected", "lengths/chosen", "rewards/accuracies", "kl/chosen"} <= line.keys()
    assert not (folder / "adapter" / "ref").exists()  # the frozen reference is not part of the result
    manifest = read_manifest(folder)
    assert (manifest.parent, manifest.reference) == (str(with_sft[kind]), "parent")


def test_the_reference_may_be_the_bare_base(with_sft: dict[str, Path], preferences: list[Preference]) -> None:
    config = build(
        COMMON, {"stage": "dpo", "parent": "phi-sft", "name": "ref-base", "reference": "base", "max_steps": 1}
    )
    found = losses(train(config, records=preferences, progress=quiet))[0]
    assert abs(found - math.log(2)) > 0.1  # the tuned policy is far from the base


def test_cached_reference_values_are_reused(
    with_sft: dict[str, Path], preferences: list[Preference], session_home: Path
) -> None:
    cache = session_home / "cache" / "reference"
    before = set(cache.glob("*.npz"))
    for name in ("cached-1", "cached-2"):
        config = build(COMMON, {"stage": "dpo", "parent": "phi-sft", "name": name, "max_steps": 2, "beta": 0.3,
                                "precompute_reference": True})  # fmt: skip
        train(config, records=preferences[:3], progress=quiet)
    assert len(set(cache.glob("*.npz")) - before) == 1
    runs = session_home / "runs"
    assert weights_hash(runs / "cached-1") == weights_hash(runs / "cached-2")


QUICK = ("ipo", "kto", "kto_pair", "orpo", "simpo", "sigmoid+0.2*sft")


@pytest.mark.parametrize(
    "loss",
    [
        *QUICK,
        *(pytest.param(name, marks=pytest.mark.slow) for name in LOSSES if name not in (*QUICK, "sft")),
    ],
)
def test_every_loss_trains(loss: str, with_sft: dict[str, Path], preferences: list[Preference]) -> None:
    smoothing = {"cdpo": 0.1, "robust": 0.1, "exo_pair": 0.01}.get(loss, 0.0)
    records = list(to_task(preferences[:3], "label")) if loss in UNPAIRED_LOSSES else preferences[:3]
    config = build(COMMON, {"stage": "dpo", "parent": "phi-sft", "name": "loss-" + "".join(c for c in loss if c.isalnum()),
                            "loss": loss, "label_smoothing": smoothing, "learning_rate": 1e-4, "max_steps": 3})  # fmt: skip
    folder = train(config, records=records, progress=quiet)
    found = losses(folder)
    assert len(found) == 3
    assert found[-1] < found[0]
    report = json.loads((folder / "report.json").read_text())
    assert report["tokens_per_second"] > 0
    if config.kind != "unpaired":  # each of the three steps is one pass over the three pairs
        assert report["tokens"] == 3 * report["rows"]["tokens"]


def test_orpo_counts_the_answer_alone(with_sft: dict[str, Path], preferences: list[Preference]) -> None:
    """Planted fault: loss on the prompt. TRL's ORPO counts the prompt's tokens, which an SFT run never learned."""
    config = build(COMMON, {"stage": "dpo", "parent": "phi-sft", "name": "orpo-answer", "loss": "orpo", "max_steps": 1})
    folder = train(config, records=preferences, progress=quiet)
    line = next(line for line in read_metrics(folder) if "nll_loss" in line)
    assert line["nll_loss"] < 0.2  # the tuned model knows the answers; with the prompt it would be above 3


@pytest.mark.parametrize("stage", ["sft", "dpo", "kto"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    stage: str, with_sft: dict[str, Path], models: dict[str, str], conversations: list[Conversation],
    preferences: list[Preference],
) -> None:  # fmt: skip
    records: Any = {"sft": conversations, "dpo": preferences, "kto": list(to_task(preferences, "label"))}[stage]
    start = {"stage": "sft", "model": models["qwen2"]} if stage == "sft" else {"stage": "dpo", "parent": "qwen2-sft"}
    settings = {**start, "method": "qlora", "max_steps": 10, "save_every": 5, "learning_rate": 1e-3,
                "loss": "kto" if stage == "kto" else "sigmoid", "schedule": "cosine", "price_per_hour": 2.0,
                "watts": 100.0}  # fmt: skip
    whole = train(build(COMMON, settings, {"name": f"{stage}-whole"}), records=records, progress=quiet)
    broken = build(COMMON, settings, {"name": f"{stage}-broken", "stop_loss": 1e-9})
    interrupt(broken, records, step=7)
    with pytest.raises(UnfinishedRun, match="did not finish"):
        read_manifest(broken.name)
    with pytest.raises(RunExists, match="add --resume"):
        train(broken, records=records, progress=quiet)
    resumed = train(broken, records=records, progress=quiet, resume=True)
    assert weights_hash(resumed) == weights_hash(whole)
    assert losses(resumed) == losses(whole)
    lines, others = ([line for line in read_metrics(run) if "loss" in line] for run in (resumed, whole))
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert [line["num_tokens"] for line in lines] == [line["num_tokens"] for line in others]
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    assert all(line["tokens_per_second"] > 0 for line in lines)
    report, expected = (json.loads((run / "report.json").read_text()) for run in (resumed, whole))
    assert report.keys() == expected.keys()
    assert _without_clock(report) == _without_clock(expected)
    assert report["steps"] == 10
    before = next(line["seconds"] for line in lines if line["step"] == 5)  # the checkpoint's part
    assert report["seconds"] > before > 0
    assert report["price"] == pytest.approx(report["seconds"] / 3600 * 2.0, abs=1e-5)
    assert report["energy_kwh"] == pytest.approx(report["seconds"] / 3600 * 0.1, abs=1e-5)


CLOCK = {"seconds", "tokens_per_second", "train_runtime", "train_samples_per_second", "train_steps_per_second",
         "eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "energy_kwh", "price", "peak_memory_gb",
         "mfu"}  # fmt: skip


def _without_clock(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what depends on the machine's speed and on what this process did before."""
    merged = {**report, **{f"last {key}": report["last"][key] for key in report["last"].keys() - CLOCK}}
    return {key: value for key, value in merged.items() if key not in {*CLOCK, "last"}}


@pytest.fixture(scope="module")
def broken_base(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base in which one weight is not a number, as an overflow in 16 bits or a broken merge leaves it."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("broken") / "base"
    shutil.copytree(models["qwen2"], folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = math.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.parametrize(
    ("stage", "prompts", "match"),
    [
        ("sft", [], r"(?s)is not a number at step 1 .*check the base"),
        ("dpo", [], r"(?s)is not a number at step 1 .*check the base"),
        ("sft", ["What does the cow say?"], "at step 0, the model's scores of token 1 .* are not numbers"),
    ],
)
def test_a_loss_that_is_not_a_number_ends_the_run_and_names_the_step(
    stage: str, prompts: list[str], match: str, broken_base: str, home: Path, conversations: list[Conversation],
    preferences: list[Preference],
) -> None:  # fmt: skip
    settings = {"stage": stage, "model": broken_base, "name": "nan", "max_steps": 3, "prompts": prompts}
    config = build(COMMON, settings)
    records: Any = conversations if stage == "sft" else preferences
    with pytest.raises(TrainingFailed, match=match):
        train(config, records=records, progress=quiet)
    assert not (home / "runs" / "nan" / MANIFEST_FILE).exists()
    assert not list((home / "runs" / "nan").glob("checkpoints/*"))


@pytest.fixture(scope="module")
def overflowing_bases(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Bases that fp32 can train: in fp16, the activations of one overflow, and of the other the gradients alone.

    The gradients pass factors of 60,000, while the activations are 0, because every embedding is.
    """
    from safetensors.torch import load_file, save_file

    folder, bases = tmp_path_factory.mktemp("overflow"), {}
    for name, changes in (
        ("activations", {"mlp.fc1.weight": 1e4, "mlp.fc2.weight": 1e4}),
        ("gradients", {"embed_tokens.weight": 0.0, "lm_head.weight": 6e4, "final_layernorm.weight": 6e4}),
    ):
        shutil.copytree(models["phi"], folder / name)
        tensors = load_file(folder / name / "model.safetensors")
        for key, tensor in tensors.items():
            factor = next((factor for end, factor in changes.items() if key.endswith(end)), 1.0)
            tensors[key] = tensor * factor
        save_file(tensors, folder / name / "model.safetensors", metadata={"format": "pt"})
        bases[name] = str(folder / name)
    return bases


def scale_fp16(monkeypatch: pytest.MonkeyPatch, first_scale: float = 2.0**16) -> None:
    """Let accelerate compute and scale the loss in fp16 on the processor as it does on a GPU; it has no scaler there."""
    import torch
    from accelerate import Accelerator

    made = Accelerator.__init__

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        if self.mixed_precision == "fp16" and self.scaler is None:
            self.native_amp, self.scaler = True, torch.amp.GradScaler("cpu", init_scale=first_scale)

    monkeypatch.setattr(Accelerator, "__init__", make)


FP16: dict[str, Any] = {"device": "auto", "dtype": "fp16"}


@pytest.mark.parametrize(
    ("base", "steps", "match"),
    [
        ("activations", 3, "loss is not a number at step 1"),
        ("gradients", 30, "gradient is not a number in fp16 at step 17: it overflowed in 17 steps in a row"),
        ("gradients", 4, "nothing was trained: in fp16, the gradient overflowed in every step up to step 4"),
    ],
)
def test_an_overflow_in_fp16_ends_the_run_and_names_the_step(
    base: str, steps: int, match: str, overflowing_bases: dict[str, str], conversations: list[Conversation],
    monkeypatch: pytest.MonkeyPatch, home: Path,
) -> None:  # fmt: skip
    scale_fp16(monkeypatch)
    config = build(COMMON, FP16, {"model": overflowing_bases[base], "name": "x", "max_steps": steps, "save_every": 5})
    with pytest.raises(TrainingFailed, match=match) as failed:
        train(config, records=conversations, progress=quiet)
    assert "--dtype bf16 or fp32" in failed.value.hint
    assert not (home / "runs" / "x" / MANIFEST_FILE).exists()


def test_a_run_in_fp16_goes_on_after_steps_that_its_loss_scale_skips(
    models: dict[str, str], conversations: list[Conversation], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    scale_fp16(monkeypatch, first_scale=2.0**28)
    config = build(COMMON, FP16, {"model": models["qwen2"], "name": "x", "max_steps": 20, "learning_rate": 1e-3})
    folder = train(config, records=conversations, progress=quiet)
    norms = [line["grad_norm"] for line in read_metrics(folder) if "grad_norm" in line]
    assert norms[0] is None and norms[-1] > 0
    found = losses(folder)
    assert len(found) == 20 and found[-1] < found[0]


def test_no_checkpoint_is_written_after_the_loss_stopped_being_a_number(
    models: dict[str, str], conversations: list[Conversation], home: Path
) -> None:
    """A rate that no model survives; lines are logged every 100 steps only, checkpoints are written every 2."""
    config = build(COMMON, {"model": models["qwen2"], "name": "diverged", "learning_rate": 10.0, "max_steps": 60,
                            "max_grad_norm": 1e6, "optimizer": "sgd", "method": "full", "save_every": 2, "log_every": 100,
                            "keep_checkpoints": 99})  # fmt: skip
    with pytest.raises(TrainingFailed, match=r"(is not a number|diverges: the loss is \S+) at step \d+"):
        train(config, records=conversations, progress=quiet)
    from safetensors.torch import load_file

    found = list((home / "runs" / "diverged" / "checkpoints").glob("*/model.safetensors"))
    assert all(bool(tensor.isfinite().all()) for path in found for tensor in load_file(path).values())
    text = (home / "runs" / "diverged" / "metrics.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text


def test_a_checkpoint_that_a_killed_process_left_half_written_is_not_resumed_from(tmp_path: Path) -> None:
    for step, state in ((10, '{"global_step": 10}'), (20, ""), (30, '{"global_step": 3')):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoints" / "checkpoint-10")


def test_training_contacts_no_host(
    models: dict[str, str], conversations: list[Conversation], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)  # where it is set, TRL itself keeps quiet
    with contacted() as hosts:
        train(build(COMMON, {"model": models["qwen2"], "max_steps": 1}), records=conversations, progress=quiet)
        time.sleep(0.3)  # TRL's report would go out from a thread
    assert hosts == []


def test_a_full_disk_is_reported_and_the_run_resumes_later(
    models: dict[str, str], conversations: list[Conversation], home: Path
) -> None:
    import resource

    config = build(COMMON, {"model": models["qwen2"], "name": "cramped", "max_steps": 4, "save_every": 2})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))  # the kernel refuses to write larger files
    try:
        with pytest.raises(TrainingFailed, match=r"(?s)could not be written to .*cramped .*with --resume"):
            train(config, records=conversations, progress=quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_manifest(train(config, records=conversations, progress=quiet, resume=True)).stage == "sft"


def test_the_same_seed_gives_the_same_run_and_another_does_not(
    models: dict[str, str], conversations: list[Conversation], home: Path
) -> None:
    settings = {"model": models["phi"], "max_steps": 3}
    hashes = [
        weights_hash(
            train(build(COMMON, settings, {"name": name, "seed": seed}), records=conversations, progress=quiet)
        )
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_gradient_checkpointing_gives_the_same_losses(
    models: dict[str, str], conversations: list[Conversation], home: Path
) -> None:
    found = [
        losses(train(build(COMMON, {"model": models["qwen2"], "max_steps": 3, "learning_rate": 1e-3, "name": name,
                                    "gradient_checkpointing": on}), records=conversations, progress=quiet))
        for name, on in (("with", True), ("without", False))
    ]  # fmt: skip
    assert found[0] == pytest.approx(found[1], abs=1e-6)


@pytest.mark.slow  # compiles C++
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, while it loads its compiler
def test_compiled_layers_give_the_same_losses(
    models: dict[str, str], conversations: list[Conversation], home: Path
) -> None:
    found = [
        losses(train(build(COMMON, {"model": models["qwen2"], "max_steps": 3, "learning_rate": 1e-3, "name": name,
                                    "compile": on, "gradient_checkpointing": True}),
                     records=conversations, progress=quiet))
        for name, on in (("compiled", True), ("plain", False))
    ]  # fmt: skip
    assert found[0] == pytest.approx(found[1], abs=1e-5)


@pytest.mark.parametrize("kind", ["qwen2", "phi"])
def test_packed_rows_do_not_see_one_another(
    kind: str, models: dict[str, str], conversations: list[Conversation]
) -> None:
    """The loss of a packed sequence is the token mean of its rows alone; attention across rows gives another number."""
    import torch
    from datasets import Dataset
    from trl import pack_dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from finetune.data.encode import encode_conversations
    from finetune.train.load import load_plain

    loaded = load_plain(models[kind], device="cpu")
    rows, _ = encode_conversations(conversations, loaded.template, loaded.tokenizer, max_length=128)
    packed = pack_dataset(Dataset.from_list(rows), seq_length=512, strategy="bfd")
    assert len(packed) == 1
    batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)([packed[0]])
    with torch.no_grad():
        together = float(loaded.model(**{k: v for k, v in batch.items() if k != "seq_idx"}, use_cache=False).loss)
        leaking = float(loaded.model(input_ids=batch["input_ids"], labels=batch["labels"], use_cache=False).loss)
        total = count = 0.0
        for row in rows:
            labels = torch.tensor([row["labels"]])
            trained = int((labels[:, 1:] != -100).sum())
            total += float(loaded.model(input_ids=torch.tensor([row["input_ids"]]), labels=labels).loss) * trained
            count += trained
    assert together == pytest.approx(total / count, abs=1e-5)
    assert abs(leaking - total / count) > 1e-3


def test_training_stops_early_when_the_held_out_loss_rises_and_keeps_the_best_checkpoint(
    models: dict[str, str], conversations: list[Conversation], home: Path
) -> None:
    config = build(COMMON, {"model": models["qwen2"], "name": "early", "eval_share": 0.3, "save_every": 0.05, "patience": 2,
                            "learning_rate": 2e-2, "max_steps": 60, "packing": True})  # fmt: skip
    folder = train(config, records=conversations, progress=quiet)
    report = json.loads((folder / "report.json").read_text())
    lines = [line for line in read_metrics(folder) if "eval_loss" in line]
    steps, values = [line["step"] for line in lines], [line["eval_loss"] for line in lines]
    assert steps == list(range(3, report["steps"] + 1, 3))  # 0.05 of 60 steps
    assert report["steps"] < 60 and report["steps"] == steps[-1]
    best = values.index(min(values))
    assert len(values) - 1 - best == 2 and min(values[best + 1 :]) > values[best]  # patience
    assert report["best_checkpoint"] == f"checkpoint-{steps[best]}"
    assert report["held_out_rows"]["rows"] == 2


class Halt(TrainerCallback):  # type: ignore[misc]
    """Interrupts a run at a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def interrupt(config: TrainConfig, records: Any, *, step: int) -> None:
    """Train a run until a step; the caller's settings have `stop_loss`, whose callback is replaced."""
    from finetune.train import callbacks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "StopAtLoss", lambda mark: Halt(step))
        with pytest.raises(KeyboardInterrupt):
            train(config, records=records, progress=quiet)


def test_a_dpo_run_of_a_recipe_resumes_from_a_checkpoint_before_its_end(
    with_sft: dict[str, Path], preferences: list[Preference], session_home: Path
) -> None:
    """Planted fault: one checkpoint, at the end of the only epoch."""
    small = {name: COMMON[name] for name in ("device", "method", "batch_size", "accumulation", "log_every")}
    config = build(read_recipe("phi-2-dpo"), small, {"model": "", "parent": "phi-sft", "name": "dpo-recipe",
                                                     "stop_loss": 1e-9, "eval_share": 0.1})  # fmt: skip
    records = [replace(preferences[i % 6], prompt=(Message("user", f"{i}?"),)) for i in range(40)]
    interrupt(config, records, step=9)
    checkpoints = session_home / "runs" / "dpo-recipe" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["checkpoint-6", "checkpoint-8"]
    folder = train(config, records=records, progress=quiet, resume=True)
    report = json.loads((folder / "report.json").read_text())
    assert report["steps"] == 12
    assert [line["step"] for line in read_metrics(folder) if "eval_loss" in line] == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_full_training_and_dpo_on_top_of_it(
    dtype: str, models: dict[str, str], conversations: list[Conversation], preferences: list[Preference], home: Path
) -> None:
    """Planted fault: a reference stored in 16 bits beside a policy in fp32, which starts at 0.676 instead of ln 2."""
    full = {"method": "full", "learning_rate": 1e-3, "max_steps": 2, "dtype": dtype}
    train(build(COMMON, full, {"model": models["phi"], "name": "full"}), records=conversations, progress=quiet)
    folder = train(build(COMMON, full, {"stage": "dpo", "parent": "full", "name": "full-dpo", "learning_rate": 1e-4}),
                   records=preferences, progress=quiet)  # fmt: skip
    assert losses(folder)[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses(folder)[1] < losses(folder)[0]


@pytest.mark.parametrize(("kind", "method"), [("qwen2", "qlora"), ("qwen2", "lora"), ("phi", "qlora")])
def test_a_base_in_16_bits_as_on_a_gpu_trains_samples_scores_and_answers(
    kind: str, method: str, models: dict[str, str], conversations: list[Conversation], preferences: list[Preference],
    home: Path,
) -> None:  # fmt: skip
    from finetune.evaluate.score import score_pairs
    from finetune.train.generate import generate
    from finetune.train.load import load_run

    settings = {"method": method, "dtype": "bf16", "max_steps": 2, "prompts": ["What does the cow say?"]}
    train(build(COMMON, settings, {"model": models[kind], "name": "sft"}), records=conversations, progress=quiet)
    settings |= {"stage": "dpo", "parent": "sft", "name": "dpo", "precompute_reference": True}
    folder = train(build(COMMON, settings), records=preferences, progress=quiet)
    assert losses(folder)[0] == pytest.approx(math.log(2), abs=1e-6)
    assert len((folder / "samples.jsonl").read_text().splitlines()) >= 2
    assert generate(load_run(folder), conversations[0].messages[:1], max_new_tokens=4).tokens == 4
    assert math.isfinite(score_pairs(folder, preferences).margin)


@pytest.mark.parametrize(
    "settings",
    [{"neftune_alpha": 5.0}, {"optimizer": "rmsprop"}, {"optimizer": "paged_adamw_8bit"}, {"rslora": True},
     {"schedule": "cosine", "warmup": 0.5}, {"dropout": 0.1}],
    ids=str,
)  # fmt: skip
def test_other_settings_train(
    settings: dict[str, Any], models: dict[str, str], conversations: list[Conversation], home: Path
) -> None:
    config = build(COMMON, {"model": models["qwen2"], "max_steps": 3, "learning_rate": 1e-3, "name": "x"}, settings)
    found = losses(train(config, records=conversations, progress=quiet))
    assert len(found) == 3 and found[-1] < found[0]


def test_an_unfinished_parent_is_refused(home: Path, preferences: list[Preference]) -> None:
    (home / "runs" / "half").mkdir(parents=True)
    with pytest.raises(UnfinishedRun, match="--resume"):
        train(build(COMMON, {"stage": "dpo", "parent": "half", "name": "x"}), records=preferences, progress=quiet)


def test_a_run_without_a_model_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="--parent RUN"):
        train(build(COMMON), records=[], progress=quiet)


def test_files_are_mixed_by_weight_and_the_resulting_shares_are_reported(
    models: dict[str, str], home: Path, tmp_path: Path
) -> None:
    for name, count in (("a", 12), ("b", 12)):
        rows = [{"instruction": f"{name} {i}", "input": "", "output": f"answer {name}{i}"} for i in range(count)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    config = build(
        COMMON, {"model": models["phi"], "name": "mixed", "data": files, "weights": ["3", "1"], "max_steps": 1}
    )
    report = json.loads((train(config, progress=quiet) / "report.json").read_text())
    assert report["rows"]["rows"] == 16
    assert [(share["rows"], share["realised"]) for share in report["mixture"]] == [(12, 0.75), (4, 0.25)]


def test_a_tracker_that_is_not_installed_is_reported_before_anything_loads(home: Path) -> None:
    with pytest.raises(MissingLibrary, match="pip install wandb"):
        train(build(COMMON, {"model": "nowhere", "trackers": ["wandb"]}), records=[], progress=quiet)


SCRIPT = """
import json, sys, time
from finetune.config import build
from finetune.data.records import Conversation, Preference
from finetune.templates.messages import Message
from finetune.train.run import train
settings, rows, slow = json.loads(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3])
if settings["stage"] == "sft":
    records = [Conversation((Message("user", q), Message("assistant", a)), source="t", row=i) for i, (q, a) in enumerate(rows)]
else:
    records = [Preference((Message("user", q),), (Message("assistant", a),), (Message("assistant", "I do not know."),),
               source="t", row=i) for i, (q, a) in enumerate(rows)]
if slow:
    from transformers import TrainerCallback
    from finetune.train import callbacks
    class Slow(callbacks.MetricsWriter):
        def on_step_end(self, args, state, control, **_):
            time.sleep(slow)
    callbacks.MetricsWriter = Slow
train(build(settings), records=records, resume="--resume" in sys.argv, progress=lambda line: None)
"""


def start(
    settings: dict[str, Any], rows: list[tuple[str, str]], home: Path, *, slow: float = 0.0, resume: bool = False,
    processes: int = 1,
) -> subprocess.Popen[bytes]:  # fmt: skip
    script = home / "train.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(SCRIPT)
    launcher = [sys.executable]
    if processes > 1:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    root = str(Path(__file__).parents[3])
    return subprocess.Popen(
        [*launcher, str(script), json.dumps(settings), json.dumps(rows), str(slow), *(["--resume"] if resume else [])],
        env={**os.environ, "QUIRE_HOME": str(home), "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors.decode()[-3000:]


def table(conversations: list[Conversation]) -> list[tuple[str, str]]:
    return [(r.messages[0].content, r.messages[1].content) for r in conversations]


@pytest.mark.slow
@pytest.mark.timeout(1500)  # three processes that load everything again; a busy machine takes minutes for each
def test_a_run_killed_after_ten_steps_and_resumed_equals_twenty_in_one_go(
    models: dict[str, str], conversations: list[Conversation], tmp_path: Path
) -> None:
    settings = {**COMMON, "stage": "sft", "model": models["qwen2"], "method": "qlora", "max_steps": 20, "save_every": 10,
                "learning_rate": 1e-3}  # fmt: skip
    rows = table(conversations)
    finish(start({**settings, "name": "whole"}, rows, tmp_path))
    killed = start({**settings, "name": "killed"}, rows, tmp_path, slow=0.5)
    state = tmp_path / "runs" / "killed" / "checkpoints" / "checkpoint-10" / "trainer_state.json"
    deadline = time.monotonic() + 500
    while not state.is_file():
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.2)  # well into step 12
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    assert not (tmp_path / "runs" / "killed" / MANIFEST_FILE).exists()
    finish(start({**settings, "name": "killed"}, rows, tmp_path, resume=True))
    assert weights_hash(tmp_path / "runs" / "killed") == weights_hash(tmp_path / "runs" / "whole")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_processes_print_once_and_a_second_run_of_the_name_is_refused(
    models: dict[str, str], conversations: list[Conversation], tmp_path: Path
) -> None:
    rows = [{"prompt": question, "completion": answer} for question, answer in table(conversations) * 2]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "quire",
               "finetune", "sft", str(tmp_path / "rows.json"), "--model", models["phi"], "--name", "twice", "--method",
               "lora", "--device", "cpu", "--max-steps", "1", "--batch-size", "2"]  # fmt: skip
    root = Path(__file__).parents[3]
    env = {**os.environ, "QUIRE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stderr[-3000:]
    assert found.stdout.count("twice: 1 steps") == 1
    assert found.stderr.count("training rows") == 1
    again = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=600)
    assert again.returncode != 0
    assert again.stderr.count("error: the run twice is finished") == 1


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_two_processes_equal_one_at_the_same_global_batch(
    stage: str, models: dict[str, str], conversations: list[Conversation], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    settings = {**COMMON, "stage": stage, "model": models["phi"], "max_steps": 6, "learning_rate": 1e-3}
    rows = table(conversations) * 2
    finish(start({**settings, "name": "one", "batch_size": 4}, rows, tmp_path))
    finish(start({**settings, "name": "two", "batch_size": 2}, rows, tmp_path, processes=2))
    one, two = (tmp_path / "runs" / name for name in ("one", "two"))
    assert json.loads((two / "report.json").read_text())["hardware"]["processes"] == 2
    assert losses(two) == pytest.approx(losses(one), abs=2e-5)
    first, second = (load_file(run / "adapter" / "adapter_model.safetensors") for run in (one, two))
    moved = max(float(tensor.abs().max()) for name, tensor in first.items() if "lora_B" in name)
    apart = max(float((first[name] - second[name]).abs().max()) for name in first)
    assert apart < 0.02 * moved


def test_a_run_on_a_pipe_prints_how_far_it_is_and_a_resumed_one_from_where(
    models: dict[str, str], conversations: list[Conversation], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune.train import callbacks

    monkeypatch.setattr(callbacks, "PROGRESS_SECONDS", 0.0)
    config = build(COMMON, {"model": models["qwen2"], "max_steps": 4, "log_every": 2, "save_every": 2, "name": "piped"})
    lines: list[str] = []
    folder = train(config, records=conversations, progress=lines.append)
    steps = [line for line in lines if line.startswith("step ")]
    assert [line.split(":")[0] for line in steps] == ["step 1 of 4", "step 2 of 4", "step 4 of 4"]
    assert steps[-1].endswith("about 0 minutes left")
    (folder / "manifest.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "checkpoint-4")
    lines.clear()
    train(config, records=conversations, progress=lines.append, resume=True)
    assert "continuing from checkpoint-2" in lines
    assert [line.split(":")[0] for line in lines if line.startswith("step ")] == ["step 4 of 4"]
