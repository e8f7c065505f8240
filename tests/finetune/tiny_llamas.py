"""Tiny Llama and Mistral models with tokenizers like those of Llama-2, Llama-3 and Mistral-7B-v0.3.

`llama-2`: text is split as SentencePiece does, by a normalizer that puts a blank first. `mistral`: the same by a Metaspace
pre-tokenizer that does so only at the start of a text; heads of a size of their own; a sliding window. `llama-3`:
byte-level BPE, tied embeddings, RoPE scaled as in Llama-3.1.
"""

from pathlib import Path
from typing import Any

from finetune.export.vocabulary import LLAMA3_SPLIT

TINY_LLAMAS = ("llama-2", "llama-3", "mistral")
MODEL_TYPE = {"llama-2": "llama", "llama-3": "llama", "mistral": "mistral"}
CORPUS = (
    "You are a helpful assistant. What does the cow say? The cow says moo. The dog says woof. The cat says meow.",
    "The duck says quack. The lion says roar. The horse says neigh. Which color is the sky? The sky is blue.",
    "Name the capital of France. Paris is the capital of France. I do not know. Hello world, it's 2024 and we've reasons",
    "[INST] <<SYS>> Answer in one word. <</SYS>> What does the cow say? [/INST] The cow says moo.",
    "system user assistant Hello to you. blanks and lines Yes. No system text.",
    "(0123456789) def f(x): return a*b/c-d+e, 'quotes' \"double\" {braces} <tags> [lists]; $x$ % # @ & | ~ ^ = _ `",
)
_LLAMA3_TOKENS = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
)  # fmt: skip


def sentencepiece_vocabulary(size: int = 704) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return a vocabulary with byte tokens, and every merge of two tokens into a third, as SentencePiece has them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    vocab = tokenizer.get_vocab()
    merges = [
        (token[:cut], token[cut:])
        for token in sorted(set(vocab) - set(names), key=lambda name: vocab[name])
        for cut in range(1, len(token))
        if token[:cut] in vocab and token[cut:] in vocab
    ]
    return vocab, merges


def make_sentencepiece(*, form: str, special: tuple[str, ...] = (), normalized: bool = False) -> Any:
    """Return a tokenizer like Llama-2's (form `prepend`), or one whose Metaspace has the prepend scheme `form`.

    `special` are special tokens besides the usual three; `normalized` makes them as Llama-2's first files have them.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocab, merges = sentencepiece_vocabulary()
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if form == "prepend":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=form, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(name, normalized=normalized, special=True) for name in ("<unk>", "<s>", "</s>", *special)]
    )
    return _wrapped(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")


def make_llama3_tokenizer() -> Any:
    """Return a byte-level tokenizer like Llama-3's, with the special tokens of its chat format."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=512, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens(list(_LLAMA3_TOKENS))
    return _wrapped(tokenizer, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", pad_token="<|end_of_text|>")


def _wrapped(tokenizer: Any, **names: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, model_max_length=2048, **names
    )


def make_llama(kind: str, vocab: int, **changes: Any) -> Any:
    """Return a random model of two layers; `changes` are settings of its config."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": vocab, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, "initializer_range": 0.06,
        "tie_word_embeddings": False, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    if kind == "mistral":
        return MistralForCausalLM(MistralConfig(**settings | {"head_dim": 32, "sliding_window": 512} | changes))
    if kind == "llama-3":
        scaled = {
            "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 512,
        }  # fmt: skip
        settings |= {"tie_word_embeddings": True, "rope_parameters": scaled}
    return LlamaForCausalLM(LlamaConfig(**settings | changes))


def make_tiny_llama(folder: Path, kind: str) -> Path:
    """Write a tiny model and its tokenizer to `folder` and return the folder."""
    forms = {"llama-2": "prepend", "mistral": "first"}
    tokenizer = make_sentencepiece(form=forms[kind]) if kind in forms else make_llama3_tokenizer()
    model = make_llama(kind, -(-len(tokenizer) // 64) * 64)
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
