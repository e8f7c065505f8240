"""The command `quire`: its subcommands, each loaded when it is used."""

from __future__ import annotations

import importlib
import io
import os
import sys

VERSION = "0.1.0"

# command: (module whose main(argv) runs it, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "ingest": ("ingest.cli", "add PDFs (files, folders, links) to a library"),
    "docs": ("ingest.cli", "list, show, remove, reindex or copy the documents of a library"),
    "libraries": ("ingest.cli", "list the libraries, or remove one"),
    "search": ("assistant.cli", "show the passages that match a question"),
    "ask": ("assistant.cli", "answer one question, with its sources"),
    "chat": ("assistant.cli", "have a conversation, with sources"),
    "models": ("assistant.cli", "list the models that can answer"),
    "eval": ("assistant.cli", "measure search and answers on a question file"),
    "feedback": ("assistant.cli", "export ratings and corrected answers as training data"),
    "app": ("streamlit_app.cli", "serve the web page"),
    "doctor": ("assistant.cli", "show what is installed, what is missing, and how to fix it"),
    "finetune": ("finetune.cli", "train a model: data, SFT, DPO, export to Ollama"),
}


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: quire COMMAND [ARGUMENTS]    (quire COMMAND --help shows more)",
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
    """Run one subcommand and return its exit code: 0 for done, 1 for failed, 2 for wrong usage."""
    argv = sys.argv[1:] if argv is None else argv
    _open_closed_streams()
    _replace_unencodable(json="--json" in argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"quire {VERSION}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"error: there is no command {argv[0]!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    module = COMMANDS[argv[0]][0]
    # a module with several commands also gets the command's name
    several = sum(other == module for other, _ in COMMANDS.values()) > 1
    try:
        code = int(importlib.import_module(module).main(argv if several else argv[1:]))
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be reported
        return code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output ended, e.g. `quire docs list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as exc:
        if exc.filename is None:  # what is still buffered cannot be written either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = f"{exc.filename}: " if exc.filename else "writing the output: "
        print(f"error: {where}{exc.strerror or exc}\n  fix: check the space and the permissions there", file=sys.stderr)
        return 1


def _open_closed_streams() -> None:
    """Open the null device for each closed standard stream, or the next file opened would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - as long as the process


def _replace_unencodable(*, json: bool) -> None:
    """Write ? for characters that an output's encoding lacks, instead of failing; JSON is always UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8" if json else None, errors="replace")
