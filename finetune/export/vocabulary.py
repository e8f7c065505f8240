"""The vocabulary of a byte-level BPE tokenizer as llama.cpp needs it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import UnsupportedModel

# How Qwen2 splits text before merging byte pairs, copied from its tokenizer.json; phi-2 splits as GPT-2 does.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# How Llama-3 does.
LLAMA3_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5  # llama.cpp's token types


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens with their types, in the order of their ids, and the merges of byte pairs."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    pre: str  # llama.cpp's name of the pre-tokenizer

    def id_of(self, token: str) -> int:
        """Return the id of a token; -1 when the vocabulary does not have it."""
        return self.tokens.index(token) if token in self.tokens else -1


def read_vocabulary(model: Path, *, rows: int) -> Vocabulary:
    """Return the vocabulary in `tokenizer.json`, padded to the `rows` of the embedding table.

    Raises UnsupportedModel for a tokenizer that is not byte-level BPE or has an unknown pre-tokenizer.
    """
    path = model / "tokenizer.json"
    if not path.is_file():
        raise UnsupportedModel(f"{model} has no tokenizer.json", "save the tokenizer with a fast tokenizer class")
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["model"].get("type", "BPE") != "BPE" or data["model"].get("byte_fallback"):
        raise UnsupportedModel(
            f"{path} is not byte-level BPE", "use the model's own tokenizer; those of Qwen2.5 and Phi-2 are"
        )
    by_id = {number: (token, _NORMAL) for token, number in data["model"]["vocab"].items()}
    for entry in data["added_tokens"]:
        by_id[entry["id"]] = (entry["content"], _added_type(entry))
    if max(by_id) >= rows:
        raise UnsupportedModel(
            f"{path} has the id {max(by_id)}, but the embedding table has {rows} rows", "use the model's own tokenizer"
        )
    padded = [by_id.get(number, (f"[PAD{number}]", _UNUSED)) for number in range(rows)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
    return Vocabulary([t for t, _ in padded], [k for _, k in padded], merges, pre_tokenizer(data, path))


def _added_type(entry: dict[str, Any]) -> int:
    # as llama.cpp's converter does: "<|...|>" is a control token even where the tokenizer does not mark it special
    content = entry["content"]
    control = entry["special"] or (content.startswith("<|") and content.endswith("|>"))
    return _CONTROL if control else _USER_DEFINED


def pre_tokenizer(data: dict[str, Any], path: Path) -> str:
    """Return llama.cpp's name for the way a tokenizer splits text: `qwen2`, or `phi-2` (as GPT-2 does).

    Raises UnsupportedModel for any other: llama.cpp would silently split in a different way.
    """
    found = data.get("pre_tokenizer") or {}
    parts = found.get("pretokenizers", [found])
    splits = [p["pattern"].get("Regex") for p in parts if p.get("type") == "Split"]
    levels = [p for p in parts if p.get("type") == "ByteLevel"]
    plain = len(levels) == 1 and not levels[0].get("add_prefix_space")
    if plain and splits == [QWEN2_SPLIT] and not levels[0].get("use_regex", True):
        return "qwen2"
    if plain and not splits and len(parts) == 1 and levels[0].get("use_regex", True):
        return "phi-2"
    raise UnsupportedModel(
        f"{path} splits text neither as Qwen2 nor as GPT-2 does: {json.dumps(found)[:200]}",
        "use the model's own tokenizer; llama.cpp knows pre-tokenizers by name only",
    )
