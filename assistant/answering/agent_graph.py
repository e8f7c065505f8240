"""Runs a LangChain chat model as an agent. Imported on use only: LangChain takes 1.6 s to import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ToolCallLimitMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from assistant.answering.prompt import Message

_MESSAGES: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


def stream_messages(
    chat: Any, messages: Sequence[Message], *, tools: list[Any] | None, tool_calls: int
) -> Iterator[Any]:
    """Yield the chunks of the model's messages; with tools, those of every call, without the tools' own messages."""
    limit = [ToolCallLimitMiddleware(run_limit=tool_calls, exit_behavior="continue")] if tools else []
    agent: Any = create_agent(chat, tools=tools, middleware=limit)
    for chunk, metadata in agent.stream({"messages": _langchain(messages)}, stream_mode="messages"):
        if metadata.get("langgraph_node") == "model":
            yield chunk


def complete(chat: Any, messages: Sequence[Message]) -> str:
    """Return the text that the model writes in reply to these messages."""
    return str(chat.invoke(_langchain(messages)).text)


def _langchain(messages: Sequence[Message]) -> list[BaseMessage]:
    return [_MESSAGES[message.role](content=message.content) for message in messages]
