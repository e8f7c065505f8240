"""Counts tokens, with a GGUF model's tokenizer or with an estimate that errs on the high side."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Count = Callable[[str], int]

_PIECE = re.compile(r"[A-Za-z]+|\d|\s*\n\s*|[^\sA-Za-z\d]")

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ONE_DIGIT = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}|{_REST}"
_THREE_DIGITS = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}{{1,3}}|{_REST}"

# `tokenizer.ggml.pre`: how the text is split before merging; with any other name, tokens are estimated
PATTERNS = {
    "qwen2": _ONE_DIGIT,
    "llama-bpe": _THREE_DIGITS,
    "llama3": _THREE_DIGITS,
    "gpt-2": _GPT2,
    "phi-2": _GPT2,
    "default": _GPT2,
}


def estimate_tokens(text: str) -> int:
    """Return an estimate that is rarely below a real tokenizer's count; docs/assistant.md has the calibration.

    A run of letters counts one token, and one more for every five letters after the first; every digit and symbol
    counts one; every character outside ASCII counts half of its UTF-8 bytes.
    """
    tokens = 0
    for match in _PIECE.finditer(text):
        piece = match.group()
        if piece.isascii():
            tokens += 1 + (len(piece) - 1) // 5 if piece.isalpha() else 1
        else:
            tokens += max(1, (len(piece.encode("utf-8")) + 1) // 2)
    return tokens


def bpe_counter(info: Mapping[str, Any]) -> Count | None:
    """Return a function that counts tokens as the model does, or None for an unsupported tokenizer.

    `info` is the `model_info` of Ollama's /api/show with `verbose`.
    """
    tokens, merges = info.get("tokenizer.ggml.tokens"), info.get("tokenizer.ggml.merges")
    pattern = PATTERNS.get(str(info.get("tokenizer.ggml.pre") or "default"))
    if info.get("tokenizer.ggml.model") != "gpt2" or not tokens or merges is None or pattern is None:
        return None
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    vocabulary = {str(token): number for number, token in enumerate(tokens)}
    pairs = [(left, right) for left, _, right in (str(merge).partition(" ") for merge in merges)]
    try:
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    except Exception:  # the library raises a bare Exception for a merge whose parts are not tokens
        return None
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
