"""Words and numbers that both OCR engines find on scans of report pages, seconds and memory.

`python -m benchmarks.ocr QUESTIONS.jsonl PDFS [PAGES]` takes the first evidence page of the first documents of a question file.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from benchmarks.table import OUT, show
from ingest.ocr.engine import Engine, load, ocr_engine
from ingest.ocr.layer import draw, write_layer
from ingest.ocr.page import PageText, read_page
from ingest.pdf import pdfium
from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles
from quire import QuireError

ENGINES = ("tesseract", "rapidocr")
SCANS = ("200 dpi", "200 dpi, bad", "150 dpi", "300 dpi", "200 dpi, stamped")
ROWS = OUT / "ocr.jsonl"
_WORD = re.compile(r"[^\W\d_]{2,}")
_NUMBER = re.compile(r"\d[\d.,]*\d|\d")


def main(argv: list[str]) -> None:
    """Read every scan of every page with every engine, each engine in a process of its own, and print a table."""
    questions, folder, count = Path(argv[0]), Path(argv[1]), int(argv[2]) if len(argv) > 2 else 12
    if len(argv) > 3:
        _measure(argv[3], list(_pages(questions, folder, count)))
        return
    for engine in ENGINES:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.ocr", str(questions), str(folder), str(count), engine], check=True
        )
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    pages = len({(row["document"], row["page"]) for row in rows})
    show("ocr", f"OCR of {pages} report pages against their own text", [_summary(*key, rows) for key in _keys(rows)])


def _keys(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["engine"], row["scan"]) for row in rows))


def _summary(engine: str, scan: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    of = [row for row in rows if (row["engine"], row["scan"]) == (engine, scan)]
    marks = [offset for row in of for offset in row["marks"]]
    return {
        "engine": engine,
        "scan": scan,
        "pages": len(of),
        "words": mean(row["words"] for row in of),
        "worst page": min(row["words"] for row in of),
        "numbers": mean(row["numbers"] for row in of),
        "worst": min(row["numbers"] for row in of),
        "rows": mean(row["rows_kept"] for row in of),
        "CPU s/page": mean(row["cpu_seconds"] for row in of),
        "s/page": mean(row["seconds"] for row in of),
        "peak MB": max(row["peak_mb"] for row in of),
        "confidence": mean(row["confidence"] for row in of),
        "marks within 1 %": mean(offset <= 0.01 for offset in marks) if marks else None,
        "median offset %": 100 * median(marks) if marks else None,
    }


def _pages(questions: Path, folder: Path, count: int) -> Iterator[tuple[Path, int]]:
    seen: set[str] = set()
    for line in questions.read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        if question["document"] not in seen and question["evidence"] and len(seen) < count:
            seen.add(question["document"])
            yield folder / question["document"], question["evidence"][0]["page"]


def _measure(name: str, pages: list[tuple[Path, int]]) -> None:
    try:
        engine = load(ocr_engine(name), 1)
    except QuireError as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return
    OUT.mkdir(exist_ok=True)
    known = ROWS.read_text().splitlines() if ROWS.exists() else []
    done = {(row["engine"], row["scan"], row["document"], row["page"]) for row in map(json.loads, known)}
    for scan in SCANS:
        for path, number in pages:
            if (engine.name, scan, path.name, number) in done:
                continue
            row = {"engine": engine.name, "scan": scan, "document": path.name, "page": number}
            with tempfile.TemporaryDirectory() as folder:
                row |= _read(engine, _one_page(path, number, Path(folder)), scan, Path(folder))
            with ROWS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(row["engine"], scan, path.name, f"{row['words']:.3f} {row['numbers']:.3f}", file=sys.stderr)


def _one_page(path: Path, number: int, folder: Path) -> Path:
    """Write one page to a file of its own: reading a whole report for each scan of a page would take longer than OCR."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter()
    writer.append(PdfReader(path), pages=(number - 1, number), import_outline=False)
    writer.write(folder / "page.pdf")
    return folder / "page.pdf"


def _read(engine: Engine, path: Path, scan: str, folder: Path) -> dict[str, Any]:
    truth = read_pdf(path).pages[0].text
    paper, dpi = folder / "scan.pdf", int(scan[:3])
    _scanned(path, scan, dpi).save(paper, format="PDF", resolution=dpi)
    before, started = _cpu(), time.perf_counter()
    with pdfium.opened(paper, None) as document:
        picture = draw(document, 0, dpi=engine.dpi, shortest=1_280, longest=2_600)
    text = read_page(engine, picture, 600)
    seconds, cpu = time.perf_counter() - started, _cpu() - before
    copy = paper.with_suffix(".ocr")
    write_layer(paper, None, {1: text}, copy)
    found = read_pdf(copy, require_text=False).pages[0].text
    marks = [] if "," in scan else _offsets(path, truth, copy, found)
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "words": _recall(_WORD, truth, found),
        "numbers": _recall(_NUMBER, truth, found),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb": max(peaks) / 1024,
        "confidence": text.confidence,
        "tilt": text.tilt,
        "turn": text.turn,
        "rows_kept": _rows_kept(text, found),
        "marks": marks,
    }


def _cpu() -> float:
    times = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in times)


def _scanned(path: Path, scan: str, dpi: int) -> Image.Image:
    with pdfium.opened(path, None) as document:
        page = document[0].render(scale=dpi / 72).to_pil().convert("L")
    if scan.endswith("bad"):
        side = 1.5 if path.stat().st_size % 2 else -1.5
        turned = page.rotate(side, fillcolor=255, resample=Image.Resampling.BICUBIC)
        return _as_jpeg(turned.filter(ImageFilter.GaussianBlur(1.0)))
    if scan.endswith("stamped"):
        stamp = Image.new("L", (page.width // 3, page.height // 20), 255)
        ImageDraw.Draw(stamp).text((10, 5), "RECEIVED 14 MAY 2023", fill=110, font_size=stamp.height // 2)
        ImageDraw.Draw(stamp).rectangle((2, 2, stamp.width - 3, stamp.height - 3), outline=110, width=4)
        stamp = stamp.rotate(12, expand=True, fillcolor=255)
        page.paste(stamp, (page.width // 2, page.height // 3), stamp.point(lambda value: 255 if value < 200 else 0))
    return page


def _as_jpeg(page: Image.Image) -> Image.Image:
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        page.save(file.name, quality=40)
        return Image.open(file.name).copy()


def _recall(pattern: re.Pattern[str], truth: str, found: str) -> float:
    wanted = Counter(pattern.findall(truth))
    return (wanted & Counter(pattern.findall(found))).total() / max(1, wanted.total())


def _rows_kept(text: PageText, found: str) -> float:
    """Return the share of the rows read that are one line of the copy's text."""
    lines = {"".join(line.split()) for line in found.splitlines()}
    return mean("".join(word.text for word in row) in lines for row in text.rows) if text.rows else 1.0


def _offsets(path: Path, truth: str, copy: Path, found: str) -> list[float]:
    """Return how far the marks of numbers that stand once on the page are apart, in widths of the page."""
    once = [n for n, count in Counter(_NUMBER.findall(truth)).items() if count == 1 and len(n) > 3]
    offsets = []
    for figure in [n for n in once if found.count(n) == 1 and truth.count(n) == 1][:12]:
        there = page_rectangles(path, 1, truth.index(figure), truth.index(figure) + len(figure))
        here = page_rectangles(copy, 1, found.index(figure), found.index(figure) + len(figure))
        if len(there) == len(here) == 1:
            offsets.append(max(abs(there[0][side] - here[0][side]) for side in (0, 2)))
    return offsets


if __name__ == "__main__":
    main(sys.argv[1:])
