"""Whether llama.cpp and Ollama read text as the tokens that training read.

A difference in ordinary text or in a prompt of the template is a fault of the export. Two kinds of seldom text are read
differently from every GGUF file of some models, the publisher's own included; these are notices.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from finetune.templates.template import Template

# Ordinary texts that different pre-tokenizers split differently: digits, contractions, blanks, newlines, scripts, emoji,
# code, HTML.
PROBES = (
    "Hello world, it's 2024 and we've 1234567 reasons; don't WE'LL see?",
    "def f(x):\n    return {'a': x[0] ** 2}  # blanks\n\n\n\tindented\ttabs",
    "one\r\ntwo\r\n\r\nthree   four     five\n \n  \n end  ",
    "Größe café naïve Ünïcödé — “quotes” … 3.14159, 1,000,000.00 €",
    "我想在apple工作1314151天 нещо на Български កាន់តែពិសេស ไทย 日本語",
    "🚀 (normal) 😶‍🌫️ emoji ✅ <b>tags</b> {{ braces }} {% if %} $x$ \\n",
    '<p class="a">text &amp; more</p><br/><!-- x --> if (a<b && c>=d) { v[i]->w <<= 2; }',
)
# How models of several families write their marks. Which of them llama.cpp reads as control tokens depends on the file.
MARKS = (
    "<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<mask>", "<|im_start|>", "<|im_end|>", "<|endoftext|>",
    "<|eot_id|>", "<|end_of_text|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|end|>",
    "<|user|>", "<|assistant|>", "<|system|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<<SYS>>",
    "<</SYS>>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|file_sep|>", "<|repo_name|>",
    "<|return|>", "<|call|>", "<|channel|>", "<tool_call>", "</tool_call>", "<think>", "</think>", "<EOT>", "<PRE>",
    "<|vision_start|>", "<|box_start|>", "<｜end▁of▁sentence｜>",
)  # fmt: skip
DECOMPOSED = ("cafe\u0301", "Gro\u0308ße", "c\u030cesky\u0301", "Å (Angstrom sign)".replace("Å", "\u212b"))

Tokens = Callable[[str], list[int]]


class TokenParity:
    """Compares the tokens of a file, read by `actual`, with those of training's tokenizer."""

    def __init__(self, template: Template, tokenizer: Any, actual: Tokens) -> None:
        self._template = template
        self._tokenizer = tokenizer
        self._actual = actual
        # a mark that stands between letters, as in a sentence that mentions it
        self.marks = tuple(mark for mark in MARKS if not self._equal(f"a {mark} b"))
        self._composes = not all(map(self._equal, DECOMPOSED))

    def _expected(self, text: str) -> list[int]:
        return self._template.encode_content(self._tokenizer, text)

    def _equal(self, text: str) -> bool:
        return self._actual(text) == self._expected(text)

    def differences(self) -> Iterator[str]:
        """Yield a sentence for each ordinary text that becomes other tokens."""
        for text in PROBES:
            expected, actual = self._expected(text), self._actual(text)
            if actual != expected:
                yield f"the text {text[:30]!r}...: {self.describe(expected, actual)}"

    def notices(self) -> Iterator[str]:
        """Yield a sentence, with its consequence, for each kind of seldom text that becomes other tokens."""
        if self.marks:
            yield (
                f"the letters {' '.join(self.marks)} inside a message are control tokens for llama.cpp and Ollama, and"
                " were letters in training: a message with them can end early; quire's own prompts separate such letters"
            )
        if self._composes:
            yield (
                "accents written as characters of their own (decomposed Unicode) become other tokens in llama.cpp and"
                " Ollama: such words are understood less well; quire's own prompts compose them (NFC)"
            )

    def prompt_difference(self, ids: Sequence[int]) -> str:
        """Return how a prompt of training is read differently, empty if it is not or if its marks explain it."""
        text = self._template.decode(self._tokenizer, ids)
        actual = self._actual(text)
        if actual == list(ids) or self._spells_mark(text, ids):
            return ""
        return f"the prompt {text[:40]!r}...: {self.describe(list(ids), actual)}"

    def _spells_mark(self, text: str, ids: Sequence[int]) -> bool:
        """Return whether a message in the prompt contains the letters of a mark, beside the template's own tokens."""
        own = [self._tokenizer.decode([int(number)]) for number in ids]
        return any(text.count(mark) > own.count(mark) for mark in self.marks)

    def describe(self, expected: Sequence[int], actual: Sequence[int]) -> str:
        """Return the first place where two token lists differ, token by token."""
        at = first_difference(actual, expected)
        return (
            f"from token {at + 1} on, training reads {self._spell(expected[at : at + 6])}"
            f" and the file {self._spell(actual[at : at + 6])}"
        )

    def _spell(self, ids: Sequence[int]) -> str:
        return " ".join(f"{self._tokenizer.decode([int(i)])!r} ({i})" for i in ids) or "nothing more"


def first_difference(actual: Sequence[int] | str, expected: Sequence[int] | str) -> int:
    """Return the first position where two sequences differ; the shorter one's length if it begins the other."""
    differing = (i for i, (a, b) in enumerate(zip(actual, expected, strict=False)) if a != b)
    return next(differing, min(len(actual), len(expected)))
