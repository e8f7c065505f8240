"""Tokenizers with the special tokens of the templates."""

from typing import Any

import pytest

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|begin_of_text|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>",
)  # fmt: skip


def make_tokenizer(*more: str) -> Any:
    """Train a byte-level BPE tokenizer with the special tokens of most templates, and with `more`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    corpus = [
        "How many legs has a cat? Four legs. user assistant system Instruct: Output: ### Human: ### Assistant:"
    ] * 20
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*SPECIAL, *more],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>")


@pytest.fixture(scope="session")
def most() -> Any:
    """A tokenizer for every template but one."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def mistral_v3() -> Any:
    """A tokenizer in which `[INST]`, plain text in other templates, is a token."""
    return make_tokenizer("[INST]", "[/INST]")


@pytest.fixture
def tokenizer(request: pytest.FixtureRequest, most: Any, mistral_v3: Any) -> Any:
    """The tokenizer for the template that the test's parameter `name` names."""
    callspec = getattr(request.node, "callspec", None)
    return mistral_v3 if callspec and callspec.params.get("name") == "mistral-v3" else most
