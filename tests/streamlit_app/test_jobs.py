"""Ingests in the background: queued, reported file by file, stopped, unlocked; names stay out of the file system."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.config import IngestConfig
from ingest.errors import IngestError
from ingest.store.opening import open_store
from streamlit_app.jobs import Job, Jobs
from tests.documents import FACTS, write_facts, write_pdf


@pytest.fixture
def config(tmp_path: Path) -> IngestConfig:
    return IngestConfig(home=tmp_path / "home", jobs=1)


def finish(job: Job, seconds: float = 60) -> Job:
    end = time.monotonic() + seconds
    while job.active or job.finished_at == 0:
        assert time.monotonic() < end, f"{job.status}: {job.files}"
        time.sleep(0.02)
    return job


def dropped(path: Path, name: str = "") -> tuple[str, io.BytesIO]:
    return name or path.name, io.BytesIO(path.read_bytes())


def test_every_file_is_in_the_report_once(config, tmp_path):
    jobs = Jobs(config.home, lambda _: None)
    good, other = write_facts(tmp_path)
    broken = ("broken.pdf", io.BytesIO(b"no PDF at all"))
    job = finish(jobs.start(config, [dropped(good), dropped(other), broken]))
    assert {line.name: line.state for line in job.lines()} == {
        good.name: "added",
        other.name: "added",
        "broken.pdf": "failed",
    }
    assert next(line for line in job.lines() if line.state == "failed").hint
    again = finish(jobs.start(config, [dropped(good)]))
    assert [line.state for line in again.lines()] == ["unchanged"]


def test_uploaded_names_never_become_paths(config, tmp_path):
    jobs = Jobs(config.home, lambda _: None)
    good = write_pdf(tmp_path / "good.pdf", FACTS["whales.pdf"])
    before = {p for p in tmp_path.rglob("*")}
    job = finish(jobs.start(config, [dropped(good, "../../../evil.pdf"), dropped(good, "a\x00b.pdf")]))
    assert [line.state for line in job.lines()] == ["added", "added"]
    new = [p for p in tmp_path.rglob("*") if p not in before]
    assert new and not [p for p in new if "evil" in p.name or "a\x00b" in p.name]
    assert all(config.home in p.parents or p == config.home for p in new)


def test_two_files_with_the_same_name_become_two_documents(config, tmp_path):
    jobs = Jobs(config.home, lambda _: None)
    good, other = write_facts(tmp_path)
    finish(jobs.start(config, [dropped(good, "report.pdf"), dropped(other, "report.pdf")]))
    store = open_store(config, create=False)
    assert [d.name for d in store.documents()] == ["report (2).pdf", "report.pdf"]
    store.close()


def test_uploaded_bytes_are_deleted_when_the_ingest_ends(config, tmp_path):
    jobs = Jobs(config.home, lambda _: None)
    finish(jobs.start(config, [dropped(write_facts(tmp_path)[0])]))
    assert list((config.home / "uploads").iterdir()) == []


def test_an_encrypted_file_waits_for_its_password_and_delays_no_other(config, tmp_path):
    jobs = Jobs(config.home, lambda _: None)
    locked = write_pdf(tmp_path / "locked.pdf", FACTS["whales.pdf"], password="krill")
    good = write_pdf(tmp_path / "good.pdf", FACTS["bridges.pdf"])
    first = finish(jobs.start(config, [dropped(locked), dropped(good)]))
    assert {line.name: line.state for line in first.lines()} == {"good.pdf": "added", "locked.pdf": "locked"}
    wrong = finish(jobs.unlock(first, config, "locked.pdf", "plankton"))
    assert [(line.state, "wrong password" in line.text) for line in wrong.lines()] == [("locked", True)]
    assert [line.name for line in first.lines()] == ["good.pdf"], "it is in one report only"
    right = finish(jobs.unlock(wrong, config, "locked.pdf", "krill"))
    assert [line.state for line in right.lines()] == ["added"]
    assert list((config.home / "uploads").iterdir()) == []


def test_one_ingest_at_a_time_writes_to_a_library_while_other_libraries_continue(config, tmp_path):
    jobs = Jobs(config.home, lambda _: None)
    good, other = write_facts(tmp_path)
    first = jobs.start(config, [dropped(good)])
    second = jobs.start(config, [dropped(other)])
    elsewhere = jobs.start(replace(config, library="elsewhere"), [dropped(good)])
    assert [job.id for job in jobs.of(config.library)] == [second.id, first.id]
    assert elsewhere.active
    for job in (first, second, elsewhere):
        assert finish(job).status == "done"
    assert first.finished_at <= second.finished_at


def test_a_job_that_is_stopped_while_waiting_never_starts(config, tmp_path):
    jobs = Jobs(config.home, lambda _: None)
    good, other = write_facts(tmp_path)
    first = jobs.start(config, [dropped(good)])
    second = jobs.start(config, [dropped(other)])
    jobs.stop(second)
    finish(first)
    finish(second)
    assert (second.status, second.report) == ("stopped", None)


def test_a_stopped_ingest_continues_when_its_files_are_added_again(config, tmp_path):
    jobs = Jobs(config.home, lambda _: None)
    files = [write_pdf(tmp_path / f"{n}.pdf", [f"Fact number {n}: the answer is {n * 7}."]) for n in range(12)]
    job = jobs.start(config, [dropped(path) for path in files])
    end = time.monotonic() + 60
    while job.documents_done < 2:
        assert time.monotonic() < end
        time.sleep(0.005)
    jobs.stop(job)
    finish(job)
    assert job.status in ("stopped", "done")
    again = finish(jobs.start(config, [dropped(path) for path in files]))
    assert sorted(line.state for line in again.lines()).count("unchanged") >= 2
    assert len(again.lines()) == 12


def test_each_job_reports_that_its_library_changed(config, tmp_path):
    changed: list[str] = []
    jobs = Jobs(config.home, changed.append)
    finish(jobs.start(config, [dropped(write_facts(tmp_path)[0])]))
    end = time.monotonic() + 5
    while not changed:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert changed == ["default"]


def test_a_missing_embedder_fails_the_job_and_the_next_one_still_runs(config, tmp_path):
    jobs = Jobs(config.home, lambda _: None)
    good = write_facts(tmp_path)[0]
    failed = finish(jobs.start(replace(config, embedder="minilm:/nowhere"), [dropped(good)]))
    assert failed.status == "failed" and failed.failure.message and failed.failure.hint
    assert finish(jobs.start(config, [dropped(good)])).status == "done"


def test_a_full_disk_is_an_error_with_a_hint(config, tmp_path):
    class Torn(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(28, "No space left on device")

    jobs = Jobs(config.home, lambda _: None)
    with pytest.raises(IngestError, match="free some disk space"):
        jobs.start(config, [("a.pdf", Torn())])
    assert list((config.home / "uploads").iterdir()) == []


def test_only_the_newest_reports_are_kept(config):
    jobs = Jobs(config.home, lambda _: None)
    for _ in range(25):
        finish(jobs.start(config, [], ["ftp://nowhere.example/a.pdf"]))
    assert len(jobs.of(config.library)) <= 21
    assert threading.active_count() < 40
