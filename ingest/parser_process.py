"""What a parser process does: reads a file, has OCR read its pictures, and splits it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from ingest.errors import ParserLimit, UnreadablePDF
from ingest.ocr.recognize import OcrProgress, Order, recognized
from ingest.pdf.read import read_pdf
from ingest.text.chunks import split
from quire import QuireError


def serve(memory_mb: int, ocr_memory_mb: int) -> None:
    """Answer requests on stdin until it ends; this is what a worker process runs."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not an answer
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    import pypdf  # noqa: F401  # imported before memory is limited and before the time of a file starts
    import pypdfium2  # noqa: F401

    allow_ocr = _limit_memory(memory_mb, ocr_memory_mb)

    def send(line: bytes) -> None:
        answers.write(line + b"\n")
        answers.flush()

    def report(progress: OcrProgress) -> None:
        allow_ocr()
        send(json.dumps({"ocr": vars(progress)}).encode())

    while True:
        send(_answer(json.loads(requests.get()), report))


def _listen(pipe: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    """Queue requests; when the pipe ends because the caller died, exit at once, even in the middle of a file."""
    for line in pipe:
        requests.put(line)
    os._exit(0)


def _limit_memory(memory_mb: int, ocr_memory_mb: int) -> Callable[[], None]:
    """Limit the address space to its present size plus `memory_mb`; Windows cannot.

    Return what raises the limit by `ocr_memory_mb`: an engine needs more than the reading of a PDF.
    """
    try:
        import resource
    except ImportError:
        return lambda: None
    try:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # macOS has no /proc, and its kernel does not enforce the limit
        now = 1 << 30
    limit = now + (memory_mb << 20)
    most = limit + (ocr_memory_mb << 20)

    def set_limit(soft: int) -> None:
        with contextlib.suppress(ValueError, OSError):  # a lower hard limit is already set
            resource.setrlimit(resource.RLIMIT_AS, (soft, most))

    set_limit(limit)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return lambda: set_limit(most)


def _answer(request: dict[str, Any], report: Callable[[OcrProgress], None]) -> bytes:
    try:
        return json.dumps(_read(request, report)).encode()
    except MemoryError:
        answer = _error(ParserLimit("reading it needs more memory than is allowed", "raise parse_memory_mb"), request)
    except RecursionError:
        answer = _error(
            UnreadablePDF("its objects are nested too deeply", "open it in a viewer and save a copy"), request
        )
    except QuireError as exc:
        answer = _error(exc, request)
    except Exception as exc:  # this file fails, not the run
        answer = _error(UnreadablePDF(f"{type(exc).__name__}: {exc}", "please report this file"), request)
    return json.dumps(answer).encode()


def _read(request: dict[str, Any], report: Callable[[OcrProgress], None]) -> dict[str, Any]:
    path, password, layered = Path(request["path"]), request["password"], None
    engine = request["engine"]
    pdf = read_pdf(path, password=password, max_pages=request["max_pages"], require_text=not engine)
    if engine:
        order = Order(engine, request["threads"], request["page_seconds"], Path(request["home"]), request["journal"])
        pdf, layered = recognized(path, password, pdf, order, report)
    chunks = split(
        pdf,
        document_id=request["document_id"],
        document=request["document"],
        sha256=request["sha256"],
        size=request["size"],
        overlap=request["overlap"],
    )
    return {
        "pdf": {**vars(pdf), "pages": [vars(page) for page in pdf.pages]},
        # text and names are already in the pages and in the request
        "chunks": [(c.id, c.page, c.start, c.end, c.running_lines) for c in chunks],
        "layered": layered and str(layered),
    }


def _error(exc: QuireError, request: dict[str, Any]) -> dict[str, Any]:
    path = Path(request["path"])
    message = exc.message.replace(str(path), request["document"]).replace(path.name, request["document"])
    if request["document"] not in message:
        message = f"{request['document']}: {message}"
    return {
        "error": type(exc).__name__,
        "message": message,
        "hint": exc.hint,
        "restart": isinstance(exc, ParserLimit),  # memory is fragmented or short: the next file gets a new process
    }
