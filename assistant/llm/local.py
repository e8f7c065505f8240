"""What the two in-process chat models share: a library that calls back becomes a LangChain stream that can be stopped."""

from __future__ import annotations

import queue
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, PrivateAttr

from assistant.config import Sampling


@dataclass(frozen=True)
class Ended:
    """How a generation ended: "stop" or "length", with the tokens read and written."""

    reason: str
    prompt_tokens: int
    answer_tokens: int


Emit = Callable[[str], bool]  # takes a piece of text, returns True when generation must stop


class LocalChat(BaseChatModel):
    """A chat model that runs in this process; `stop()` ends what it writes, from any thread."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name_of_model: str
    sampling: Sampling = Sampling()
    _stopped: threading.Event = PrivateAttr(default_factory=threading.Event)

    @abstractmethod
    def write(self, messages: list[dict[str, Any]], stop: list[str], emit: Emit) -> Ended:
        """Generate on OpenAI-shaped messages, handing each piece to `emit` until it returns True."""

    def stop(self) -> None:
        """End what is being written now and refuse what comes later."""
        self._stopped.set()

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.name_of_model}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        asked = [dict(message) for message in convert_to_openai_messages(messages)]
        left = threading.Event()

        def run(emit: Callable[[str], None]) -> Ended:
            def emit_until_stopped(text: str) -> bool:
                if text:
                    emit(text)
                return left.is_set() or self._stopped.is_set()

            return self.write(asked, [*self.sampling.stop, *(stop or [])], emit_until_stopped)

        try:
            for part in _pieces(run):
                chunk = _chunk(part, self.name_of_model)
                if run_manager is not None:
                    run_manager.on_llm_new_token(str(chunk.message.text), chunk=chunk)
                yield chunk
        finally:
            left.set()


def _pieces(run: Callable[[Callable[[str], None]], Ended]) -> Iterator[str | Ended]:
    parts: queue.SimpleQueue[str | Ended | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            parts.put(run(parts.put))
        except BaseException as exc:  # handed to whoever reads
            parts.put(exc)

    threading.Thread(target=work, daemon=True).start()
    while True:
        part = parts.get()
        if isinstance(part, BaseException):
            raise part
        yield part
        if isinstance(part, Ended):
            return


def _chunk(part: str | Ended, model: str) -> ChatGenerationChunk:
    if isinstance(part, str):
        return ChatGenerationChunk(message=AIMessageChunk(content=part))
    usage = UsageMetadata(
        input_tokens=part.prompt_tokens,
        output_tokens=part.answer_tokens,
        total_tokens=part.prompt_tokens + part.answer_tokens,
    )
    metadata = {"model_name": model, "model_provider": model.partition(":")[0], "finish_reason": part.reason}
    return ChatGenerationChunk(
        message=AIMessageChunk(content="", usage_metadata=usage, response_metadata=metadata, chunk_position="last")
    )
