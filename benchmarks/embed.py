"""Passages embedded per second, ours at both precisions beside sentence-transformers, on the same passages, with cosine and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus import typical
from benchmarks.table import show
from ingest.config import IngestConfig
from ingest.embed.encoder import SentenceEncoder
from ingest.embed.weights import find_weights
from quire import available_cores

PASSAGES = 256
WAYS = ("sentence-transformers", "quire fp32", "quire int8")
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
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:  # else what the libraries say while they load is of no use beside a table
                sys.exit(f"error: {way} ended with {done.returncode}\n{done.stderr}")
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
    title = (
        f"Embedding {PASSAGES} passages on {available_cores()} cores (aim: 2 times sentence-transformers, cosine 0.99)"
    )
    show("embed", title, list(best.values()))


def _passages() -> list[str]:
    """Return passages spread over three files, with the words in front that the pipeline puts there."""
    from ingest.pdf.read import read_pdf
    from ingest.text.chunks import embedding_text, split

    texts = []
    for path in typical(3):
        pdf = read_pdf(path)
        chunks = split(pdf, document_id="d", document=path.name, sha256="0", size=500, overlap=75)
        texts += [embedding_text(chunk, source=path.name, title="") for chunk in chunks]
    return texts[:: max(1, len(texts) // PASSAGES)][:PASSAGES]


def _measure(way: str, folder: Path) -> dict[str, Any]:
    texts = json.loads((folder / "passages.json").read_text(encoding="utf-8"))
    began = time.perf_counter()
    embed = _sentence_transformers() if way == WAYS[0] else _ours(way.removeprefix("quire "))
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
    return SentenceEncoder(find_weights(config), config.home / "models", precision=precision).embed_passages


def _sentence_transformers() -> Any:
    """Return the library's own encoding of the same weights on all cores, at the 256 tokens a passage may have."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    torch.set_num_threads(available_cores())
    words = Transformer(str(find_weights(IngestConfig()).folder), max_seq_length=256)
    model = SentenceTransformer(modules=[words, Pooling(384, "mean"), Normalize()], device="cpu")
    return lambda texts: model.encode(texts, batch_size=32, show_progress_bar=False)


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
