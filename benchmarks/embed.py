"""Passages embedded per second, ours at both precisions beside torch at fp32, on the same passages, with cosine and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus import pdfs
from benchmarks.table import show
from ingest.config import IngestConfig
from ingest.embed.minilm import MiniLM, available_cores
from ingest.embed.weights import find_weights

PASSAGES = 256
WAYS = ("torch fp32", "quire fp32", "quire int8")
ROUNDS = 2  # every way once a round, so that a busy machine slows all of them alike; the better one counts


def main(argv: list[str]) -> None:
    """Embed the same passages in every way, each in a process of its own, and print one table."""
    if argv:
        print(json.dumps(_measure(argv[0], Path(argv[1]))))
        return
    folder = Path("bench-out")
    folder.mkdir(exist_ok=True)
    (folder / "passages.json").write_text(json.dumps(_passages()), encoding="utf-8")
    best: dict[str, dict[str, Any]] = {}
    for _ in range(ROUNDS):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.embed", way, str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            if way not in best or row["passages/s"] > best[way]["passages/s"]:
                best[way] = row
    vectors = {way: np.load(folder / f"{way}.npy") for way in WAYS}
    for way, row in best.items():
        cosines = (vectors[way] * vectors[WAYS[0]]).sum(axis=1)
        row["cosine mean"], row["min"] = f"{cosines.mean():.5f}", f"{cosines.min():.5f}"
        row["same 10 nearest"] = _overlap(vectors[WAYS[0]], vectors[way])
        for unit in ("passages/s", "passages/CPU s"):
            row[f"times {unit}"] = row[unit] / best[WAYS[0]][unit]
    title = f"Embedding {PASSAGES} passages on {available_cores()} cores (aim: 2 times torch, cosine 0.99)"
    show("embed", title, list(best.values()))


def _passages() -> list[str]:
    """Return passages spread over at most three files, with the words in front that the pipeline puts there."""
    from ingest.chunks import embedding_text, split
    from ingest.pdf import read_pdf

    texts = []
    for path in sorted(pdfs(), key=lambda path: path.stat().st_size)[:3]:
        pdf = read_pdf(path)
        chunks = split(pdf, document_id="d", document=path.name, sha256="0", size=500, overlap=75)
        texts += [embedding_text(chunk, name=path.name, title="") for chunk in chunks]
    return texts[:: max(1, len(texts) // PASSAGES)][:PASSAGES]


def _measure(way: str, folder: Path) -> dict[str, Any]:
    texts = json.loads((folder / "passages.json").read_text(encoding="utf-8"))
    began = time.perf_counter()
    embed = _torch() if way == "torch fp32" else _ours(way.removeprefix("quire "))
    first = embed(["one question"])
    loaded = time.perf_counter() - began
    assert first.shape == (1, 384)
    wall, cpu = time.perf_counter(), time.process_time()
    rows = embed(texts)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(folder / f"{way}.npy", rows)
    return {
        "way": way,
        "passages/s": len(texts) / wall,
        "passages/CPU s": len(texts) / cpu,
        "start to first vector s": loaded,
        "peak MB": _peak_megabytes(),
    }


def _ours(precision: str) -> Any:
    config = IngestConfig()
    return MiniLM(find_weights(config), config.home / "models", precision=precision).embed_passages


def _torch() -> Any:
    """Return what sentence-transformers does: sorted by length, batches of 32, mean of the tokens, unit length."""
    import torch
    import transformers

    folder = find_weights(IngestConfig()).folder
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    torch.set_num_threads(available_cores())

    def embed(texts: list[str]) -> Any:
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        rows = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(order), 32):
            places = order[start : start + 32]
            batch = tokenizer(
                [texts[place] for place in places], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"][:, :, None]
            rows[places] = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)).numpy()
        return rows

    return embed


def _overlap(exact: np.ndarray, other: np.ndarray) -> float:
    """Return the share of each passage's ten nearest that both sets of vectors agree on."""
    nearest = [np.argsort(-(rows @ rows.T), axis=1)[:, 1:11] for rows in (exact, other)]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*nearest, strict=True)]))


def _peak_megabytes() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    main(sys.argv[1:])
