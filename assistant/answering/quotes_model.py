"""The LangChain chat model that needs no model: it quotes the passages of its prompt, or says that it cannot answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field

from assistant.answering.budget import estimate_tokens
from assistant.answering.prompt import REFUSAL, read_block, read_question
from assistant.answering.quotes import line, pick
from assistant.retrieval.search import Passage


class QuotesModel(BaseChatModel):
    """Answers with the words of the prompt's passages that come nearest to the question, each with its number."""

    model_name: str = Field(default="quotes", alias="model")
    temperature: float | None = 0.0  # accepted like any model's, without effect: nothing is drawn
    max_tokens: int | None = None  # estimated tokens after which the answer is cut
    timeout: float | None = None  # accepted, without effect
    max_retries: int | None = None  # accepted, without effect
    stop: list[str] | None = Field(default=None, alias="stop_sequences")

    model_config = ConfigDict(populate_by_name=True)

    @property
    def _llm_type(self) -> str:
        return "quotes"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            ls_provider="quotes",
            ls_model_type="chat",
            ls_model_name=kwargs.get("model", self.model_name),
            ls_temperature=kwargs.get("temperature", self.temperature),
            ls_max_tokens=kwargs.get("max_tokens", self.max_tokens),
            ls_stop=stop or self.stop,
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text, reason = self._reply(messages, stop)
        message = AIMessage(
            content=text, usage_metadata=_usage(messages, text), response_metadata=self._metadata(reason, kwargs)
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        text, reason = self._reply(messages, stop)
        lines = text.splitlines(keepends=True)
        for piece in lines:
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if run_manager is not None:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                usage_metadata=_usage(messages, text),
                response_metadata=self._metadata(reason, kwargs),
                chunk_position="last",
            )
        )

    def _reply(self, messages: Sequence[BaseMessage], stop: list[str] | None) -> tuple[str, str]:
        """Return the answer's text and why it ends: "stop" or "length"."""
        asked = next((message.text for message in reversed(messages) if message.type == "human"), "")
        passages = [
            Passage(
                rank=number,
                document=document,
                document_id=document,
                page=int(page) if page.isdigit() else 0,
                page_label=page,
                start=0,
                end=len(text),
                text=text,
                score=1.0,
                chunk_id=str(number),
            )
            for number, document, page, text in read_block(str(asked))
        ]
        quotes = pick(read_question(str(asked)), passages)
        text = "\n\n".join(map(line, quotes)) or REFUSAL
        for end in [*(stop or []), *(self.stop or [])]:
            text = text.split(end, 1)[0]
        if self.max_tokens is None or estimate_tokens(text) <= self.max_tokens:
            return text, "stop"
        words = text.split(" ")
        while words and estimate_tokens(" ".join(words)) > self.max_tokens:
            words.pop()
        return " ".join(words), "length"

    def _metadata(self, reason: str, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {"model_name": kwargs.get("model", self.model_name), "model_provider": "quotes", "finish_reason": reason}


def _usage(messages: Sequence[BaseMessage], text: str) -> UsageMetadata:
    read = sum(estimate_tokens(str(message.text)) for message in messages) or 1
    written = estimate_tokens(text) or 1
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
