"""Parser processes: order, limits, death, and nobody left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.config import IngestConfig
from ingest.errors import IngestError, NoTextInPDF, ParserLimit, PasswordRequired, UnreadablePDF
from ingest.parsing import Job, Parsed, parse_all
from ingest.pdf.read import read_pdf
from ingest.text.chunks import split
from tests.ingest import pdfs

ROOT = Path(__file__).parents[2]
CONFIG = IngestConfig(home=Path("unused"), chunk_size=200, chunk_overlap=20, parse_seconds=60, ocr="off")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and /proc")
linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit of memory needs Linux")


def job(path: Path) -> Job:
    return Job(path, f"id-{path.name}", f"shown/{path.name}", "00")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parsing")


@pytest.fixture(scope="module")
def report(folder: Path) -> Path:
    return pdfs.report(folder / "report.pdf")


@pytest.fixture(scope="module")
def slow(folder: Path) -> Path:
    """A page of 200 MB of drawing: tens of seconds of honest work for PDFium, within its memory at 8 GB."""
    return pdfs.bomb(folder / "slow.pdf", megabytes=200)


def parse(job: Job, config: IngestConfig) -> Parsed:
    """What one worker makes of one file; raises what it failed with."""
    [(_, outcome)] = parse_all([job], workers=1, config=config)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def test_a_worker_gives_what_reading_and_splitting_here_gives(report: Path) -> None:
    parsed = parse(job(report), CONFIG)
    source = read_pdf(report)
    assert parsed.pdf == source
    assert parsed.chunks == split(
        source, document_id="id-report.pdf", document="shown/report.pdf", sha256="00", size=200, overlap=20
    )


def test_results_come_in_the_order_given_and_each_failure_is_its_own(folder: Path, report: Path) -> None:
    html = folder / "page.pdf"
    html.write_bytes(b"<html>no</html>")
    scan = pdfs.document()
    pdfs.picture_page(scan, folder / "scan")
    locked = pdfs.encrypted(folder / "locked.pdf", user="right", owner=None)
    one = pdfs.saved(pdfs.document("One page."), folder / "one.pdf")
    paths = [report, html, one, pdfs.saved(scan, folder / "scan.pdf"), locked, folder / "absent.pdf", one]
    jobs = [replace(job(path), document_id=str(i)) for i, path in enumerate(paths)]
    outcomes = list(parse_all(iter(jobs), workers=2, config=CONFIG))
    assert [given for given, _ in outcomes] == jobs
    kinds = [type(outcome) for _, outcome in outcomes]
    assert kinds == [Parsed, UnreadablePDF, Parsed, NoTextInPDF, PasswordRequired, UnreadablePDF, Parsed]
    refused = outcomes[1][1]
    assert isinstance(refused, IngestError)
    assert refused.message == "shown/page.pdf is not a PDF but a web page (HTML or XML)"
    assert refused.hint


def test_the_password_reaches_the_worker(folder: Path) -> None:
    path = pdfs.encrypted(folder / "secret.pdf", user="pässword", owner="boss")
    assert parse(replace(job(path), password="pässword"), CONFIG).pdf.encrypted
    with pytest.raises(PasswordRequired, match=r"shown/secret\.pdf: the password given is wrong"):
        parse(replace(job(path), password="wrong"), CONFIG)


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read(slow: Path, report: Path) -> None:
    config = replace(CONFIG, parse_seconds=1.5, parse_memory_mb=8192)
    started = time.monotonic()
    (_, first), (_, second) = parse_all([job(slow), job(report)], workers=1, config=config)
    assert isinstance(first, ParserLimit)
    assert str(first).startswith("shown/slow.pdf: reading took longer than 1.5 s (raise parse_seconds")
    assert isinstance(second, Parsed)
    assert time.monotonic() - started < 10


@linux
def test_a_bomb_is_stopped_by_the_limit_of_memory_and_the_next_is_read(slow: Path, report: Path) -> None:
    config = replace(CONFIG, parse_memory_mb=150)
    (_, first), (_, second) = parse_all([job(slow), job(report)], workers=1, config=config)
    assert isinstance(first, ParserLimit)
    assert "shown/slow.pdf" in first.message and "memory" in first.message and "parse_memory_mb" in first.hint
    assert isinstance(second, Parsed)


def test_a_file_with_too_many_pages_is_refused(report: Path) -> None:
    with pytest.raises(ParserLimit, match=r"shown/report\.pdf has 6 pages, over the limit of 5"):
        parse(job(report), replace(CONFIG, parse_pages=5))


def children() -> list[int]:
    """Parser processes of this one, by /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = stat.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z" and b"ingest.parser_process" in command:
            found.append(int(stat.parent.name))
    return found


@linux
def test_a_worker_killed_from_outside_costs_its_file_alone(slow: Path, report: Path) -> None:
    def kill() -> None:
        while not (workers := children()):
            time.sleep(0.05)
        time.sleep(1.0)
        os.kill(workers[0], signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    config = replace(CONFIG, parse_memory_mb=8192)
    (_, first), (_, second) = parse_all([job(slow), job(report)], workers=1, config=config)
    assert isinstance(first, ParserLimit)
    assert "SIGKILL" in first.message and "was killed" in first.message
    assert isinstance(second, Parsed)


@linux
def test_cancel_stops_at_once_and_leaves_no_process(slow: Path) -> None:
    cancel = threading.Event()
    threading.Timer(0.7, cancel.set).start()
    started = time.monotonic()
    config = replace(CONFIG, parse_memory_mb=8192)
    assert list(parse_all([job(slow)] * 3, workers=2, config=config, cancel=cancel)) == []
    assert time.monotonic() - started < 1.7
    assert children() == []


@linux
def test_a_caller_that_stops_asking_leaves_no_process(report: Path) -> None:
    outcomes = parse_all([job(report)] * 5, workers=2, config=CONFIG)
    next(outcomes)
    assert children()
    outcomes.close()
    assert children() == []


def test_jobs_are_drawn_as_they_are_needed(report: Path) -> None:
    drawn = []

    def jobs() -> Iterator[Job]:
        for number in range(20):
            drawn.append(number)
            yield job(report)

    outcomes = parse_all(jobs(), workers=1, config=CONFIG)
    next(outcomes)
    assert len(drawn) <= 4, "what waits for the embedder is bounded"
    assert len(list(outcomes)) == 19


CALLER = """
import signal
import sys
from pathlib import Path
from ingest.config import IngestConfig
from ingest.parsing import Job, parse_all
config = IngestConfig(home=Path("unused"), parse_memory_mb=8192, ocr="off")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background inherits that it is ignored
print("started", flush=True)
for _ in parse_all([Job(Path(sys.argv[1]), "d", "d", "00")] * 3, workers=2, config=config):
    pass
"""


@linux
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_caller_however_it_ends(how: signal.Signals, slow: Path) -> None:
    words = [sys.executable, "-c", CALLER, str(slow)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as caller:
        try:
            assert caller.stdout is not None
            caller.stdout.readline()
            workers = _children(caller.pid, expected=2)
            caller.send_signal(how)
            started = time.monotonic()
            caller.wait(timeout=10)
            # seconds are a busy machine's; the file they are at work on takes minutes
            assert time.monotonic() - started < 5
            while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() - started < 10:
                time.sleep(0.02)
            assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        finally:
            caller.kill()


def _children(parent: int, *, expected: int) -> list[int]:
    """Wait for a process to have this many children."""
    found: list[int] = []
    deadline = time.monotonic() + 30
    while len(found) < expected and time.monotonic() < deadline:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # ended since it was listed
                if stat.read_text().rpartition(")")[2].split()[1] == str(parent):
                    found.append(int(stat.parent.name))
        time.sleep(0.05)
    assert len(found) == expected
    return found


def test_a_folder_that_shadows_modules_is_not_searched(
    tmp_path: Path, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    assert parse(job(report), CONFIG).pdf.pages


def test_a_worker_imports_nothing_heavy() -> None:
    code = "import sys, ingest.parsing; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["torch", "onnxruntime", "langchain_core", "weaviate", "streamlit", "numpy", "tokenizers", "pypdf"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
