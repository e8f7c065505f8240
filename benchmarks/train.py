"""Training speed: tokens per second and peak memory of our SFT and DPO beside TRL's defaults, each in its own process.

`python -m benchmarks.train` runs a tiny model on a CPU, and the Qwen2.5-1.5B shape with random weights on a GPU (sequences of
2048 tokens for SFT, 1024 for DPO). Model, data, batch, adapter and hardware are the same on all sides. On a GPU there is a
third side: the settings that `quire finetune plan` recommends on a large card, with the base in 16 bits.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.table import show

WARM = 2  # steps left out of the timing: kernels are chosen and memory is taken in them
SIDES = {"ours": "quire", "large": "quire, 16 bits", "trl": "TRL defaults"}
LARGE = {"method": "lora", "gradient_checkpointing": False, "optimizer": "adamw_torch_fused"}
SENTENCE = "The cow says moo and the dog says woof while the cat says meow. "


def settings(cuda: bool, stage: str) -> dict[str, Any]:
    """Return what all sides share."""
    if cuda:
        length = 2048 if stage == "sft" else 1024
        return {"length": length, "batch": 8 if stage == "sft" else 4, "steps": 12, "rows": 8 * 14, "method": "qlora"}
    return {"length": 256, "batch": 4, "steps": 10, "rows": 48, "method": "lora"}


def make_base(folder: Path, cuda: bool) -> str:
    """Write the model of this machine: tiny, or of Qwen2.5-1.5B's shape with random bf16 weights."""
    from finetune.demo.tiny import make_tiny

    base = make_tiny(folder / "base", "qwen2")
    if cuda:
        import torch
        from transformers import Qwen2Config, Qwen2ForCausalLM

        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        config = Qwen2Config(
            hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
            num_key_value_heads=2, vocab_size=151936, tie_word_embeddings=True, max_position_embeddings=32768,
            eos_token_id=2, pad_token_id=0, bos_token_id=None,
        )  # fmt: skip
        with torch.device("cuda"):
            Qwen2ForCausalLM(config).save_pretrained(base)
        torch.set_default_dtype(torch.float32)
    return str(base)


def texts(shared: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Make question, answer and worse answer of about two thirds of the length, lengths varying as real ones do."""
    words = shared["length"] // 12
    return [
        (
            f"Question {i}: what do they say?",
            SENTENCE * (1 + (i * 7) % max(2, words // 2)),
            "I do not know. " * (1 + i % 5),
        )
        for i in range(shared["rows"])
    ]


def large(stage: str, base: str, folder: Path, shared: dict[str, Any]) -> dict[str, Any]:
    """Train with this package as on a large card, and return its figures."""
    return ours(stage, base, folder, shared, LARGE)


def ours(
    stage: str, base: str, folder: Path, shared: dict[str, Any], changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Train with this package and return its figures."""
    from finetune.config import build
    from finetune.data.records import Conversation, Preference
    from finetune.templates.messages import Message
    from finetune.train.cards import detect_card
    from finetune.train.device import peak_memory_bytes
    from finetune.train.metrics import read_metrics
    from finetune.train.plan import make_plan
    from finetune.train.run import train

    os.environ["QUIRE_HOME"] = str(folder / "home")
    rows = texts(shared)
    user = [(Message("user", q),) for q, _, _ in rows]
    if stage == "sft":
        records: list[Any] = [
            Conversation((*u, Message("assistant", a)), source="made", row=i)
            for i, (u, (_, a, _)) in enumerate(zip(user, rows, strict=True))
        ]
    else:
        records = [
            Preference(u, (Message("assistant", a),), (Message("assistant", b),), source="made", row=i)
            for i, (u, (_, a, b)) in enumerate(zip(user, rows, strict=True))
        ]
    config = build({
        "stage": stage, "model": base, "template": "chatml", "name": stage, "method": shared["method"], "rank": 16,
        "max_length": shared["length"], "batch_size": shared["batch"], "accumulation": 1, "max_steps": shared["steps"],
        "packing": stage == "sft", "precompute_reference": stage == "dpo", "log_every": 1,
        "learning_rate": 2e-4 if stage == "sft" else 5e-6, "epochs": 100.0,
        "gradient_checkpointing": shared["method"] == "qlora",
    }, changes or {})  # fmt: skip
    run = train(config, records=records, progress=lambda _: None)
    lines = [line for line in read_metrics(run) if "tokens_per_second" in line]
    counts = [line["num_tokens"] for line in lines]
    seconds = [
        (after - before) / line["tokens_per_second"]
        for before, after, line in zip(counts, counts[1:], lines[1:], strict=False)
    ]
    return {
        "tokens_per_second": (counts[-1] - counts[WARM - 1]) / sum(seconds[WARM - 1 :]),
        "peak": peak_memory_bytes(),
        "planned": make_plan(config, card=detect_card()).stages[stage].total,
        "padding": json.loads((run / "report.json").read_text())["padding"],
    }


def theirs(stage: str, base: str, folder: Path, shared: dict[str, Any]) -> dict[str, Any]:
    """Train with TRL as its documentation shows, everything else left at its defaults, and return the figures."""
    import torch
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, BitsAndBytesConfig, TrainerCallback

    from finetune.templates.builtin import get_template
    from finetune.templates.jinja_and_go import to_jinja
    from finetune.train.device import peak_memory_bytes

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = to_jinja(get_template("chatml"))
    marks: list[tuple[float, int]] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Notes time and tokens after each step."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            marks.append((time.perf_counter(), trainer._total_train_tokens))

    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    rows = texts(shared)
    if stage == "sft":
        data = [{"prompt": turn("user", q), "completion": turn("assistant", a)} for q, a, _ in rows]
    else:
        data = [
            {"prompt": turn("user", q), "chosen": turn("assistant", a), "rejected": turn("assistant", b)}
            for q, a, b in rows
        ]
    kind = {"sft": (trl.SFTTrainer, trl.SFTConfig), "dpo": (trl.DPOTrainer, trl.DPOConfig)}[stage]
    quantised = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                   bnb_4bit_compute_dtype=torch.bfloat16)  # fmt: skip
    trainer = kind[0](
        model=base,
        args=kind[1](
            output_dir=str(folder / "trl"), max_steps=shared["steps"], max_length=shared["length"],
            per_device_train_batch_size=shared["batch"], report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()],
        **({"quantization_config": quantised} if shared["method"] == "qlora" else {}),
    )  # fmt: skip
    trainer.train()
    (start, before), (end, after) = marks[WARM - 1], marks[-1]
    return {"tokens_per_second": (after - before) / (end - start), "peak": peak_memory_bytes()}


def one(side: str, stage: str, base: str, cuda: bool) -> None:
    """Run one side in this process and print its figures as the last line."""
    import warnings

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        found = {"ours": ours, "large": large, "trl": theirs}[side](stage, base, Path(folder), settings(cuda, stage))
    print(json.dumps(found))


def main(argv: list[str]) -> int:
    """Measure all sides of both stages and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("SIDE", "STAGE", "BASE"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    import torch

    cuda = torch.cuda.is_available()
    if args.one:
        one(*args.one, cuda)
        return 0
    card = torch.cuda.get_device_name() if cuda else None
    if not card:
        print("no CUDA device: a tiny model is measured on the CPU, the Qwen2.5-1.5B shape is not measured")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(Path(folder), cuda)
        for stage in ("sft", "dpo"):
            for side in SIDES if cuda else ("ours", "trl"):
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.train", "--one", side, stage, base],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    print(f"{side} {stage} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
                    return 1
                found = json.loads(done.stdout.strip().splitlines()[-1])
                rows.append({
                    "stage": stage, "side": SIDES[side],
                    "tokens/s": round(found["tokens_per_second"], 1), "peak GB": round(found["peak"] / 2**30, 3),
                    "planned GB": round(found["planned"] / 2**30, 3) if "planned" in found else "",
                    "padding": round(found["padding"], 3) if "padding" in found else "",
                    "length": settings(cuda, stage)["length"], "batch": settings(cuda, stage)["batch"],
                })  # fmt: skip
    versions = ", ".join(f"{name} {__import__(name).__version__}" for name in ("torch", "transformers", "trl", "peft"))
    where = card or f"CPU, {torch.get_num_threads()} threads (no figure for a GPU)"
    show("train", f"Training speed, {'Qwen2.5-1.5B shape' if cuda else 'tiny Qwen2 shape'}: {where}; {versions}", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
