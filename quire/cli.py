"""The command `quire`: names of subcommands and where each lives; nothing is loaded before its command is used."""

from __future__ import annotations

import importlib
import io
import os
import sys

VERSION = "0.1.0"

# command: (module whose main(argv) answers, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "ingest": ("ingest.cli", "put PDFs (files, folders, links) into a library"),
    "docs": ("ingest.cli", "what is in a library: list, show, remove, reindex, copy"),
    "libraries": ("ingest.cli", "which libraries there are; remove one"),
    "search": ("assistant.cli", "the passages that fit a question"),
    "ask": ("assistant.cli", "one cited answer"),
    "chat": ("assistant.cli", "a conversation with sources"),
    "models": ("assistant.cli", "what can answer on this machine"),
    "eval": ("assistant.cli", "measure retrieval and answers on a question file"),
    "feedback": ("assistant.cli", "thumbs and edits as training rows"),
    "app": ("streamlit_app.cli", "the web page"),
    "doctor": ("assistant.cli", "what is here, what is missing, and the fix"),
    "finetune": ("finetune.cli", "teach a model: data, SFT, DPO, export to Ollama"),
}


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: quire COMMAND [ARGUMENTS]    (quire COMMAND --help tells more)",
            "",
            "Ask your PDFs, check the answer on the page, teach the model that answers.",
            "",
            *lines,
            "",
            "examples:",
            "  quire ingest ~/reports",
            '  quire ask "What was the revenue in 2022?"',
            "  quire app",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code: 0 done, 1 something failed and is named, 2 wrong usage."""
    argv = sys.argv[1:] if argv is None else argv
    _open_closed_streams()
    _take_every_character(json="--json" in argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"quire {VERSION}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"error: there is no command {argv[0]!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    home = COMMANDS[argv[0]][0]
    # a module that answers to several names is told which one was meant
    several = sum(module == home for module, _ in COMMANDS.values()) > 1
    try:
        code = int(importlib.import_module(home).main(argv if several else argv[1:]))
        sys.stdout.flush()  # here, where a full disk or a gone reader can still be told
        return code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, e.g. `quire docs list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as exc:
        if exc.filename is None:  # what is still buffered cannot be written either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = f"{exc.filename}: " if exc.filename else "writing the output: "
        print(f"error: {where}{exc.strerror or exc}\n  fix: check the space and the permissions there", file=sys.stderr)
        return 1


def _open_closed_streams() -> None:
    """Put the null device where a stream was closed by whoever started us: the next file opened would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - as long as the process


def _take_every_character(*, json: bool) -> None:
    """Have the streams show ? for what their encoding lacks, where they would raise; JSON is UTF-8 everywhere."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8" if json else None, errors="replace")
