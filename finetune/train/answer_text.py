"""The text of an answer while its tokens arrive: only what later tokens cannot change."""

from collections.abc import Callable, Sequence
from typing import Any


class AnswerText:
    """Decodes tokens and passes each new piece of text to `emit`; a streamer of transformers.

    Held back are incomplete characters, and what the template, not the model, puts around an answer (`lead`, `trail`).
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        ends: Sequence[int],
        lead: str = "",
        trail: str = "",
        emit: Callable[[str], None] = lambda piece: None,
    ) -> None:
        self.ids: list[int] = []
        self._tokenizer, self._ends, self._lead, self._trail, self._emit = tokenizer, ends, lead, trail, emit
        self._emitted = 0  # characters
        self._at_prompt = True

    @property
    def ended(self) -> bool:
        """Return whether the last token is an end token."""
        return bool(self.ids) and self.ids[-1] in self._ends

    def put(self, value: Any) -> None:
        """Take the next token; the first call has the prompt."""
        if self._at_prompt:
            self._at_prompt = False
            return
        self.ids += value.flatten().tolist()
        self._pass_on(self._certain_text())

    def end(self) -> None:
        """Pass on what was held back."""
        self._pass_on(self.text())

    def text(self) -> str:
        """Return the whole text, without the end token and what the template puts around it."""
        return self._decoded().removeprefix(self._lead).removesuffix(self._trail)

    def _decoded(self) -> str:
        ids = self.ids[:-1] if self.ended else self.ids
        # not cleaned up: that moves blanks which were already passed on
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _certain_text(self) -> str:
        text = self._decoded().rstrip("\ufffd")  # an incomplete character
        if self._lead.startswith(text):
            return ""
        text = text.removeprefix(self._lead)
        held = next((n for n in range(len(self._trail), 0, -1) if text.endswith(self._trail[:n])), 0)
        return text[: len(text) - held]

    def _pass_on(self, text: str) -> None:
        if piece := text[self._emitted :]:
            self._emit(piece)
            self._emitted += len(piece)
