"""One turn of a conversation, and the order in which turns may follow each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finetune.errors import InvalidRecord

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; `context` is the material an instruction refers to (the `input` field of Alpaca).

    An answer that is not `trained` is a part of the prompt of the answers after it.
    """

    role: str
    content: str
    context: str = ""
    trained: bool = True

    @property
    def text(self) -> str:
        """Return the content followed by the context, for templates without a separate place for it."""
        return f"{self.content}\n\n{self.context}" if self.context else self.content

    def to_dict(self) -> dict[str, Any]:
        """Return the message as chat templates and feedback rows write it."""
        plain: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.context:
            plain["context"] = self.context
        return plain if self.trained else {**plain, "weight": 0}


def check_turns(messages: Sequence[Message], *, last: Role) -> None:
    """Require an optional system message, then user and assistant alternating, with `last` at the end.

    Raises InvalidRecord with the position (1-based) of the first message that breaks the order.
    """
    start = 1 if messages and messages[0].role == "system" else 0
    for index, message in enumerate(messages[start:], start=start):
        expected = "user" if (index - start) % 2 == 0 else "assistant"
        if message.role != expected:
            raise InvalidRecord(
                f"wrong role: message {index + 1} is {message.role!r}, expected {expected!r}",
                "start with an optional system message, then alternate user and assistant",
            )
    if len(messages) == start or messages[-1].role != last:
        found = repr(messages[-1].role) if messages else "no message"
        raise InvalidRecord(f"wrong role: the last message must be {last!r}, found {found}")
