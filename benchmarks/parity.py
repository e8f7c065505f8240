"""How far each stored type parts from the trained model, for the runs of `make demo-finetune`; one table and a JSON file.

    QUIRE_HOME=demo-home/finetune python -m benchmarks.parity qwen2-dpo phi-dpo

K-quants come from Ollama (OLLAMA_HOST); without one they are left out, and the table says so.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from finetune.errors import OllamaFailed
from finetune.export.gguf import KINDS, write_gguf
from finetune.export.handover import compare_tag, merged_folder
from finetune.export.modelfile import modelfile_for
from finetune.export.ollama import Ollama
from finetune.export.parity import compare
from finetune.export.reference import compute_reference

HEAD = ("run", "type", "positions", "same first choice", "mean KL", "worst KL", "greedy equal", "ended", "passed")


def rows_of(run: str, folder: Path) -> list[dict[str, Any]]:
    """Measure every type for one run."""
    found = []
    with merged_folder(run, base="dequantized", base_folder="", merged=None, progress=lambda line: None) as merged:
        ref = compute_reference(run, merged)
        modelfile = modelfile_for(ref.template, context_length=int(ref.config["max_position_embeddings"]))
        for kind in KINDS:
            path = write_gguf(merged, folder / f"{run}-{kind}.gguf", template=ref.template, kind=kind)
            found.append(compare(ref, path, kind=kind, modelfile=modelfile))
        server, tag = Ollama(), f"quire-parity-{run}"
        try:
            for kind in ("Q4_K_M", "Q4_K_S"):
                server.create(tag, folder / f"{run}-F16.gguf", modelfile, quantize=kind)
                found.append(compare_tag(server, tag, ref, kind, modelfile))
            server.remove(tag)
        except OllamaFailed as exc:
            print(f"K-quants are left out: {exc.message}", file=sys.stderr)
    return [{"run": run, **one.to_dict()} for one in found]


def main() -> int:
    """Measure, print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--out", default="bench-out/parity.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = [row for run in args.runs for row in rows_of(run, Path(scratch))]
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    for r in rows:
        print(
            f"| {r['run']} | {r['kind']} | {r['positions']} | {r['top1']:.1%} | {r['mean_kl']:.1e} | {r['max_kl']:.1e}"
            f" | {r['greedy_equal']}/{r['answers']} | {r['ended']}/{r['ends']} | {'yes' if r['passed'] else r['differences']} |"
        )
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
