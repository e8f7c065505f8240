"""Sentence encoders: all-MiniLM-L6-v2 with its real weights, and tiny models of other kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ingest.config import IngestConfig
from ingest.embed.encoder import SentenceEncoder
from ingest.embed.load import load_embedder
from ingest.embed.weights import find_weights
from ingest.errors import EmbedderUnavailable
from tests.ingest.embed.tiny import TEXTS


def test_int8_is_the_default_and_close_to_fp32(config: IngestConfig, exact: SentenceEncoder) -> None:
    embedder = load_embedder(config)
    rows = embedder.embed_passages(TEXTS)
    assert rows.shape == (5, 384) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    cosines = (rows * exact.embed_passages(TEXTS)).sum(axis=1)
    assert cosines.mean() > 0.985 and cosines.min() > 0.96
    assert embedder.identity().revision == "53aa51172d14-int8"
    assert exact.identity().revision == "53aa51172d14-fp32"


def test_question_is_nearest_to_its_answer(config: IngestConfig) -> None:
    embedder = load_embedder(config, threads=1)
    question = embedder.embed_query("How much did the company sell?")
    assert int(np.argmax(embedder.embed_passages(TEXTS) @ question)) == 1


def test_no_texts_give_no_rows(exact: SentenceEncoder) -> None:
    assert exact.embed_passages([]).shape == (0, 384)


def test_a_text_is_embedded_by_its_first_256_tokens(exact: SentenceEncoder) -> None:
    shorter, fits, longer = exact.embed_passages(
        ["word " * 253, "word " * 254, "word " * 255]
    )  # and two special tokens
    np.testing.assert_allclose(longer, fits, atol=1e-6)
    assert np.abs(shorter - fits).max() > 1e-6


def test_second_load_uses_the_cached_graph_and_leaves_no_temporary_files(
    config: IngestConfig, exact: SentenceEncoder
) -> None:
    models = config.home / "models"
    before = {path.name: path.stat().st_mtime_ns for path in models.iterdir()}
    SentenceEncoder(find_weights(config), models, precision="fp32")
    assert {path.name: path.stat().st_mtime_ns for path in models.iterdir()} == before
    assert not list(models.glob("*.part"))


def test_two_processes_that_build_at_once_both_answer(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from ingest.config import IngestConfig; from ingest.embed.load import load_embedder;"
        f"print(load_embedder(IngestConfig(home=Path({str(tmp_path)!r})), threads=1).embed_query('cat').sum())"
    )
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=60)[0] for process in both]
    assert answers[0] == answers[1] != ""
    assert len(list((tmp_path / "models").glob("*.onnx"))) == 1
    assert not list((tmp_path / "models").glob("*.part"))


def test_damaged_weights_of_the_package_are_refused(config: IngestConfig, tmp_path: Path) -> None:
    from dataclasses import replace

    weights = find_weights(config)
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(weights.model.read_bytes()[:-1] + b"x")
    with pytest.raises(EmbedderUnavailable, match=r"damaged or changed.*--force-reinstall"):
        SentenceEncoder(replace(weights, model=damaged), tmp_path / "models", precision="fp32")


def test_embedding_leaves_nothing_of_usage_statistics_behind(tmp_path):
    code = (
        "from pathlib import Path\nimport sys\nfrom ingest.config import IngestConfig\n"
        "from ingest.embed.load import load_embedder\n"
        "load_embedder(IngestConfig(home=Path(sys.argv[1]))).embed_query('a question')"
    )
    # a build machine's variables would turn them off as well
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS", "TF_BUILD")}
    for name in [name for name in kept if name.startswith(("ORT_", "XDG_", "QUIRE_"))]:
        del kept[name]
    environ = {**kept, "HOME": str(tmp_path / "person"), "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", code, tmp_path / "home"], env=environ, check=True, timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
