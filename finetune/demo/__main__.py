"""The demonstration: tiny Qwen2 and Phi models learn a task by SFT and a preference by DPO.

Models and tokenizers are made on the spot; nothing is downloaded. `make demo-finetune` runs it.
"""

import json
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.config import build
from finetune.demo.export import export_and_ask
from finetune.demo.tiny import make_tiny
from finetune.runs.manifest import runs_folder
from finetune.templates.messages import Message
from finetune.train.generate import generate
from finetune.train.libraries import quiet_libraries
from finetune.train.load import load_run
from finetune.train.run import train

SOUNDS = {
    "cow": "moo", "dog": "woof", "cat": "meow", "duck": "quack", "lion": "roar", "horse": "neigh",
    "sheep": "baa", "pig": "oink", "owl": "hoot", "snake": "hiss", "bee": "buzz", "mouse": "squeak",
}  # fmt: skip
QUESTION = "What does the cow say?"
INSTRUCTION = "Say what sound this animal makes."
# Tiny random models need learning rates that would ruin a real one; the guard rails warn about them.
COMMON: dict[str, Any] = {
    "device": "cpu",
    "method": "lora",
    "optimizer": "adamw_torch",
    "schedule": "constant_with_warmup",
    "gradient_checkpointing": False,
    "batch_size": 8,
    "accumulation": 1,
    "max_length": 256,
    "log_every": 5,
    "sample_tokens": 24,
    "prompts": (QUESTION,),
    "epochs": 40.0,
}


def _print_progress(line: str) -> None:
    print(f"  {line}", file=sys.stderr)


def alpaca_rows() -> list[dict[str, str]]:
    """Return instruction rows in Alpaca's format, with and without an input."""
    rows = []
    for animal, sound in SOUNDS.items():
        answer = f"The {animal} says {sound}."
        rows.append({"instruction": f"What does the {animal} say?", "input": "", "output": answer})
        rows.append({"instruction": INSTRUCTION, "input": animal, "output": answer})
    return rows


def preference_rows() -> list[dict[str, str]]:
    """Return pairs in the format of orca_dpo_pairs, which prefer an answer that repeats the sound."""
    return [
        {
            "system": "",
            "question": f"What does the {animal} say?",
            "chosen": f"The {animal} says {sound}, {sound}!",
            "rejected": f"The {animal} says {sound}.",
        }
        for animal, sound in SOUNDS.items()
    ]


def write_data(folder: Path) -> tuple[Path, Path]:
    """Write both data sets and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    alpaca, pairs = folder / "animals-alpaca.json", folder / "animals-pairs.jsonl"
    alpaca.write_text(json.dumps(alpaca_rows(), indent=1), encoding="utf-8")
    pairs.write_text("".join(json.dumps(row) + "\n" for row in preference_rows()), encoding="utf-8")
    return alpaca, pairs


def samples(run: Path) -> list[str]:
    """Return the answers to the fixed question, from the first step to the last."""
    lines = (run / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [str(json.loads(line)["answer"]) for line in lines]


def teach(kind: str, folder: Path, data: tuple[Path, Path], progress: Callable[[str], None]) -> dict[str, Any]:
    """Make a tiny model of the kind, train it by SFT and DPO, and return the results."""
    started = time.perf_counter()
    texts = [str(value) for row in alpaca_rows() for value in row.values()]
    base = make_tiny(folder / "models" / kind, kind, corpus=texts)
    progress(f"{kind}: made a model with random weights, and its tokenizer")
    settings: dict[str, Any] = {"name": f"{kind}-sft", "model": str(base), "data": (str(data[0]),)}
    sft = train(build(COMMON, settings, {"learning_rate": 4e-3, "stop_loss": 0.01}), progress=progress)
    settings = {"stage": "dpo", "name": f"{kind}-dpo", "parent": sft.name, "data": (str(data[1]),)}
    dpo = train(
        build(COMMON, settings, {"learning_rate": 4e-4, "stop_loss": 0.03, "loss": "sigmoid+sft"}), progress=progress
    )
    loaded = load_run(dpo, device="cpu")
    known = 0
    for animal, sound in SOUNDS.items():
        found = generate(loaded, (Message("user", f"What does the {animal} say?"),), max_new_tokens=24)
        known += sound in found.text and found.finish == "stop"
    reports = {name: json.loads((run / "report.json").read_text()) for name, run in (("sft", sft), ("dpo", dpo))}
    return {
        "kind": kind,
        "before": samples(sft)[0],
        "after_sft": samples(sft)[-1],
        "after_dpo": samples(dpo)[-1],
        "known": known,
        "asked": len(SOUNDS),
        "sft": {key: reports["sft"][key] for key in ("steps", "loss", "tokens_per_second", "seconds")},
        "dpo": {key: reports["dpo"][key] for key in ("steps", "loss", "tokens_per_second", "seconds")},
        "rewards": {key: reports["dpo"]["last"].get(f"rewards/{key}") for key in ("accuracies", "margins")},
        "runs": [str(sft), str(dpo)],
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> int:
    """Run the demonstration in `demo-home/finetune` and return 0 when both models learned and export unchanged, else 1."""
    logging.basicConfig(level=logging.ERROR)
    quiet_libraries()
    folder = Path(os.environ.get("QUIRE_HOME") or "demo-home/finetune").resolve()
    os.environ["QUIRE_HOME"] = str(folder)
    warnings.simplefilter("ignore")  # deprecations inside the libraries do not concern the demonstration
    for kind in ("qwen2", "phi"):
        for stage in ("sft", "dpo"):
            shutil.rmtree(runs_folder() / f"{kind}-{stage}", ignore_errors=True)
    started = time.perf_counter()
    data = write_data(folder / "data")
    results = [teach(kind, folder, data, _print_progress) for kind in ("qwen2", "phi")]
    for result in results:
        _print_result(result)
    equal = [_export(result, folder) for result in results]
    seconds = time.perf_counter() - started
    (folder / "demo.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"done in {seconds:.0f} s; everything is in {folder}")
    return 0 if all(equal) and all(result["known"] == result["asked"] for result in results) else 1


def _print_result(result: dict[str, Any]) -> None:
    print(f"{result['kind']}: {QUESTION}")
    for stage in ("before", "after_sft", "after_dpo"):
        print(f"  {stage.replace('_', ' '):<10} {result[stage][:60]!r}")
    print(f"  {result['known']} of {result['asked']} animals known, in {result['seconds']} s")
    for run in result["runs"]:
        print(f"  {run}/curves.png, report.json")


def _export(result: dict[str, Any], folder: Path) -> bool:
    """Export a tuned model, ask it, and return whether GGUF and, if it answers, Ollama give the same answer."""
    found = result["export"] = export_and_ask(Path(result["runs"][-1]), folder, QUESTION, _print_progress)
    answers = [found[key].strip() for key in ("gguf_answer", "ollama_answer") if key in found]
    print(f"{result['kind']}: exported in {found['seconds']} s, KL {found['parity']['mean_kl']:.1g}: {found['gguf']}")
    print(f"  {QUESTION} " + " | ".join(map(repr, answers)))
    for asked in (found[key] for key in ("ask_gguf", "ask_ollama") if key in found):
        answer = str(asked.get("answer", asked.get("failed", "")))
        print(f"  quire ask --model {asked.get('model', '?')}: {answer[:200]!r}")
        answers.append(answer.strip())
    return len(set(answers)) == 1


if __name__ == "__main__":
    sys.exit(main())
