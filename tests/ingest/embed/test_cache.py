from pathlib import Path

import numpy as np

from ingest.embed.cache import EmbeddingCache, text_key
from ingest.embed.identity import EmbedderIdentity

MINILM, OTHER = EmbedderIdentity("minilm", "1", 4), EmbedderIdentity("other", "1", 4)


def test_vectors_of_a_stopped_run_are_there_again(tmp_path: Path) -> None:
    vector = np.arange(4, dtype=np.float32)
    EmbeddingCache(tmp_path, MINILM).save("d", {text_key("a"): vector})
    again = EmbeddingCache(tmp_path, MINILM).load("d")
    assert list(again) == [text_key("a")]
    np.testing.assert_array_equal(again[text_key("a")], vector)


def test_another_embedder_finds_nothing(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path, MINILM).save("d", {text_key("a"): np.zeros(4, np.float32)})
    assert EmbeddingCache(tmp_path, OTHER).load("d") == {}


def test_a_stored_document_leaves_no_rows_and_no_bytes(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, MINILM)
    cache.save("d", {text_key(str(i)): np.zeros(384, np.float32) for i in range(2000)})
    cache.forget(["d"])
    assert cache.load("d") == {}
    cache.close()
    assert sum(p.stat().st_size for p in (tmp_path / "cache").iterdir()) < 50_000
