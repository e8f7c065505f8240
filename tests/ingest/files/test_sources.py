import os
from pathlib import Path

import pytest

from ingest.files.sources import collect


def test_a_folder_gives_its_pdfs_in_a_stable_order_and_counts_the_rest(tmp_path: Path) -> None:
    for name in ("b.pdf", "a.PDF", "sub/c.pdf", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    candidates, failed, notices = collect([str(tmp_path)])
    assert [c.path.name for c in candidates if c.path] == ["a.PDF", "b.pdf", "c.pdf"]
    assert failed == []
    assert notices == [f"{tmp_path}: skipped 1 file that is not named .pdf"]


def test_the_same_file_named_twice_is_one_candidate(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    assert len(collect([str(tmp_path / "a.pdf"), str(tmp_path)])[0]) == 1


def test_what_is_not_there_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "dangling.pdf").symlink_to(tmp_path / "gone.pdf")
    (tmp_path / "empty").mkdir()
    arguments = [
        str(tmp_path / "nope.pdf"),
        str(tmp_path / "dangling.pdf"),
        str(tmp_path / "empty"),
        "ftp://h/a.pdf",
    ]
    candidates, failed, _ = collect(arguments)
    assert candidates == []
    assert [f.reason for f in failed] == [
        "no such file or folder",
        "a link to a file that does not exist",
        "there is no PDF in the folder",
        "this kind of address is not supported",
    ]
    assert all(f.hint for f in failed)


def test_a_ring_of_linked_folders_ends(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    (tmp_path / "ring").symlink_to(tmp_path)
    candidates, _, notices = collect([str(tmp_path)])
    assert len(candidates) == 1
    assert notices == [f"{tmp_path}: links to folders are not followed (1); give the folders themselves"]


def test_the_same_path_has_the_same_id_whatever_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.pdf"
    file.write_bytes(b"one")
    first = collect([str(file)])[0][0].document_id
    file.write_bytes(b"two")
    assert collect([str(file)])[0][0].document_id == first


def test_what_cannot_be_read_to_its_end_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pdf")
    candidates, failed, _ = collect([str(tmp_path), "/dev/zero"])
    assert candidates == []
    assert [f.document for f in failed] == [str(tmp_path / "pipe.pdf"), "/dev/zero"]
    assert {f.reason for f in failed} == {"not a regular file but a pipe, a socket or a device"}


def test_arguments_that_the_system_refuses_cost_only_themselves(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    arguments = ["", "~nobody-of-that-name/a.pdf", "a" * 300 + ".pdf", str(tmp_path / "a.pdf")]
    candidates, failed, _ = collect(arguments)
    assert [c.path for c in candidates] == [tmp_path / "a.pdf"]
    assert [f.reason for f in failed] == ["an empty path", "no such file or folder", "File name too long"]


def test_a_name_that_is_not_utf8_fails_alone_and_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.pdf")).write_bytes(b"x")
    (tmp_path / "good.pdf").write_bytes(b"x")
    candidates, failed, _ = collect([str(tmp_path), os.fsdecode(b"http://host/\xff.pdf")])
    assert [c.path for c in candidates] == [tmp_path / "good.pdf"]
    assert [f.document for f in failed] == [f"{tmp_path}/bad?.pdf", "http://host/?.pdf"]
    assert "not UTF-8" in failed[0].reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_named_and_the_rest_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    (tmp_path / "closed").mkdir(mode=0)
    candidates, failed, _ = collect([str(tmp_path)])
    assert [c.path for c in candidates] == [tmp_path / "a.pdf"]
    assert [(f.document, f.reason) for f in failed] == [(str(tmp_path / "closed"), "Permission denied")]


def test_a_detour_through_the_parent_folder_is_the_same_document(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.pdf").write_bytes(b"x")
    assert len(collect([str(tmp_path / "a.pdf"), str(tmp_path / "sub" / ".." / "a.pdf")])[0]) == 1


def test_a_link_with_and_without_a_place_in_the_file_is_one_candidate() -> None:
    candidates, failed, _ = collect(["https://a.example/x.pdf#page=3", "https://a.example/x.pdf"])
    assert [candidate.source for candidate in candidates] == ["https://a.example/x.pdf"] and not failed
