"""How fast a library answers: 100,000 passages in each store, searched by long questions; prints one table, writes JSON.

    python -m benchmarks.store [--passages N] [--folder PDFS] [--stores NAME...] [--out FILE]

Without --folder the text is made from a seeded generator with the word frequencies of natural text. Weaviate is
measured beside SQLite where an embedded binary is found or WEAVIATE_URL is set; it takes minutes to write.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.config import IngestConfig, load_config
from ingest.store.contract import Document, Identity, Store
from ingest.store.opening import libraries, open_store, remove_library
from ingest.text.chunks import Chunk

DIMENSION = 384
PER_DOCUMENT = 1000
QUESTIONS = 200
_COMMON = """
the of and to in a for is on by that with as are from total cash year company net income revenue capital statement amount
million operating tax share price market details question cost report fiscal quarter expense asset flow interest debt
stock segment growth customer product response expenditure shown
"""
_SYLLABLES = "ba co de fi gu ha ji ka lo mu ne po qua ri so tu ve wi xa yo zu ster tion ment"
IDENTITY = Identity("benchmark", "1", DIMENSION, True, "", "", 500, 75)


def main(argv: list[str]) -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="real PDFs to take the text from")
    parser.add_argument("--stores", nargs="*", help="sqlite weaviate weaviate-embedded (default: what is there)")
    parser.add_argument("--out", type=Path, default=Path("bench-out/store.json"))
    args = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as home:
        base, _ = load_config()
        base = replace(base, home=Path(home), library=f"benchmark {uuid.uuid4()}")
        for kind in args.stores or _stores_here(base):
            config = replace(base, store=kind)
            try:
                rows.append(measure(config, args.passages, args.folder))
            finally:
                if any(summary.name == config.library for summary in libraries(config)):
                    remove_library(config, config.library)
    _print_table(rows)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"passages": args.passages, "stores": rows}, indent=2) + "\n")
    return 0


def measure(config: IngestConfig, passages: int, folder: Path | None) -> dict[str, object]:
    """Fill a library, close it, open it again and search it; times in milliseconds where not said otherwise."""
    texts = real_texts(folder, passages) if folder else made_texts(passages)
    seconds = 0.0
    store = open_store(config, create=True)
    store.set_identity(IDENTITY)
    for document, chunks, vectors in documents(texts):
        started = time.perf_counter()
        store.put(document, chunks, vectors)
        seconds += time.perf_counter() - started
    started = time.perf_counter()
    store.search_text("the first question after an ingest", limit=1)
    index = time.perf_counter() - started
    count = store.count()
    some = store.documents()[0].id
    started = time.perf_counter()
    store.close()
    seconds += time.perf_counter() - started

    started = time.perf_counter()
    store = open_store(config, create=False)
    opened = time.perf_counter() - started
    questions = [make_question(number) for number in range(QUESTIONS)]
    started = time.perf_counter()
    _both(store, *questions[0])
    first = time.perf_counter() - started
    searches: dict[str, Callable[[str, NDArray[np.float32]], object]] = {
        "vector": lambda _, vector: store.search_vector(vector, limit=100),
        "text": lambda text, _: store.search_text(text, limit=100),
        "both": lambda text, vector: _both(store, text, vector),
        "both_one_document": lambda text, vector: _both(store, text, vector, [some]),
    }
    times = {name: _times(search, questions) for name, search in searches.items()}
    size = next((s.bytes for s in libraries(config) if s.name == config.library), 0)
    store.close()
    started = time.perf_counter()
    removed = _remove_one(config, some)
    return {
        "store": config.store,
        "passages": count,
        "write_seconds": round(seconds, 2),
        "text_index_seconds": round(index, 2),
        "open_ms": round(opened * 1000, 1),
        "first_search_ms": round(first * 1000, 1),
        "process_to_first_hit_ms": process_to_first_hit(config) if config.store == "sqlite" else None,
        "search_ms": times,
        "megabytes": round(size / 1e6, 1),
        "remove_document_ms": round(removed * 1000, 1),
        "limit": 100,
    }


def _remove_one(config: IngestConfig, document_id: str) -> float:
    store = open_store(config, create=False)
    started = time.perf_counter()
    store.remove(document_id)
    seconds = time.perf_counter() - started
    store.close()
    return seconds


def process_to_first_hit(config: IngestConfig) -> float:
    """Return the milliseconds from the start of a new Python to its first hit of both searches (best of three)."""
    program = (
        "import sys, numpy as np; from pathlib import Path; from ingest.config import IngestConfig; "
        "from ingest.store.opening import open_store; "
        "s = open_store(IngestConfig(home=Path(sys.argv[1]), library=sys.argv[2]), create=False); "
        "s.search_vector(np.ones(384, dtype=np.float32), limit=50); s.search_text('net revenue of the year', limit=50)"
    )
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", program, str(config.home), config.library], check=True, timeout=120)
        best = min(best, time.perf_counter() - started)
    return round(best * 1000, 1)


def made_texts(passages: int) -> Iterator[str]:
    """Yield passages of about 500 characters whose words are as frequent as in natural text (Zipf)."""
    rng = np.random.default_rng(7)
    words = np.array(_vocabulary())
    weights = 1 / np.arange(1, len(words) + 1) ** 1.05
    weights /= weights.sum()
    for _ in range(0, passages, 1000):
        drawn = rng.choice(len(words), size=(min(1000, passages), 80), p=weights)
        yield from (" ".join(words[row]) for row in drawn)


def real_texts(folder: Path, passages: int) -> Iterator[str]:
    """Yield passages of the PDFs in a folder, from the front again where they are too few."""
    import pypdfium2

    texts: list[str] = []
    for path in sorted(folder.rglob("*.pdf")):
        with pypdfium2.PdfDocument(path) as pdf:
            for number in range(len(pdf)):
                text = pdf[number].get_textpage().get_text_bounded()
                texts += [text[start : start + 500] for start in range(0, len(text), 425)]
        if len(texts) >= passages:
            break
    if not texts:
        raise SystemExit(f"no text in the PDFs of {folder}")
    for number in range(passages):
        yield texts[number % len(texts)]


def documents(texts: Iterator[str]) -> Iterator[tuple[Document, list[Chunk], NDArray[np.float32]]]:
    """Yield documents of PER_DOCUMENT passages with vectors around a few hundred topics."""
    rng = np.random.default_rng(11)
    topics = _topics()
    number = 0
    part: list[str] = []
    for text in texts:
        part.append(text)
        if len(part) == PER_DOCUMENT:
            yield _document(number, part, rng, topics)
            number, part = number + 1, []
    if part:
        yield _document(number, part, rng, topics)


def make_question(number: int) -> tuple[str, NDArray[np.float32]]:
    """Return a long question in the style of an instruction, and a vector near some passages."""
    rng = random.Random(number)
    words = _vocabulary()
    drawn = " ".join(words[min(int(rng.paretovariate(0.6)), len(words) - 1)] for _ in range(12))
    text = (
        "What is the FY2018 capital expenditure amount (in USD millions) for the company? Give a response to the question "
        f"by relying on the details shown in the cash flow statement. {drawn}"
    )
    vector = _topics()[number % 300] + np.random.default_rng(number).normal(0, 0.05, DIMENSION)
    return text, vector.astype(np.float32)


def _both(store: Store, text: str, vector: NDArray[np.float32], only: list[str] | None = None) -> None:
    store.search_vector(vector, limit=100, documents=only)
    store.search_text(text, limit=100, documents=only)


def _times(
    search: Callable[[str, NDArray[np.float32]], object], questions: list[tuple[str, NDArray[np.float32]]]
) -> dict[str, float]:
    taken = []
    for question in questions:
        started = time.perf_counter()
        search(*question)
        taken.append((time.perf_counter() - started) * 1000)
    return {"p50": round(float(np.percentile(taken, 50)), 2), "p95": round(float(np.percentile(taken, 95)), 2)}


def _document(
    number: int, texts: list[str], rng: np.random.Generator, topics: NDArray[np.float64]
) -> tuple[Document, list[Chunk], NDArray[np.float32]]:
    source = f"/benchmark/report_{number}.pdf"
    document_id = str(uuid.uuid5(uuid.NAMESPACE_URL, source))
    chunks = [
        Chunk(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{source} {i}")),
            document_id=document_id,
            document=f"report_{number}.pdf",
            page=i // 8 + 1,
            page_label=str(i // 8 + 1),
            start=i % 8 * 425,
            end=i % 8 * 425 + len(text),
            text=text,
            parser="benchmark 1",
        )
        for i, text in enumerate(texts)
    ]
    vectors = topics[rng.integers(0, 300, len(texts))] + rng.normal(0, 0.05, (len(texts), DIMENSION))
    record = Document(
        id=document_id,
        source=source,
        name=f"report_{number}.pdf",
        sha256=uuid.uuid5(uuid.NAMESPACE_OID, source).hex * 2,
        title="",
        pages=len(texts) // 8 + 1,
        chunks=len(texts),
        size_bytes=1,
        added_at="2026-01-01T00:00:00+00:00",
        parser="benchmark 1",
    )
    return record, chunks, vectors.astype(np.float32)


def _topics() -> NDArray[np.float64]:
    topics = np.random.default_rng(5).normal(0, 1, (300, DIMENSION))
    return topics / np.linalg.norm(topics, axis=1, keepdims=True)


def _vocabulary() -> list[str]:
    rng = random.Random(3)
    made = {"".join(rng.choices(_SYLLABLES.split(), k=rng.randint(2, 4))) for _ in range(60_000)}
    return _COMMON.split() + sorted(made)


def _stores_here(config: IngestConfig) -> list[str]:
    from ingest.store.weaviate.embedded import download_offer

    if config.weaviate_url:
        return ["sqlite", "weaviate"]
    return ["sqlite"] if download_offer() else ["sqlite", "weaviate-embedded"]


def _print_table(rows: list[dict[str, object]]) -> None:
    names = {
        "passages": "passages",
        "write_seconds": "written, s",
        "text_index_seconds": "text index made, s",
        "open_ms": "opened, ms",
        "first_search_ms": "first search of both searches, ms",
        "process_to_first_hit_ms": "process start to first hit, ms",
        "megabytes": "on disk, MB",
        "remove_document_ms": "a document of 1000 removed, ms",
    }
    table = [["", *(str(row["store"]) for row in rows)]]
    table += [[name, *("-" if row[key] is None else str(row[key]) for row in rows)] for key, name in names.items()]
    for search in ("vector", "text", "both", "both_one_document"):
        cells = [row["search_ms"][search] for row in rows]  # type: ignore[index]
        table.append([f"{search.replace('_', ' ')}, p50 / p95 ms", *(f"{c['p50']} / {c['p95']}" for c in cells)])
    for line in table:
        print(f"{line[0]:<34}" + "".join(f"{cell:>22}" for cell in line[1:]))
    print(f"limit 100 a search, {QUESTIONS} questions, {os.cpu_count()} cores")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
