"""The demonstration: a tiny Qwen2.5-shaped and a tiny Phi-shaped model learn a task by SFT, then a preference by DPO.

Everything is made on the spot, tokenizers included; nothing is downloaded. `make demo-finetune` runs it.
"""

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.config import build, runs_folder

ANIMALS = {
    "cow": "moo", "dog": "woof", "cat": "meow", "duck": "quack", "lion": "roar", "horse": "neigh",
    "sheep": "baa", "pig": "oink", "owl": "hoot", "snake": "hiss", "bee": "buzz", "mouse": "squeak",
}  # fmt: skip
ASKED = "What does the cow say?"
INSTRUCTION = "Say what sound this animal makes."
# tiny models are random, so they take steps that would ruin a real one; the guard rails say so
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
    "prompts": (ASKED,),
}


def alpaca_rows() -> list[dict[str, str]]:
    """Make instruction rows in Alpaca's shape, with and without an input."""
    rows = []
    for animal, sound in ANIMALS.items():
        rows.append(
            {"instruction": f"What does the {animal} say?", "input": "", "output": f"The {animal} says {sound}."}
        )
        rows.append({"instruction": INSTRUCTION, "input": animal, "output": f"The {animal} says {sound}."})
    return rows


def preference_rows() -> list[dict[str, str]]:
    """Make pairs in the shape of orca_dpo_pairs: a short answer with a courtesy is preferred to the bare one."""
    return [
        {
            "system": "",
            "question": f"What does the {animal} say?",
            "chosen": f"The {animal} says {sound}, {sound}!",
            "rejected": f"The {animal} says {sound}.",
        }
        for animal, sound in ANIMALS.items()
    ]


def write_data(folder: Path) -> tuple[Path, Path]:
    """Write both data sets, each row several times over, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    alpaca, pairs = folder / "animals-alpaca.json", folder / "animals-pairs.jsonl"
    alpaca.write_text(json.dumps(alpaca_rows(), indent=1), encoding="utf-8")
    pairs.write_text("".join(json.dumps(row) + "\n" for row in preference_rows()), encoding="utf-8")
    return alpaca, pairs


def samples(run: Path) -> list[str]:
    """Give the answers to the fixed prompt, from the first step to the last."""
    lines = (run / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [str(json.loads(line)["answer"]) for line in lines]


def teach(kind: str, folder: Path, data: tuple[Path, Path], say: Callable[[str], None]) -> dict[str, Any]:
    """Make a tiny model of the kind, train it by SFT and DPO, and give what came of it."""
    from finetune.demo.tiny import make_tiny
    from finetune.evaluate.generate import answer
    from finetune.templates.messages import Message
    from finetune.train.load import load_run
    from finetune.train.run import train

    started = time.perf_counter()
    texts = [str(value) for row in alpaca_rows() for value in row.values()]
    base = make_tiny(folder / "models" / kind, kind, corpus=texts)
    say(f"{kind}: a model of random weights and its tokenizer were made")
    sft = train(
        build(
            COMMON,
            {
                "model": str(base),
                "name": f"{kind}-sft",
                "data": (str(data[0]),),
                "epochs": 40.0,
                "learning_rate": 4e-3,
                "stop_loss": 0.01,
            },
        ),
        say=say,
    )
    dpo = train(
        build(
            COMMON,
            {
                "stage": "dpo",
                "parent": sft.name,
                "name": f"{kind}-dpo",
                "data": (str(data[1]),),
                "epochs": 40.0,
                "learning_rate": 4e-4,
                "loss": "sigmoid+sft",
                "stop_loss": 0.03,
            },
        ),
        say=say,
    )
    loaded = load_run(dpo, device="cpu")
    right = 0
    for animal, sound in ANIMALS.items():
        found = answer(loaded, (Message("user", f"What does the {animal} say?"),), max_new_tokens=24)
        right += sound in found.text and found.finish == "stop"
    reports = {name: json.loads((run / "report.json").read_text()) for name, run in (("sft", sft), ("dpo", dpo))}
    return {
        "kind": kind,
        "before": samples(sft)[0],
        "after_sft": samples(sft)[-1],
        "after_dpo": samples(dpo)[-1],
        "known": right,
        "asked": len(ANIMALS),
        "sft": {key: reports["sft"][key] for key in ("steps", "loss", "tokens_per_second", "seconds")},
        "dpo": {key: reports["dpo"][key] for key in ("steps", "loss", "tokens_per_second", "seconds")},
        "rewards": {key: reports["dpo"]["last"].get(f"rewards/{key}") for key in ("accuracies", "margins")},
        "runs": [str(sft), str(dpo)],
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> int:
    """Run the demonstration in `demo-home/finetune` and return 0 when both models learned, 1 when one did not."""
    logging.basicConfig(level=logging.ERROR)
    from finetune.train.load import quiet_libraries

    quiet_libraries()
    folder = Path(os.environ.get("QUIRE_HOME") or "demo-home/finetune").resolve()
    os.environ["QUIRE_HOME"] = str(folder)
    import warnings

    warnings.simplefilter("ignore")  # third-party deprecations say nothing about the demonstration
    for name in ("qwen2", "phi"):
        for stage in ("sft", "dpo"):
            shutil.rmtree(runs_folder() / f"{name}-{stage}", ignore_errors=True)
    started = time.perf_counter()
    data = write_data(folder / "data")
    results = [teach(kind, folder, data, lambda line: print(f"  {line}", file=sys.stderr)) for kind in ("qwen2", "phi")]
    for result in results:
        print(f"{result['kind']}: {ASKED}")
        for stage in ("before", "after_sft", "after_dpo"):
            print(f"  {stage.replace('_', ' '):<10} {result[stage][:60]!r}")
        print(f"  {result['known']} of {result['asked']} animals known, in {result['seconds']} s")
        for run in result["runs"]:
            print(f"  {run}/curves.png, report.json")
    same = hand_on(results, folder)
    seconds = time.perf_counter() - started
    (folder / "demo.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"done in {seconds:.0f} s; all of it is written in {folder}")
    return 0 if same and all(result["known"] == result["asked"] for result in results) else 1


def hand_on(results: list[dict[str, Any]], folder: Path) -> bool:
    """Export every tuned model, ask it, and say whether GGUF (and Ollama, where it answers) say what was trained."""
    from finetune.demo.demo_export import export_and_ask

    same = True
    for result in results:
        found = export_and_ask(
            Path(result["runs"][-1]), folder, ASKED, lambda line: print(f"  {line}", file=sys.stderr)
        )
        result["export"] = found
        answers = [found[key].strip() for key in ("gguf_answer", "ollama_answer") if key in found]
        asked = [found[key] for key in ("ask_gguf", "ask_ollama") if key in found]
        print(
            f"{result['kind']}: exported in {found['seconds']} s, KL {found['parity']['mean_kl']:.1g}: {found['gguf']}"
        )
        print(f"  {ASKED} " + " | ".join(map(repr, answers)))
        for one in asked:
            answer = str(one.get("answer", one.get("failed", "")))
            print(f"  quire ask --model {one.get('model', '?')}: {answer[:200]!r}")
            answers.append(answer.strip())
        same = same and len(set(answers)) == 1
    return same


if __name__ == "__main__":
    sys.exit(main())
