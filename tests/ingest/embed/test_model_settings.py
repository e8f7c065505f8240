"""What the files of a model say about its use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingest.embed.model_settings import ModelSettings, read_settings
from ingest.errors import EmbedderUnavailable


def _write(folder: Path, **files: Any) -> Path:
    names = {
        "modules": "modules.json",
        "pooling": "1_Pooling/config.json",
        "prompts": "config_sentence_transformers.json",
        "length": "sentence_bert_config.json",
        "config": "config.json",
        "tokenizer": "tokenizer_config.json",
    }
    for name, value in files.items():
        (folder / names[name]).parent.mkdir(parents=True, exist_ok=True)
        (folder / names[name]).write_text(json.dumps(value), encoding="utf-8")
    return folder


def test_a_model_without_such_files_is_pooled_by_the_mean_of_512_tokens(tmp_path: Path) -> None:
    assert read_settings(_write(tmp_path, config={"model_type": "bert"}), "model") == ModelSettings(
        "mean", "", "", 512, False
    )


def test_prefixes_are_the_prompts_for_questions_and_for_passages(tmp_path: Path) -> None:
    for name in ("document", "passage", "corpus"):
        found = read_settings(
            _write(tmp_path, prompts={"prompts": {"query": "q: ", name: "p: ", "sts": "s: "}}), "model"
        )
        assert (found.query_prefix, found.passage_prefix) == ("q: ", "p: ")
    assert read_settings(_write(tmp_path, prompts={"prompts": {"sts": "s: "}}), "model").passage_prefix == ""


def test_e5_gets_the_prefixes_of_its_page_unless_its_files_name_others(tmp_path: Path) -> None:
    found = read_settings(tmp_path, "multilingual-e5-small")
    assert (found.query_prefix, found.passage_prefix) == ("query: ", "passage: ")
    assert read_settings(tmp_path, "e5-mistral-7b-instruct").query_prefix == ""
    _write(tmp_path, prompts={"prompts": {"query": "q: "}})
    assert read_settings(tmp_path, "e5-base-v2").query_prefix == "q: "


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean"),
        ({"pooling_mode": "max", "embedding_dimension": 3}, "max"),
        ({"pooling_mode": ["cls"]}, "cls"),
    ],
)
def test_pooling_is_read_in_the_old_spelling_and_the_new_one(
    tmp_path: Path, pooling: dict[str, Any], expected: str
) -> None:
    assert read_settings(_write(tmp_path, pooling=pooling), "model").pooling == expected


@pytest.mark.parametrize(
    ("pooling", "reason"),
    [
        ({"pooling_mode": "lasttoken"}, "the pooling lasttoken"),
        ({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}, "cls and max"),
        ({"pooling_mode_mean_tokens": True, "include_prompt": False}, "mean without the prompt"),
    ],
)
def test_another_pooling_is_refused_by_its_name(tmp_path: Path, pooling: dict[str, Any], reason: str) -> None:
    with pytest.raises(EmbedderUnavailable, match=rf"{reason}.*use a model with one of mean, cls, max"):
        read_settings(_write(tmp_path, pooling=pooling), "model")


def test_a_module_after_the_pooling_is_refused_by_its_name(tmp_path: Path) -> None:
    modules = [{"path": "", "type": "a.Transformer"}, {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    with pytest.raises(EmbedderUnavailable, match=r"lists the module Dense.*use a model without it"):
        read_settings(_write(tmp_path, modules=modules), "model")


@pytest.mark.parametrize(
    ("files", "tokens"),
    [
        ({"length": {"max_seq_length": 384}, "config": {"model_type": "mpnet", "max_position_embeddings": 514}}, 384),
        (
            {
                "tokenizer": {"model_max_length": 10**30},
                "config": {"model_type": "xlm-roberta", "max_position_embeddings": 514},
            },
            512,
        ),
        (
            {
                "tokenizer": {"model_max_length": 8192},
                "config": {"model_type": "modernbert", "max_position_embeddings": 8192},
            },
            8192,
        ),
    ],
)
def test_the_longest_text_fits_the_settings_and_the_positions(tmp_path: Path, files: Any, tokens: int) -> None:
    assert read_settings(_write(tmp_path, **files), "model").max_tokens == tokens


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[{]")
    with pytest.raises(EmbedderUnavailable, match=r"modules\.json.*download the model again"):
        read_settings(tmp_path, "model")
