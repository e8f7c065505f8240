"""Cross-encoders of every kind, beside transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.embed.architectures import KINDS
from ingest.embed.cross_encoder import load_cross_encoder
from ingest.errors import EmbedderUnavailable
from tests.ingest.embed import tiny

torch = pytest.importorskip("torch", reason="the logits are compared with those of transformers, which needs torch")
pytest.importorskip("transformers", reason="the logits are compared with those of transformers, which is not installed")
QUESTION = "w1 w2 w3"
TEXTS = ["w1 w2", "", "w4 " * 60, " ".join(f"w{number}" for number in range(50)), "w9 a b c d e f"]


def _theirs(model: Any, folder: Path, kind: str) -> np.ndarray:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = []
    for text in TEXTS:
        encoding = tokenizer.encode(QUESTION, text)
        segments = {"token_type_ids": torch.tensor([encoding.type_ids])} if kind == "bert" else {}
        with torch.no_grad():
            rows.append(model(input_ids=torch.tensor([encoding.ids]), **segments).logits[0, 0].item())
    return np.array(rows)


@pytest.mark.parametrize("kind", [*KINDS, "modernbert with mean pooling"])
def test_logits_of_every_kind_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    pooling = {"classifier_pooling": "mean"} if " " in kind else {}
    kind = kind.partition(" ")[0]
    model = tiny.save_model(tmp_path / "model", kind, head="ModelForSequenceClassification", num_labels=1, **pooling)
    logits = load_cross_encoder(str(tmp_path / "model"), tmp_path).logits(QUESTION, TEXTS)
    assert np.ptp(logits) > 0.01
    np.testing.assert_allclose(logits, _theirs(model, tmp_path / "model", kind), atol=1e-4)


def test_a_pair_that_is_too_long_is_shortened_at_its_text(tmp_path: Path) -> None:
    tiny.save_model(tmp_path / "model", "bert", head="ModelForSequenceClassification", num_labels=1)
    model = load_cross_encoder(f"hf:{tmp_path / 'model'}", tmp_path)
    fits, longer = model.logits("w1 w2", ["w5 " * 195, "w5 " * 400])  # 200 tokens: question, text and three marks
    np.testing.assert_allclose(fits, longer, atol=1e-6)


@pytest.mark.parametrize(
    ("head", "labels", "reason"),
    [
        ("ModelForSequenceClassification", 2, "its classifier has 2 outputs, a reranker has one"),
        ("Model", 1, "not a model of the kind mpnet with a classifier"),
    ],
)
def test_a_model_that_is_no_reranker_is_refused(tmp_path: Path, head: str, labels: int, reason: str) -> None:
    tiny.save_model(tmp_path / "model", "mpnet", head=head, num_labels=labels)
    with pytest.raises(EmbedderUnavailable, match=reason):
        load_cross_encoder(str(tmp_path / "model"), tmp_path)
