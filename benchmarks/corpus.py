"""The PDFs that measurements read: a folder given by QUIRE_BENCH_PDFS, else the sample reports beside the checkout, else the handbook."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def pdfs() -> list[Path]:
    """Return the PDFs to measure on, in a stable order."""
    given = os.environ.get("QUIRE_BENCH_PDFS")
    folder = Path(given) if given else ROOT.parent / "shared" / "financebench-dev" / "pdfs"
    found = sorted(folder.glob("*.pdf")) if folder.is_dir() else []
    if found:
        return found
    if given:
        sys.exit(f"error: QUIRE_BENCH_PDFS={given} holds no PDF")
    handbook = Path(tempfile.mkdtemp()) / "handbook.pdf"
    subprocess.run([sys.executable, ROOT / "docs" / "build_handbook.py", handbook], check=True)
    return [handbook]


def typical(count: int) -> list[Path]:
    """Return that many PDFs of middling size, spread over the middle half of all."""
    files = sorted(pdfs(), key=lambda path: (path.stat().st_size, path))
    middle = files[len(files) // 4 : max(len(files) * 3 // 4, len(files) // 4 + 1)]
    return middle[:: max(1, len(middle) // count)][:count]
