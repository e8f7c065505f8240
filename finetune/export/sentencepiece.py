"""A SentencePiece tokenizer as llama.cpp needs it: scores in place of merges, its leading blank.

llama.cpp joins the two neighboring tokens whose union has the best score, and any two whose union is a token.
`tokenizer.json` has an ordered list of pairs instead. The two agree where the list has every such pair, in the order of
the unions; anything else is refused by name.
"""

from pathlib import Path
from typing import Any

from finetune.errors import UnsupportedModel
from finetune.templates.leading_blank import BLANK, NO_BLANK, LeadingBlank

BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_PREPEND = [
    {"type": "Prepend", "prepend": BLANK},
    {"type": "Replace", "pattern": {"String": " "}, "content": BLANK},
]
_BY_SCHEME = {
    "always": LeadingBlank(at_start=True, after_special=True),
    "first": LeadingBlank(at_start=True),
    "never": NO_BLANK,
}
_HINT = "use the model's own tokenizer; those of Llama-2 and Mistral-7B fit"


def is_sentencepiece(data: dict[str, Any]) -> bool:
    """Return whether a `tokenizer.json` falls back to bytes, as SentencePiece does and byte-level tokenizers do not."""
    return bool(data["model"].get("byte_fallback"))


def leading_blank_of(data: dict[str, Any], path: Path) -> LeadingBlank:
    """Return where a tokenizer puts a blank before text.

    Raises UnsupportedModel for one that changes or splits text in another way than llama.cpp does.
    """
    normalizer, splitter = data.get("normalizer"), data.get("pre_tokenizer")
    if splitter is None and normalizer and normalizer.get("normalizers", [normalizer]) == _PREPEND:
        return _BY_SCHEME["always"]
    if not normalizer and splitter and splitter.get("type") == "Metaspace" and splitter.get("replacement") == BLANK:
        scheme = splitter.get("prepend_scheme", "always")
        if scheme in _BY_SCHEME and splitter.get("split") is False:
            return _BY_SCHEME[scheme]
    found = str({"normalizer": normalizer, "pre_tokenizer": splitter})[:200]
    raise UnsupportedModel(f"{path} does not split text as SentencePiece does: {found}", _HINT)


def token_scores(data: dict[str, Any], path: Path) -> dict[str, float]:
    """Return a score for each token, from the order of the merges.

    Raises UnsupportedModel where no scores lead to the same tokens, or a byte has no token.
    """
    vocab: dict[str, int] = data["model"]["vocab"]
    missing = [name for name in BYTES if name not in vocab]
    if missing:
        raise UnsupportedModel(f"{path} has no token for the byte {missing[0]}", _HINT)
    if data["model"].get("ignore_merges"):
        raise UnsupportedModel(f"{path}: ignore_merges is set", "llama.cpp does not support it for SentencePiece")
    pairs = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in data["model"]["merges"]]
    ranks = _ranks([left + right for left, right in pairs], path)
    _check_complete(vocab, set(pairs), {entry["content"] for entry in data["added_tokens"]}, path)
    return {token: -float(ranks.get(token, len(ranks))) for token in vocab}


def _ranks(unions: list[str], path: Path) -> dict[str, int]:
    """Return the rank of each union of two tokens, from their order.

    The same union must not come again later, except for runs of blanks: all of these have one score in Llama-2's own
    file, and newer versions of transformers order them by their halves. They then share a rank, which leads to the same
    tokens for runs up to the longest one in the vocabulary.
    """
    ranks: dict[str, int] = {}
    again: set[str] = set()
    for number, union in enumerate(unions):
        if union in ranks and unions[number - 1] != union:
            again.add(union)
        ranks.setdefault(union, len(ranks))
    blanks = {union for union in ranks if not union.strip(BLANK)}
    if again - blanks:
        raise UnsupportedModel(
            f"{path}: the merges that make {min(again - blanks)!r} are not next to each other", _HINT
        )
    if again:
        ranks |= dict.fromkeys(blanks, min(ranks[union] for union in blanks))
    return ranks


def _check_complete(vocab: dict[str, int], pairs: set[tuple[str, ...]], added: set[str], path: Path) -> None:
    """Raise UnsupportedModel where llama.cpp would join two tokens that the tokenizer does not; `added` are not joined."""
    for token in vocab:
        if token in added:
            continue
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            known = (left in vocab or len(left) == 1) and (right in vocab or len(right) == 1)
            if known and (left, right) not in pairs:
                raise UnsupportedModel(
                    f"{path} has no merge of {left!r} and {right!r}, but a token {token!r}, so llama.cpp would join them",
                    _HINT,
                )
