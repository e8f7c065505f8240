from pathlib import Path

import numpy as np

from ingest.embed.cache import Journal, text_key


def test_vectors_of_a_stopped_run_are_there_again(tmp_path: Path) -> None:
    vector = np.arange(4, dtype=np.float32)
    Journal(tmp_path, "minilm").save("d", {text_key("a"): vector})
    again = Journal(tmp_path, "minilm").load("d")
    assert list(again) == [text_key("a")]
    np.testing.assert_array_equal(again[text_key("a")], vector)


def test_another_embedder_finds_nothing(tmp_path: Path) -> None:
    Journal(tmp_path, "minilm").save("d", {text_key("a"): np.zeros(4, np.float32)})
    assert Journal(tmp_path, "other").load("d") == {}


def test_a_stored_document_leaves_no_rows_and_no_bytes(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "minilm")
    journal.save("d", {text_key(str(i)): np.zeros(384, np.float32) for i in range(2000)})
    journal.forget(["d"])
    assert journal.load("d") == {}
    journal.close()
    assert sum(p.stat().st_size for p in (tmp_path / "cache").iterdir()) < 50_000
