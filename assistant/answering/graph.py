"""Runs a LangChain chat model as an agent of `create_agent`; everything here imports LangChain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from assistant.answering.prompt import Message


def stream_messages(
    chat: Any, messages: Sequence[Message], *, tools: list[Any] | None, tool_calls: int
) -> Iterator[Any]:
    """Yield the model's message chunks, in tool mode those of every call; tools' own messages are left out."""
    graph = _graph(chat, tools, tool_calls)
    for part, where in graph.stream({"messages": _langchain(messages)}, stream_mode="messages"):
        if where.get("langgraph_node") == "model":
            yield part


def complete(chat: Any, messages: Sequence[Message]) -> str:
    """Return what the model writes on these messages."""
    return str(chat.invoke(_langchain(messages)).text)


def _graph(chat: Any, tools: list[Any] | None, tool_calls: int) -> Any:
    from langchain.agents import create_agent
    from langchain.agents.middleware import ToolCallLimitMiddleware

    if not tools:
        return create_agent(chat)
    return create_agent(
        chat, tools=tools, middleware=[ToolCallLimitMiddleware(run_limit=tool_calls, exit_behavior="continue")]
    )


def _langchain(messages: Sequence[Message]) -> list[Any]:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[message.role](content=message.content) for message in messages]
