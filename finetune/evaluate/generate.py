"""Answers with a tuned model: one prompt to one answer with its finish reason; not the assistant, which cites."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finetune.templates.messages import Message
from finetune.train.load import Loaded, computing


@dataclass(frozen=True, slots=True)
class Generated:
    """An answer without its end token; `finish` is stop (the model ended it) or length (it was cut)."""

    text: str
    finish: Literal["stop", "length"]
    tokens: int


def stop_ids(loaded: Loaded) -> list[int]:
    """Give the ids that end an answer: the template's end token and its further stops."""
    vocabulary = loaded.tokenizer.get_vocab()
    names = (loaded.template.end_token, *loaded.template.stop)
    return sorted({vocabulary[name] for name in names if name in vocabulary})


def answer(loaded: Loaded, messages: Sequence[Message], *, max_new_tokens: int, temperature: float = 0.0) -> Generated:
    """Answer a conversation that ends with the user's message; temperature 0 takes the likeliest token each time."""
    import torch

    ids = loaded.template.encode_prompt(loaded.tokenizer, messages)
    prompt = torch.tensor([ids], device=next(loaded.model.parameters()).device)
    ends = stop_ids(loaded)
    options: dict[str, Any] = {"do_sample": temperature > 0}
    if temperature > 0:
        options["temperature"] = temperature
    with torch.no_grad(), computing(loaded.model):
        out = loaded.model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=max_new_tokens,
            eos_token_id=ends,
            pad_token_id=loaded.tokenizer.pad_token_id,
            use_cache=True,
            top_k=None,
            top_p=None,
            repetition_penalty=1.0,
            **options,
        )[0, len(ids) :].tolist()
    ended = bool(out) and out[-1] in ends
    text = loaded.tokenizer.decode(out[:-1] if ended else out, skip_special_tokens=False)
    return Generated(_strip_lead(loaded, text), "stop" if ended else "length", len(out))


def _strip_lead(loaded: Loaded, text: str) -> str:
    """Take away what the template, not the author, put around the answer."""
    return text.removeprefix(loaded.template.answer_lead).removesuffix(loaded.template.answer_trail)


def talk(loaded: Loaded, lines: Iterator[str], *, max_new_tokens: int, system: str = "") -> Iterator[Generated]:
    """Answer line after line as one conversation that remembers what was said."""
    messages: list[Message] = [Message("system", system)] if system else []
    for line in lines:
        if not line.strip():
            continue
        messages.append(Message("user", line))
        found = answer(loaded, messages, max_new_tokens=max_new_tokens)
        messages.append(Message("assistant", found.text))
        yield found
