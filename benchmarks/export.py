"""What export costs at a given shape, ours beside the plain way, with random weights; one table and a JSON file.

    python -m benchmarks.export --shape 1.5b --out bench-out/export.json

Ours: merge in pieces, GGUF in a stream. Plain: load all with transformers and PEFT, merge, save, then convert (with
llama.cpp's own converter where LLAMA_CPP names a checkout, else not measured). Each step is a process of its own, whose
peak memory the kernel tells. Needs about four times the model's size on disk.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SHAPES: dict[str, dict[str, int]] = {
    "1.5b": {"hidden": 1536, "intermediate": 8960, "layers": 28, "heads": 12, "kv": 2, "vocab": 151936},
    "0.5b": {"hidden": 896, "intermediate": 4864, "layers": 24, "heads": 14, "kv": 2, "vocab": 151936},
    "tiny": {"hidden": 256, "intermediate": 512, "layers": 2, "heads": 4, "kv": 2, "vocab": 1024},
}
RANK = 16

STEPS = {
    "merge (ours)": """
from pathlib import Path
from finetune.export.merge import merge
merge("bench", Path(ROOT) / "merged", base=BASE, measure=False)
""",
    "GGUF F16 (ours)": """
from pathlib import Path
from finetune.export.gguf import write_gguf
from finetune.templates.template import load
write_gguf(Path(ROOT) / "merged", Path(ROOT) / "f16.gguf", template=load(Path(ROOT) / "merged"))
""",
    "GGUF Q8_0 (ours)": """
from pathlib import Path
from finetune.export.gguf import write_gguf
from finetune.templates.template import load
write_gguf(Path(ROOT) / "merged", Path(ROOT) / "q8.gguf", template=load(Path(ROOT) / "merged"), kind="Q8_0")
""",
    "load, merge, save (plain)": """
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base = AutoModelForCausalLM.from_pretrained(ROOT + "/base", dtype=torch.bfloat16)
model = PeftModel.from_pretrained(base, ROOT + "/runs/bench/adapter").merge_and_unload()
model.save_pretrained(ROOT + "/plain")
AutoTokenizer.from_pretrained(ROOT + "/base").save_pretrained(ROOT + "/plain")
""",
    "convert F16 (plain, llama.cpp)": """
import os, runpy, sys
sys.path[:0] = [os.environ["LLAMA_CPP"], os.environ["LLAMA_CPP"] + "/gguf-py"]
import conversion.base as base
base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
sys.argv = ["convert", ROOT + "/plain", "--outfile", ROOT + "/plain.gguf", "--outtype", "f16"]
runpy.run_path(sys.path[0] + "/convert_hf_to_gguf.py", run_name="__main__")
""",
}
TAIL = """
import resource, sys
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
"""


def write_random(root: Path, shape: dict[str, int]) -> None:
    """Write a random Qwen2 model in bf16, tensor by tensor, and a run with a random adapter on it."""
    from finetune.demo.tiny import make_tokenizer
    from finetune.runs.manifest import RunManifest, write_manifest
    from finetune.safetensors_io import ShardWriter, from_float
    from finetune.templates.builtin import get_template
    from finetune.templates.find import save_template

    h, i, kv = shape["hidden"], shape["intermediate"], shape["hidden"] // shape["heads"] * shape["kv"]
    linears = {
        "self_attn.q_proj": (h, h), "self_attn.k_proj": (kv, h), "self_attn.v_proj": (kv, h), "self_attn.o_proj": (h, h),
        "mlp.gate_proj": (i, h), "mlp.up_proj": (i, h), "mlp.down_proj": (h, i),
    }  # fmt: skip
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("model.embed_tokens.weight", (shape["vocab"], h)),
        ("model.norm.weight", (h,)),
    ]
    for layer in range(shape["layers"]):
        at = f"model.layers.{layer}."
        tensors += [(at + name + ".weight", size) for name, size in linears.items()]
        tensors += [(at + f"self_attn.{n}_proj.bias", (h if n == "q" else kv,)) for n in "qkv"]
        tensors += [(at + f"{n}_layernorm.weight", (h,)) for n in ("input", "post_attention")]
    base, adapter = root / "base", root / "runs" / "bench" / "adapter"
    base.mkdir(parents=True)
    adapter.mkdir(parents=True)
    draw = np.random.default_rng(0)

    def fill(path: Path, listed: list[tuple[str, tuple[int, ...]]], dtype: str) -> None:
        with ShardWriter(path, [(n, dtype, s) for n, s in listed]) as writer:
            for _, size in listed:
                columns = size[-1]
                for start in range(0, int(np.prod(size)), columns * 4096):
                    count = min(columns * 4096, int(np.prod(size)) - start)
                    writer.write(from_float(draw.standard_normal(count, np.float32) * 0.02, dtype))

    fill(base / "model.safetensors", tensors, "BF16")
    matrices = []
    for layer in range(shape["layers"]):
        for name, (rows, columns) in linears.items():
            stem = f"base_model.model.model.layers.{layer}.{name}"
            matrices += [(f"{stem}.lora_A.weight", (RANK, columns)), (f"{stem}.lora_B.weight", (rows, RANK))]
    fill(adapter / "adapter_model.safetensors", matrices, "F32")
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": h,
        "intermediate_size": i, "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv"], "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "dtype": "bfloat16",
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}, "tie_word_embeddings": True,
        "vocab_size": shape["vocab"], "use_sliding_window": False,
    }  # fmt: skip
    (base / "config.json").write_text(json.dumps(config))
    lora = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 32, "bias": "none",
        "target_modules": sorted({n.rsplit(".", 1)[1] for n in linears}), "base_model_name_or_path": str(base),
    }  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(lora))
    tokenizer, template = make_tokenizer("qwen2"), get_template("chatml")
    for folder in (base, adapter):
        tokenizer.save_pretrained(folder)
    save_template(template, adapter)
    write_manifest(
        adapter.parent,
        RunManifest("sft", str(base), "qlora", "chatml", ["bench"], {"dtype": "bf16"}, {}, {}),
    )


def measure(code: str, root: Path, base: str) -> dict[str, Any]:
    """Run a step in a process of its own: seconds and peak memory in bytes."""
    full = f"ROOT = {str(root)!r}\nBASE = {base!r}\n{code}\n{TAIL}"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", full],
        env={**os.environ, "QUIRE_HOME": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    peaks = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("PEAK ")]
    if not peaks:
        return {
            "failed": done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else f"exit {done.returncode}"
        }
    return {"seconds": round(seconds, 1), "peak_gb": round(int(peaks[-1]) / 1e9, 2)}


def main() -> int:
    """Measure every step, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="1.5b")
    parser.add_argument("--folder", default="bench-out/export", help="scratch folder; removed afterwards")
    parser.add_argument("--out", default="bench-out/export.json")
    args = parser.parse_args()
    root = Path(args.folder).resolve()
    if root.exists():
        print(f"{root} is there already: remove it, or give another --folder", file=sys.stderr)
        return 2
    found: dict[str, Any] = {}
    try:
        write_random(root, SHAPES[args.shape])
        for name, code in STEPS.items():
            if "llama.cpp" in name and "LLAMA_CPP" not in os.environ:
                found[name] = {"failed": "not measured: LLAMA_CPP names no checkout"}
            elif name == "merge (ours)":
                for base in ("full-precision", "dequantized"):
                    shutil.rmtree(root / "merged", ignore_errors=True)
                    found[f"merge into {base} (ours)"] = measure(code, root, base)
            else:
                found[name] = measure(code, root, "full-precision")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{'step (' + args.shape + ')':<34} {'seconds':>8} {'peak GB':>8}")
    for name, row in found.items():
        print(f"{name:<34} {row.get('seconds', '-'):>8} {row.get('peak_gb', '-'):>8}  {row.get('failed', '')}")
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        json.dumps({"shape": args.shape, "threads": os.environ.get("OMP_NUM_THREADS"), "steps": found}, indent=2) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
