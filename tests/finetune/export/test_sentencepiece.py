"""Scores that lead to the tokens of an ordered list of merges, and what is refused because none would."""

from pathlib import Path
from typing import Any

import pytest

from finetune.errors import UnsupportedModel
from finetune.export.gguf import write_gguf
from finetune.export.llama_cpp import Engine
from finetune.export.sentencepiece import BYTES, leading_blank_of, token_scores
from finetune.templates.leading_blank import LeadingBlank
from tests.finetune.export_home import Tuned

PATH = Path("tokenizer.json")
PREPEND = {
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    },
    "pre_tokenizer": None,
}


def tokenizer(*merges: tuple[str, str], letters: str = "abc▁") -> dict[str, Any]:
    """Return the parts of a tokenizer.json with these merges, and every token that they make."""
    tokens = [*BYTES, *letters, *dict.fromkeys(left + right for left, right in merges)]
    return {
        "model": {"vocab": {token: number for number, token in enumerate(tokens)}, "merges": list(merges)},
        "added_tokens": [],
    }


def metaspace(**changes: Any) -> dict[str, Any]:
    """Return the parts of a tokenizer.json that put a blank first by a Metaspace."""
    splitter = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False, **changes}
    return {"normalizer": None, "pre_tokenizer": splitter}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PREPEND, LeadingBlank(at_start=True, after_special=True)),
        (metaspace(prepend_scheme="always"), LeadingBlank(at_start=True, after_special=True)),
        (metaspace(), LeadingBlank(at_start=True)),
        (metaspace(prepend_scheme="never"), LeadingBlank()),
    ],
)
def test_the_place_of_the_blank_is_read(data: dict[str, Any], expected: LeadingBlank) -> None:
    assert leading_blank_of(data, PATH) == expected


@pytest.mark.parametrize(
    "data",
    [
        metaspace(split=True),
        metaspace(replacement="_"),
        {**metaspace(), "normalizer": {"type": "NFKC"}},
        {**PREPEND, "pre_tokenizer": {"type": "Whitespace"}},
        {"normalizer": None, "pre_tokenizer": None},
    ],
)
def test_another_way_to_split_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModel, match="does not split text as SentencePiece does"):
        leading_blank_of(data, PATH)


def test_scores_fall_in_the_order_of_the_merges() -> None:
    scores = token_scores(tokenizer(("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c")), PATH)
    assert scores["bc"] > scores["ab"] > scores["abc"] > scores["a"]


def test_a_pair_that_llama_cpp_would_join_and_the_tokenizer_does_not_is_named() -> None:
    with pytest.raises(UnsupportedModel, match="no merge of 'ab' and 'c', but a token 'abc'"):
        token_scores(tokenizer(("a", "b"), ("b", "c"), ("a", "bc")), PATH)
    with pytest.raises(UnsupportedModel, match="no merge of 'a' and 'é'"):  # a letter without a token of its own
        data = tokenizer()
        data["model"]["vocab"]["aé"] = 999
        token_scores(data, PATH)


def test_merges_that_no_scores_can_order_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match="that make 'abc' are not next to each other"):
        token_scores(tokenizer(("a", "b"), ("b", "c"), ("a", "bc"), ("c", "a"), ("ab", "c")), PATH)


def test_runs_of_blanks_may_be_ordered_by_their_halves() -> None:
    """Newer versions of transformers write them so; the union of three comes from ("▁", "▁▁") and from ("▁▁", "▁")."""
    one, two, three = "▁", "▁▁", "▁▁▁"
    data = tokenizer(("a", "b"), (one, one), (one, two), (one, three), (two, one), (two, two), (three, one))
    scores = token_scores(data, PATH)
    assert scores["ab"] > scores[two] == scores[three] == scores["▁▁▁▁"]


def test_a_byte_without_a_token_is_named() -> None:
    data = tokenizer()
    del data["model"]["vocab"]["<0x7F>"]
    with pytest.raises(UnsupportedModel, match="no token for the byte <0x7F>"):
        token_scores(data, PATH)


@pytest.mark.parametrize("kind", ["llama-2", "mistral"])
def test_llama_cpp_reads_the_tokens_of_training(kind: str, tuned_llamas: dict[str, Tuned], tmp_path: Path) -> None:
    tuned = tuned_llamas[kind]
    texts = ["", "x", "The cow says moo.", " the cow", "says\n\n\tmoo", "größe 🚀 日本語", "sasasasasa", "ooooooooooo"]
    texts += [f"a{' ' * count}b{' ' * count}\n" for count in range(1, 20)]
    with Engine(write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template), context=512) as engine:
        for text in texts:
            ids = tuned.template.encode_content(tuned.reference.tokenizer, text)
            assert engine.tokens(text) == ids, text
            assert engine.tokens(tuned.template.decode(tuned.reference.tokenizer, ids)) == ids, text
