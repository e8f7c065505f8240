"""The journal: what was read is found again, whatever moment the run was killed in."""

import os
from pathlib import Path

from ingest.ocr.journal import FOLDER, Journal, sweep
from ingest.ocr.page import PageText
from ingest.ocr.words import Word

TEXT = PageText(((Word("Größe", 0.1, 0.2, 0.3, 0.4, 0.98), Word("1,577", 0.5, 0.2, 0.6, 0.4, 1.0)),), 90, -1.5, 0.97)
KEY = "a" * 64


def test_pages_come_back_as_they_were_added(tmp_path: Path) -> None:
    journal = Journal(tmp_path, KEY, "tesseract 5.3.0")
    assert journal.read() == ({}, {})
    journal.add(3, TEXT)
    journal.give_up(4, "took longer than 120 s")
    assert Journal(tmp_path, KEY, "tesseract 5.3.0").read() == ({3: TEXT}, {4: "took longer than 120 s"})


def test_a_line_that_a_killed_run_left_behind_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path, KEY, "rapidocr 3.10.0")
    journal.add(1, TEXT)
    path = tmp_path / FOLDER / f"{KEY}.jsonl"
    with path.open("a") as file:
        file.write('{"page": 2, "turn": 0, "ro')
    journal.add(3, TEXT)
    assert sorted(journal.read()[0]) == [1, 3]


def test_pages_that_another_engine_read_do_not_count(tmp_path: Path) -> None:
    Journal(tmp_path, KEY, "tesseract 5.3.0").add(1, TEXT)
    assert Journal(tmp_path, KEY, "rapidocr 3.10.0").read() == ({}, {})


def test_it_is_its_owners_only_and_gone_once_the_document_is_stored(tmp_path: Path) -> None:
    journal = Journal(tmp_path, KEY, "tesseract 5.3.0")
    journal.add(1, TEXT)
    path = tmp_path / FOLDER / f"{KEY}.jsonl"
    assert path.stat().st_mode & 0o077 == 0
    journal.forget()
    assert not path.exists()


def test_a_journal_that_nobody_continued_for_a_month_is_deleted(tmp_path: Path) -> None:
    for key, days in (("a" * 64, 1), ("b" * 64, 31)):
        Journal(tmp_path, key, "tesseract 5.3.0").add(1, TEXT)
        path = tmp_path / FOLDER / f"{key}.jsonl"
        os.utime(path, (path.stat().st_mtime - days * 86_400,) * 2)
    sweep(tmp_path)
    assert [path.stem[0] for path in (tmp_path / FOLDER).iterdir()] == ["a"]
