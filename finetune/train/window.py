"""The context window of a loaded model: what of a conversation fits, and how long an answer can be."""

from collections.abc import Sequence

from finetune.templates.messages import Message
from finetune.train.load import LoadedModel
from quire import UsageError


def window_of(loaded: LoadedModel) -> int:
    """Return the tokens of prompt and answer together that the model was built for; 0 when it does not say."""
    return int(getattr(loaded.model.config, "max_position_embeddings", 0) or 0)


def answer_room(loaded: LoadedModel, prompt_tokens: int, max_new_tokens: int) -> int:
    """Return the tokens an answer may have: `max_new_tokens`, or what the window has left after the prompt.

    Raises UsageError when nothing is left.
    """
    window = window_of(loaded)
    if window and prompt_tokens >= window:
        raise UsageError(
            f"the prompt has {prompt_tokens} tokens, and the model's window {window}", "shorten the prompt"
        )
    return min(max_new_tokens, window - prompt_tokens) if window else max_new_tokens


def fit_window(loaded: LoadedModel, messages: Sequence[Message], *, max_new_tokens: int) -> tuple[list[Message], int]:
    """Return the messages that fit the window beside an answer of `max_new_tokens`, and how many were dropped.

    The oldest turns are dropped, each question with its answer; a system message and the last question are kept.
    Raises UsageError when these alone do not fit.
    """
    window = window_of(loaded)
    system = [m for m in messages[:1] if m.role == "system"]
    turns = list(messages[len(system) :])
    while window and (tokens := _tokens(loaded, [*system, *turns])) + max_new_tokens > window:
        if len(turns) <= 1:
            raise UsageError(
                f"this message needs {tokens} tokens and the answer {max_new_tokens}, and the model's window has {window}",
                "shorten the message, or lower --max-new-tokens",
            )
        del turns[:2]
    kept = [*system, *turns]
    return kept, len(messages) - len(kept)


def _tokens(loaded: LoadedModel, messages: Sequence[Message]) -> int:
    return len(loaded.template.encode_prompt(loaded.tokenizer, messages))
