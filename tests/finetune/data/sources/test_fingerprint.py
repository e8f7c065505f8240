from finetune.data.sources.fingerprint import UNKNOWN, fingerprint, fingerprints


def test_a_files_fingerprint_is_of_its_content(tmp_path):
    for name, text in (("a", "same"), ("b", "same"), ("c", "other")):
        (tmp_path / name).write_text(text)
    a, b, c = (fingerprint(str(tmp_path / name)) for name in "abc")
    assert a == b != c
    assert len(a) == 64


def test_a_folders_fingerprint_changes_with_its_data_files_alone(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    first = fingerprint(str(tmp_path))
    (tmp_path / "notes.md").write_text("not data")
    assert fingerprint(str(tmp_path)) == first
    seen = {first}
    for change in (
        lambda: (tmp_path / "a.jsonl").write_text('{"text": "b"}\n'),
        lambda: (tmp_path / "b.jsonl").write_text('{"text": "b"}\n'),
        lambda: (tmp_path / "b.jsonl").rename(tmp_path / "c.jsonl"),
        lambda: (tmp_path / "a.jsonl").unlink(),
    ):
        change()
        seen.add(fingerprint(str(tmp_path)))
    assert len(seen) == 5


def test_content_that_cannot_be_read_is_unknown_not_a_hash_of_the_name(tmp_path):
    gone = str(tmp_path / "gone.jsonl")
    assert fingerprints([gone]) == {gone: UNKNOWN}
