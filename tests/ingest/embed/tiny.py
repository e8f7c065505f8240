"""Tiny models of every kind with random weights, saved as their makers would, and texts to embed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXTS = [
    "The capital of France is Paris.",
    "Net sales rose by 7 % to 31.4 billion dollars.",
    "",
    "A cat sleeps on the warm roof while the rain falls elsewhere, and nobody thinks of waking it.",
    "Total current assets 12,345 11,987 Total liabilities 8,001 7,654",
]
WORDS = [f"w{number}" for number in range(60)] + list("abcdefghij") + ["query:", "passage:"]
_SIZES = {
    "vocab_size": len(WORDS) + 5,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 220,
    "pad_token_id": 1,
}
# a window of 8 tokens, so that local attention hides something
_KINDS: dict[str, dict[str, Any]] = {"modernbert": {"local_attention": 8, "norm_bias": False}}


def save_model(folder: Path, kind: str, *, head: str = "Model", seed: int = 0, **settings: Any) -> Any:
    """Save a random model with its tokenizer and return it; `head` is Model or ModelForSequenceClassification."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(kind, **(_SIZES | _KINDS.get(kind, {}) | settings))
    model = getattr(transformers, f"Auto{head}").from_config(config).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(float("orm" in name and name.endswith("weight")), 0.2)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    _save_tokenizer(folder, WORDS)
    return model


def save_settings(folder: Path, pooling: str = "mean", **others: Any) -> None:
    """Save what sentence-transformers keeps beside a model: `prompts`, `max_seq_length` and `do_lower_case`."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    rows = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
        for n, (path, name) in enumerate(modules)
    ]
    long_name = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}[pooling]
    poolings = {"word_embedding_dimension": 32, f"pooling_mode_{long_name}": True}
    lengths = {"max_seq_length": 128, "do_lower_case": False}
    _write(folder / "modules.json", rows)
    _write(folder / "1_Pooling" / "config.json", poolings)
    _write(folder / "sentence_bert_config.json", {name: others.get(name, value) for name, value in lengths.items()})
    _write(folder / "config_sentence_transformers.json", {"prompts": others.get("prompts", {})})


def _save_tokenizer(folder: Path, words: list[str]) -> None:
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
    _write(
        folder / "tokenizer_config.json",
        {**names, "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 200},
    )


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def save_matching_reranker(folder: Path, words: list[str]) -> None:
    """Save a reranker whose weights are set by hand: its logit counts the words of the text that the question has too."""
    from onnx import TensorProto, helper

    inputs = ("input_ids", "attention_mask", "token_type_ids")
    nodes = [
        helper.make_node("Unsqueeze", ["input_ids", "two"], ["of_text"]),
        helper.make_node("Unsqueeze", ["input_ids", "one"], ["of_question"]),
        helper.make_node("Equal", ["of_text", "of_question"], ["same"]),
        helper.make_node("Cast", ["token_type_ids"], ["text"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["mask", "text"], ["first_part"]),
        helper.make_node("Greater", ["input_ids", "last_special"], ["is_word"]),  # not <unk>, which equals any other
        helper.make_node("Cast", ["is_word"], ["word"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["first_part", "word"], ["question"]),
        helper.make_node("Cast", ["same"], ["pairs"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["question", "two"], ["question_column"]),
        helper.make_node("MatMul", ["pairs", "question_column"], ["found"]),
        helper.make_node("Unsqueeze", ["text", "one"], ["text_row"]),
        helper.make_node("MatMul", ["text_row", "found"], ["counts"]),
        helper.make_node("Squeeze", ["counts", "two"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "matching",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [
            helper.make_tensor(name, TensorProto.INT64, [1], [n])
            for name, n in (("one", 1), ("two", 2), ("last_special", 4))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model.onnx").write_bytes(model.SerializeToString())
    _write(folder / "config.json", {"model_type": "bert", "max_position_embeddings": 512})
    _save_tokenizer(folder, words)
