"""A conversation as a Markdown or JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from assistant.answering.citations import Citation
from assistant.conversations.history import Conversation, Turn
from quire import UsageError, strict_json


def export_conversation(conversation: Conversation, turns: Sequence[Turn], path: Path) -> None:
    """Write a conversation to a file: JSON if its name ends in .json, else Markdown.

    Raises UsageError for a file that cannot be written.
    """
    write = conversation_as_json if path.suffix.lower() == ".json" else conversation_as_markdown
    try:
        path.write_text(write(conversation, turns), encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}", "choose another file") from exc


def conversation_as_json(conversation: Conversation, turns: Sequence[Turn]) -> str:
    """Return a conversation as one JSON object."""
    shown = [{"created_at": turn.created_at, **turn.answer.as_dict()} for turn in turns]
    return strict_json({**asdict(conversation), "turns": shown}, indent=2) + "\n"


def conversation_as_markdown(conversation: Conversation, turns: Sequence[Turn]) -> str:
    """Return a conversation as Markdown: questions, answers and sources."""
    title = conversation.title or "Conversation"
    lines = [f"# {title}", "", f"Library {conversation.library}, {conversation.created_at}", ""]
    for turn in turns:
        answer = turn.answer
        lines += [f"## {answer.question}", "", answer.text, ""]
        if answer.interrupted:
            lines += [f"*not complete: {answer.interrupted}*", ""]
        lines += [
            _source(citation, matched=answer.mode == "model" and citation.by == "house")
            for citation in answer.citations
        ]
        lines += [f"- Not supported by the passages: “{' '.join(span.text.split())}”" for span in answer.unsupported]
        lines += [f"- Closest to the question: {_source(quote)[2:]}" for quote in answer.quotes]
        lines += [""] if answer.citations or answer.unsupported else []
        lines += [f"*{answer.model}, {turn.created_at}*", ""]
    return "\n".join(lines)


def _source(citation: Citation, *, matched: bool = False) -> str:
    found = ", matched by quire" if matched else ""
    return (
        f"- [{citation.number}] {citation.document}, page {citation.page}{found}: “{' '.join(citation.quote.split())}”"
    )
