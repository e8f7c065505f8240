"""Builds a model's own tokenizer from what a GGUF says of it, so that prompts are counted and not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistant.answering.budget import Count

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ONE_DIGIT = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}|{_REST}"
_THREE_DIGITS = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}{{1,3}}|{_REST}"

# `tokenizer.ggml.pre` -> how text is cut before merging; a name that is not here is estimated instead
PATTERNS = {
    "qwen2": _ONE_DIGIT,
    "llama-bpe": _THREE_DIGITS,
    "llama3": _THREE_DIGITS,
    "gpt-2": _GPT2,
    "phi-2": _GPT2,
    "default": _GPT2,
}


def counter(info: Mapping[str, Any]) -> Count | None:
    """Return a function that counts tokens, None for a kind of tokenizer that is not known here.

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
    except Exception:  # the library raises bare Exception for a merge whose parts are no tokens
        return None
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
