"""An ingest from files to a library: what is added, replaced, unchanged and failed."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ingest.config import IngestConfig
from ingest.errors import IdentityMismatch
from ingest.files.pdf_store import PdfStore
from ingest.library import find_document, remove_document
from ingest.pipeline import Cancelled, ingest
from ingest.report import Progress
from tests.documents import write_pdf
from tests.ingest.libraries import opened, scanned
from tests.ingest.pdfs import document, saved

ROOT = Path(__file__).parent.parent.parent


def test_every_file_is_in_exactly_one_list(config: IngestConfig, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 and then nothing of use")
    (folder / "empty.pdf").write_bytes(b"")
    report = ingest([str(folder), str(folder / "gone.pdf")], config)
    assert [s.document for s in report.added] == ["bridges.pdf", "whales.pdf"]
    assert [Path(f.document).name for f in report.failed] == ["gone.pdf", "broken.pdf", "empty.pdf"]
    assert all(f.reason and f.hint for f in report.failed)
    assert [s.pages for s in report.added] == [2, 2]


def test_pages_whose_order_is_uncertain_are_reported(config: IngestConfig, tmp_path: Path) -> None:
    left = [
        "the tenant may end the lease with a",
        "notice of three months to the end of",
        "a quarter, in writing, before the",
    ]
    right = [
        "the deposit amounts to two monthly",
        "rents and is paid before the keys are",
        "handed over, with the usual interest",
    ]
    rows = [(20, left), (115, right)]
    pdf = document("A page of its own.")
    pdf.add_page()
    for number in range(3):
        for place, lines in rows:
            pdf.text(place, 40 + 6 * number, lines[number])
    report = ingest([str(saved(pdf, tmp_path / "lease.pdf"))], config)
    assert report.added[0].uncertain_order == (2,)
    assert report.added[0].notices == ("the order of the text may be another than on the page; check it there: 2",)


def test_a_second_run_adds_nothing(config: IngestConfig, folder: Path) -> None:
    ingest([str(folder)], config)
    before = scanned(config)
    report = ingest([str(folder)], config)
    assert (report.added, report.replaced, report.failed) == ([], [], [])
    assert report.unchanged == ["bridges.pdf", "whales.pdf"]
    assert scanned(config).keys() == before.keys()


def test_changed_bytes_replace_the_document_and_its_copy(config: IngestConfig, folder: Path) -> None:
    ingest([str(folder)], config)
    old = find_document(opened(config), "whales.pdf")
    write_pdf(folder / "whales.pdf", ["Narwhals have a single long tusk."])
    report = ingest([str(folder)], config)
    assert [s.document for s in report.replaced] == ["whales.pdf"]
    store = opened(config)
    new = find_document(store, "whales.pdf")
    assert (new.id, new.pages) == (old.id, 1)
    assert [c.text for c, _ in store.scan(new.id)] == ["Narwhals have a single long tusk."]
    pdfs = PdfStore(config.home)
    assert pdfs.path(old.sha256) is None
    assert pdfs.path(new.sha256) is not None


def test_new_bytes_that_cannot_be_read_leave_the_old_version(config: IngestConfig, folder: Path) -> None:
    ingest([str(folder)], config)
    (folder / "whales.pdf").write_bytes(b"not a PDF any more")
    report = ingest([str(folder)], config)
    assert [f.hint.endswith("the version stored before is kept") for f in report.failed] == [True]
    assert find_document(opened(config), "whales.pdf").pages == 2


def test_the_same_bytes_under_two_paths_are_two_documents_with_one_copy(config: IngestConfig, folder: Path) -> None:
    other = folder / "old" / "whales.pdf"
    other.parent.mkdir()
    other.write_bytes((folder / "whales.pdf").read_bytes())
    ingest([str(folder)], config)
    names = [d.name for d in opened(config).documents()]
    assert names == ["bridges.pdf", "old/whales.pdf", "pdfs/whales.pdf"]
    assert len(list((config.home / "files").glob("*.pdf"))) == 2
    store = opened(config)
    remove_document(config, store, find_document(store, "old/whales.pdf"))
    kept = find_document(store, "whales.pdf")
    assert kept.name == "whales.pdf"
    assert {c.document for c, _ in store.scan(kept.id)} == {"whales.pdf"}
    assert PdfStore(config.home).path(kept.sha256) is not None


def test_an_encrypted_file_asks_until_the_password_is_right(config: IngestConfig, tmp_path: Path) -> None:
    secret = write_pdf(tmp_path / "secret.pdf", ["The vault is under the stairs."], password="sesame")
    asked: list[bool] = []

    def ask(_document: str, wrong: bool) -> str:
        asked.append(wrong)
        return "sesame" if wrong else "guess"

    report = ingest([str(secret)], config, ask_password=ask)
    assert asked == [False, True]
    assert [s.document for s in report.added] == ["secret.pdf"]
    assert any("decrypted copy" in notice for notice in report.added[0].notices)
    copy = PdfStore(config.home).path(find_document(opened(config), "secret.pdf").sha256)
    assert copy is not None
    from pypdf import PdfReader

    assert not PdfReader(copy).is_encrypted
    assert copy.stat().st_mode & 0o077 == 0


def test_an_encrypted_file_without_a_password_fails_with_the_fix(config: IngestConfig, tmp_path: Path) -> None:
    secret = write_pdf(tmp_path / "secret.pdf", ["text"], password="sesame")
    report = ingest([str(secret)], config)
    assert "password" in report.failed[0].reason
    assert "--password" in report.failed[0].hint


def test_another_chunking_is_refused_before_anything_is_read(config: IngestConfig, folder: Path) -> None:
    ingest([str(folder)], config)
    with pytest.raises(IdentityMismatch, match="chunk"):
        ingest([str(folder)], dataclasses.replace(config, chunk_size=1000, chunk_overlap=100))


def test_cancel_stops_and_a_second_run_goes_on(config: IngestConfig, folder: Path) -> None:
    cancel = threading.Event()

    def progress(now: Progress) -> None:
        if now.documents_done == 1:
            cancel.set()

    with pytest.raises(Cancelled, match="stopped"):
        ingest([str(folder)], config, progress=progress, cancel=cancel)
    assert [d.name for d in opened(config).documents()] == ["bridges.pdf"]
    report = ingest([str(folder)], config)
    assert (report.unchanged, [s.document for s in report.added]) == (["bridges.pdf"], ["whales.pdf"])
    assert list((config.home / "files").glob("incoming-*")) == []


def test_kill_9_neither_loses_nor_duplicates_a_document(config: IngestConfig, tmp_path: Path) -> None:
    pages = [f"Fact number {i}: the value of item {i} is {i * 37}. " * 12 for i in range(12)]
    for name in "abc":
        write_pdf(tmp_path / "many" / f"{name}.pdf", [f"{name} {page}" for page in pages])
    words = [sys.executable, "-m", "quire", "ingest", str(tmp_path / "many")]
    environ = {**os.environ, "QUIRE_HOME": str(config.home)}
    # killed while the first file is embedded, then the second, then the third, each a little later in its step
    for number, name in enumerate("abc"):
        with subprocess.Popen(
            words, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if "embedding" in line and f"{name}.pdf" in line:
                    break
            time.sleep(0.15 * number)
            process.send_signal(signal.SIGKILL)
        stored = [d.name for d in opened(config).documents()]
        assert stored[:number] == ["a.pdf", "b.pdf"][:number]
    done = subprocess.run(words, env=environ, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    store = opened(config)
    documents = store.documents()
    assert [d.name for d in documents] == ["a.pdf", "b.pdf", "c.pdf"]
    ids = [chunk.id for chunk, _ in store.scan()]
    assert len(ids) == len(set(ids)) == sum(d.chunks for d in documents) == store.count()
    fresh = dataclasses.replace(config, home=tmp_path / "fresh")
    ingest([str(tmp_path / "many")], fresh)
    assert sorted(ids) == sorted(scanned(fresh))


def test_an_upload_is_known_by_its_name_and_never_by_a_path(config: IngestConfig, folder: Path) -> None:
    report = ingest([], config, uploads=[("../../etc/report.pdf", folder / "whales.pdf")])
    assert [s.document for s in report.added] == ["report.pdf"]
    assert opened(config).documents()[0].source == "upload:report.pdf"


def test_a_document_in_another_language_is_ingested_with_a_warning(config: IngestConfig, tmp_path: Path) -> None:
    german = "Der Vertrag wurde zwischen den beiden Parteien geschlossen und gilt ab dem ersten Januar. " * 5
    report = ingest([str(write_pdf(tmp_path / "vertrag.pdf", [german]))], config)
    assert any("not English" in notice for notice in report.added[0].notices)


@pytest.mark.parametrize(("size", "told"), [(1000, False), (3000, True)])
def test_chunks_longer_than_the_model_reads_give_a_notice(
    config: IngestConfig, folder: Path, size: int, told: bool
) -> None:
    settings = dataclasses.replace(config, chunk_size=size, chunk_overlap=100)
    [whales] = ingest([str(folder / "whales.pdf")], settings).added
    assert any("MiniLM reads about the first" in notice for notice in whales.notices) is told


def test_a_link_is_named_as_its_server_names_the_file(config: IngestConfig, folder: Path) -> None:
    body = (folder / "whales.pdf").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Disposition", 'attachment; filename="Whales of the North.pdf"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    link = f"http://127.0.0.1:{server.server_port}/download?key=secret"
    try:
        report = ingest([link], config, allow_private=True)
        again = ingest([f"{link}#page=2"], config, allow_private=True)
    finally:
        server.shutdown()
        server.server_close()
    assert [stored.document for stored in report.added] == ["Whales of the North.pdf"]
    assert again.unchanged == ["Whales of the North.pdf"]
    assert find_document(opened(config), "Whales of the North.pdf").source == link
