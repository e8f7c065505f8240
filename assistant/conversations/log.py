"""The operator's conversation log: one JSON line a turn, to a file or an http(s) address."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assistant.answering.answer import Answer
from assistant.config import AssistantConfig

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 5.0


def log_notice(config: AssistantConfig) -> str:
    """Return the notice that people must see while the log is on, "" while it is off."""
    if not config.conversation_log:
        return ""
    what = "statistics without any text" if config.conversation_log_redact else "questions and answers"
    return f"The operator of this assistant keeps {what} of every turn in {config.conversation_log}."


def log_turn(config: AssistantConfig, answer: Answer) -> str:
    """Write one turn to the log, if it is on, and return the problem, "" for none: logging never stops an answer."""
    target = config.conversation_log
    if not target:
        return ""
    line = json.dumps(_entry(answer, redact=config.conversation_log_redact), ensure_ascii=False)
    try:
        if target.startswith(("http://", "https://")):
            _post(target, line)
        else:
            _append(Path(target).expanduser(), line)
    except OSError as exc:
        _log.warning("conversation log %s: %s", target, exc)
        return f"the conversation log {target} could not be written: {exc}"
    return ""


def _entry(answer: Answer, *, redact: bool) -> dict[str, Any]:
    """Return one turn as it is logged; redacted, it has no text and no file name."""
    shown: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": answer.model,
        "mode": answer.mode,
        "refused": answer.refused,
        "interrupted": bool(answer.interrupted),
        "citations": len(answer.citations),
        "invented": len(answer.invented),
        "unsupported": len(answer.unsupported),
        "usage": dict(vars(answer.usage)),
    }
    if not redact:
        sources = [{"document": c.document, "page": c.page} for c in answer.citations]
        shown |= {"question": answer.question, "answer": answer.text, "sources": sources}
    return shown


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def _post(address: str, line: str) -> None:
    import urllib.request

    request = urllib.request.Request(  # noqa: S310 - an address of the operator, always http(s)
        address, data=line.encode("utf-8"), headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
        pass
