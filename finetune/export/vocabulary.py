"""The vocabulary of a tokenizer as llama.cpp needs it, byte-level BPE or made by SentencePiece."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import UnsupportedModel
from finetune.export.sentencepiece import BYTES, is_sentencepiece, leading_blank_of, token_scores
from finetune.templates.leading_blank import NO_BLANK, LeadingBlank

# How Qwen2 splits text before merging byte pairs, copied from its tokenizer.json; phi-2 splits as GPT-2 does.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How Llama-3 does.
LLAMA3_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6  # llama.cpp's token types


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens with their types, in the order of their ids, and how text is joined into them."""

    tokens: list[str]
    types: list[int]
    pre: str  # llama.cpp's name of the pre-tokenizer
    merges: list[str]  # of byte pairs; empty with scores
    scores: list[float]  # of SentencePiece's tokens; empty with merges
    leading: LeadingBlank

    @property
    def model(self) -> str:
        """Return llama.cpp's name of the kind of tokenizer."""
        return "llama" if self.scores else "gpt2"

    def id_of(self, *names: str) -> int:
        """Return the id of the first of these tokens that the vocabulary has; -1 when it has none."""
        return next((self.tokens.index(name) for name in names if name in self.tokens), -1)


def read_vocabulary(model: Path, *, rows: int) -> Vocabulary:
    """Return the vocabulary in `tokenizer.json`, padded to the `rows` of the embedding table.

    Raises UnsupportedModel for a tokenizer that llama.cpp would run differently.
    """
    path = model / "tokenizer.json"
    if not path.is_file():
        raise UnsupportedModel(f"{model} has no tokenizer.json", "save the tokenizer with a fast tokenizer class")
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["model"].get("type", "BPE") != "BPE":
        raise UnsupportedModel(
            f"{path} is not BPE but {data['model']['type']}",
            "use the model's own tokenizer; the supported kinds have BPE",
        )
    by_id = {number: (token, _NORMAL) for token, number in data["model"]["vocab"].items()}
    pre, sentencepiece = pre_tokenizer(data, path), is_sentencepiece(data)
    if sentencepiece:
        by_id |= {data["model"]["vocab"][name]: (name, _BYTE) for name in BYTES if name in data["model"]["vocab"]}
    for entry in data["added_tokens"]:
        unknown = entry["content"] == data["model"].get("unk_token")
        by_id[entry["id"]] = (entry["content"], _UNKNOWN if sentencepiece and unknown else _added_type(entry))
    if max(by_id) >= rows:
        raise UnsupportedModel(
            f"{path} has the id {max(by_id)}, but the embedding table has {rows} rows", "use the model's own tokenizer"
        )
    padded = [by_id.get(number, (f"[PAD{number}]", _UNUSED)) for number in range(rows)]
    tokens, types = [token for token, _ in padded], [kind for _, kind in padded]
    if sentencepiece:
        by_token = token_scores(data, path)
        scores = [by_token.get(token, 0.0) if kind == _NORMAL else 0.0 for token, kind in padded]
        return Vocabulary(tokens, types, pre, [], scores, leading_blank_of(data, path))
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
    return Vocabulary(tokens, types, pre, merges, [], NO_BLANK)


def _added_type(entry: dict[str, Any]) -> int:
    # as llama.cpp's converter does: "<|...|>" is a control token even where the tokenizer does not mark it special
    content = entry["content"]
    control = entry["special"] or (content.startswith("<|") and content.endswith("|>"))
    return _CONTROL if control else _USER_DEFINED


def pre_tokenizer(data: dict[str, Any], path: Path) -> str:
    """Return llama.cpp's name for the way a tokenizer splits text.

    `qwen2`, `llama-bpe`, `phi-2` (as GPT-2 does), or `default` for SentencePiece. Raises UnsupportedModel for any other:
    llama.cpp would silently split in a different way.
    """
    if is_sentencepiece(data):
        leading_blank_of(data, path)
        return "default"
    found = data.get("pre_tokenizer") or {}
    parts = found.get("pretokenizers", [found])
    splits = [p["pattern"].get("Regex") for p in parts if p.get("type") == "Split"]
    levels = [p for p in parts if p.get("type") == "ByteLevel"]
    plain = len(levels) == 1 and not levels[0].get("add_prefix_space")
    by_regex = plain and levels[0].get("use_regex", True)
    if plain and not by_regex and splits == [QWEN2_SPLIT]:
        return "qwen2"
    # with this name, llama.cpp takes a word that is a token as it is, and composes no Unicode
    as_it_is = data["model"].get("ignore_merges") and not data.get("normalizer")
    if plain and not by_regex and splits == [LLAMA3_SPLIT] and as_it_is:
        return "llama-bpe"
    if by_regex and not splits and len(parts) == 1:
        return "phi-2"
    raise UnsupportedModel(
        f"{path} splits text neither as Qwen2 or Llama-3 nor as GPT-2 does: {json.dumps(found)[:200]}",
        "use the model's own tokenizer; llama.cpp knows pre-tokenizers by name only",
    )
