from pathlib import Path

from ingest.sources import collect


def test_a_folder_gives_its_pdfs_in_a_stable_order_and_counts_the_rest(tmp_path: Path) -> None:
    for name in ("b.pdf", "a.PDF", "sub/c.pdf", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    candidates, failed, notices = collect([str(tmp_path)])
    assert [c.path.name for c in candidates if c.path] == ["a.PDF", "b.pdf", "c.pdf"]
    assert failed == []
    assert notices == [f"{tmp_path}: 1 files that are not named .pdf were left out"]


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
        "a link to a file that is gone",
        "the folder holds no PDF",
        "this kind of address is not supported",
    ]
    assert all(f.hint for f in failed)


def test_a_ring_of_linked_folders_ends(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    (tmp_path / "ring").symlink_to(tmp_path)
    assert len(collect([str(tmp_path)])[0]) == 1


def test_the_same_path_has_the_same_id_whatever_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.pdf"
    file.write_bytes(b"one")
    first = collect([str(file)])[0][0].document_id
    file.write_bytes(b"two")
    assert collect([str(file)])[0][0].document_id == first
