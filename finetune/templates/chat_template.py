"""The chat template that a tokenizer brings along (Jinja), for models that were not trained by quire."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from finetune.errors import TemplateError
from finetune.templates.messages import Message, check_turns

_ANSWER = "answer"  # a text to look for in what is rendered


class AnswerTemplate(Protocol):
    """What generating and scoring need of a template; `Template` and `ChatTemplate` have it."""

    @property
    def name(self) -> str: ...
    @property
    def end_token(self) -> str: ...
    @property
    def stop(self) -> tuple[str, ...]: ...
    @property
    def answer_lead(self) -> str: ...
    @property
    def answer_trail(self) -> str: ...

    def encode_prompt(self, tokenizer: Any, messages: Sequence[Message]) -> list[int]: ...
    def encode_answer(self, tokenizer: Any, answer: Sequence[Message]) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A tokenizer's own chat template; the text of special tokens inside a message becomes these tokens.

    `end_token` is the one that the template writes after an answer, else the tokenizer's.
    """

    end_token: str
    stop: tuple[str, ...]
    name: str = "the tokenizer's chat template"
    answer_lead: str = ""
    answer_trail: str = ""

    def encode_prompt(self, tokenizer: Any, messages: Sequence[Message]) -> list[int]:
        """Encode messages that end with the user's, up to where the model begins to answer."""
        check_turns(messages, last="user")
        text = _render(tokenizer, messages, add_generation_prompt=True)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode_answer(self, tokenizer: Any, answer: Sequence[Message]) -> list[int]:
        """Encode the single answer to a prompt, including its end token."""
        text = "".join(message.content for message in answer)
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        return [*ids, int(tokenizer.get_vocab()[self.end_token])]


def chat_template_of(tokenizer: Any, name: str) -> ChatTemplate:
    """Return the chat template of a tokenizer; raises TemplateError if `name` has none, or no end token."""
    if not tokenizer.chat_template:
        raise TemplateError(
            f"{name} has neither a template.json nor a chat template", "save one in its folder as chat_template.jinja"
        )
    after = _render(tokenizer, [Message("user", "question"), Message("assistant", _ANSWER)]).rpartition(_ANSWER)[2]
    written = [token for token in tokenizer.get_added_vocab() if token in after]
    ends = [*sorted(written, key=after.index)[:1], *([tokenizer.eos_token] if tokenizer.eos_token else [])]
    if not ends:
        raise TemplateError(f"the tokenizer of {name} has no end token", "name one as eos_token in its settings")
    return ChatTemplate(ends[0], tuple(dict.fromkeys(ends)))


def _render(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
    from jinja2 import TemplateError as JinjaError

    turns = [{"role": message.role, "content": message.text} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt))
    except JinjaError as exc:
        raise TemplateError(
            f"the model's chat template rejects this conversation: {exc}", "leave out the system message"
        ) from exc
