"""The base of chat models in this process: turns callbacks into a stream that can be stopped."""

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
class Ending:
    """How a generation ended."""

    reason: str  # "stop" or "length"
    prompt_tokens: int
    answer_tokens: int


Emit = Callable[[str], bool]  # takes a piece of text; returns True when generation must stop


class LocalChat(BaseChatModel):
    """A chat model that runs in this process; `stop()` ends its generation from any thread."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model_name: str
    sampling: Sampling = Sampling()
    _stopped: threading.Event = PrivateAttr(default_factory=threading.Event)

    @abstractmethod
    def generate_text(self, messages: list[dict[str, Any]], stop: list[str], emit: Emit) -> Ending:
        """Generate from messages in OpenAI's format, and pass each piece of text to `emit` until it returns True.

        `emit` is also called with an empty text after each forward pass without one, so that a stop ends the computation
        with the pass in progress.
        """

    def stop(self) -> None:
        """End the running generation and refuse later ones."""
        self._stopped.set()

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

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
        conversation = [dict(message) for message in convert_to_openai_messages(messages)]
        abandoned = threading.Event()

        def run(put: Callable[[str], None]) -> Ending:
            def emit(text: str) -> bool:
                if text:
                    put(text)
                return abandoned.is_set() or self._stopped.is_set()

            if emit(""):  # stopped before it began, as while another answer was being written
                return Ending("stop", 0, 0)
            return self.generate_text(conversation, [*self.sampling.stop, *(stop or [])], emit)

        try:
            for part in _run_in_thread(run):
                chunk = _chunk(part, self.model_name)
                if run_manager is not None:
                    run_manager.on_llm_new_token(str(chunk.message.text), chunk=chunk)
                yield chunk
        finally:
            abandoned.set()


def _run_in_thread(run: Callable[[Callable[[str], None]], Ending]) -> Iterator[str | Ending]:
    """Yield what `run` puts, then what it returns; raises what it raises."""
    parts: queue.SimpleQueue[str | Ending | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            parts.put(run(parts.put))
        except BaseException as exc:  # raised again in the thread that reads
            parts.put(exc)

    threading.Thread(target=work, daemon=True).start()
    while True:
        part = parts.get()
        if isinstance(part, BaseException):
            raise part
        yield part
        if isinstance(part, Ending):
            return


def _chunk(part: str | Ending, model: str) -> ChatGenerationChunk:
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
