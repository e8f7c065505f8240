"""Tiny models with tokenizers, on which all of training and export runs without a network.

They are Qwen2 and Phi models of two layers with random weights. Their sizes are multiples of 256, because 4-bit loading
needs multiples of 64 and K-quants multiples of 256.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from finetune.export.vocabulary import QWEN2_SPLIT
from quire import UsageError

KINDS = ("qwen2", "phi")
# The special tokens of the real vocabularies that templates use.
_SPECIAL_TOKENS = {"qwen2": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "phi": ("<|endoftext|>",)}
_CORPUS = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
    "system user assistant Instruct: Output: ### Instruction: ### Input: ### Response:",
    "You are a helpful assistant. What does the cow say? The cow says moo. The dog says woof.",
    "The cat says meow. The duck says quack. The lion says roar. The horse says neigh. I do not know.",
    "Which colour is the sky? The sky is blue. Name the capital of France. Paris is the capital of France.",
)


def make_tokenizer(kind: str, corpus: Iterable[str] = _CORPUS, *, vocab: int = 512) -> Any:
    """Return a byte-level BPE tokenizer trained on a corpus, with the special tokens of the real models of this kind."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    if kind == "qwen2":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(_SPECIAL_TOKENS[kind]),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens(list(_SPECIAL_TOKENS[kind]))
    end = "<|im_end|>" if kind == "qwen2" else "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=end,
        pad_token="<|endoftext|>",  # noqa: S106 - a token of the vocabulary, not a secret
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def make_model(
    kind: str, vocab: int, *, hidden: int = 256, layers: int = 2, eos_token_id: int, pad_token_id: int, seed: int = 0
) -> Any:
    """Return a random model of the kind; the same seed gives the same weights."""
    import torch
    from transformers import PhiConfig, PhiForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    common: dict[str, Any] = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": 2048,
        "initializer_range": 0.06,  # at 0.02 adapters learn too little on a frozen random base
        "bos_token_id": None,
        "eos_token_id": eos_token_id,
        "pad_token_id": pad_token_id,
    }
    if kind == "qwen2":
        config = Qwen2Config(
            **common, intermediate_size=2 * hidden, num_key_value_heads=2, tie_word_embeddings=True, rms_norm_eps=1e-6
        )
        return Qwen2ForCausalLM(config)
    phi = PhiConfig(
        **common,
        intermediate_size=4 * hidden,
        num_key_value_heads=4,
        partial_rotary_factor=0.5,
        tie_word_embeddings=False,
    )
    return PhiForCausalLM(phi)


def make_tiny(
    folder: Path, kind: str = "qwen2", *, corpus: Iterable[str] = (), hidden: int = 256, layers: int = 2, seed: int = 0
) -> Path:
    """Write a tiny model of the kind and its tokenizer to `folder` and return the folder."""
    if kind not in KINDS:
        raise UsageError(f"there is no tiny model of kind {kind!r}", f"the kinds are {', '.join(KINDS)}")
    tokenizer = make_tokenizer(kind, [*_CORPUS, *corpus])
    model = make_model(
        kind,
        # as in real models, the table has more rows than the tokenizer has tokens
        vocab=-(-len(tokenizer) // 64) * 64,
        hidden=hidden,
        layers=layers,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        seed=seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
