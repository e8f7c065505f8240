"""A base's own chat template (Jinja): its system message is taken over, other differences are named."""

from typing import Any

from finetune.templates.builtin import TEMPLATES
from finetune.templates.messages import Message
from finetune.templates.template import SLOT, Template

_ASKED = (Message("user", "QUESTION"),)
_TALK = (Message("system", "SYSTEM"), *_ASKED, Message("assistant", "ANSWER"), Message("user", "AND THEN?"))
_SHOWN = 60  # characters of a difference in a notice


def like_own(template: Template, tokenizer: Any) -> Template:
    """Return the template with the default system message of the tokenizer's chat template.

    Where the chat template is another built-in one, that one is returned; where no template renders like it, and without
    one, ours is.
    """
    if not _is_comparable(template, tokenizer):
        return template
    tokens = tokenizer.get_added_vocab()
    for candidate in (template, *(other for other in TEMPLATES.values() if other.end_token in tokens)):
        fitted = _with_own_system(candidate, tokenizer)
        if fitted is not None and _own(tokenizer, _TALK) == fitted.render(_TALK, add_generation_prompt=True):
            return fitted
    return template


def describe_difference(template: Template, tokenizer: Any) -> str:
    """Return how the tokenizer's own chat template renders a conversation differently; "" where it does not."""
    if not _is_comparable(template, tokenizer):
        return ""
    for messages in (_ASKED, _TALK):
        own, ours = _own(tokenizer, messages), template.render(messages, add_generation_prompt=True)
        if own and own != ours:
            start = next(
                (n for n, (a, b) in enumerate(zip(own, ours, strict=False)) if a != b), min(len(own), len(ours))
            )
            start = max(0, start - 10)
            return (
                f"the base's own chat template differs from the template {template.name} that is trained: it writes "
                f"{own[start : start + _SHOWN]!r}, the run {ours[start : start + _SHOWN]!r}; --template and --system choose others"
            )
    return ""


def _is_comparable(template: Template, tokenizer: Any) -> bool:
    """Return whether the tokenizer has a chat template to compare with.

    Base models of Qwen2.5 carry the template of the instruct models, whose end token they were never trained to write.
    """
    return bool(getattr(tokenizer, "chat_template", None)) and template.name != "chatml-base"


def _with_own_system(template: Template, tokenizer: Any) -> Template | None:
    """Return the template with the default system message with which it renders a question like the tokenizer, or None."""
    own = _own(tokenizer, _ASKED)
    candidates = [template]
    before, _, after = template.system.partition(SLOT)
    rest = own.removeprefix(template.start)
    if not template.system_in_user and before and rest.startswith(before) and after in rest[len(before) :]:
        candidates.append(template.with_system(rest[len(before) :].partition(after)[0]))
    elif template.default_system is not None:
        candidates.append(template.without_default_system())
    return next((one for one in candidates if own and one.render(_ASKED, add_generation_prompt=True) == own), None)


def _own(tokenizer: Any, messages: tuple[Message, ...]) -> str:
    """Return what the tokenizer's chat template renders; "" if it rejects the conversation."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception:  # the template is a program of the model's makers, which raises what it likes
        return ""
