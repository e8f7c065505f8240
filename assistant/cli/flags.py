"""Command-line flags that several commands share, and the settings they give."""

from __future__ import annotations

import argparse

from assistant.config import CONTROLS, AssistantConfig, load_config
from ingest import IngestConfig, add_library_flags, library_flags
from ingest import load_config as load_ingest_config
from quire import UsageError, add_json_flag, encodable


def add_question_flags(parser: argparse.ArgumentParser) -> None:
    """Add the question, the documents and the library it is asked of, and --json."""
    parser.add_argument("question", metavar="Q", type=encodable, help="the question, in quotes")
    parser.add_argument(
        "--document",
        action="append",
        default=[],
        metavar="D",
        help="search only this document (name or id); repeatable",
    )
    add_library_flags(parser)
    add_json_flag(parser)


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a model, every sampling control, and how the model is used."""
    parser.add_argument(
        "--model",
        metavar="M",
        help="ollama:NAME, gguf:PATH, openai:NAME, hf:NAME or quotes (default: QUIRE_MODEL, else a model of Ollama, else "
        "quotes)",
    )
    for control in CONTROLS.values():
        parser.add_argument(
            f"--{control.name.replace('_', '-')}",
            type=int if control.step == int(control.step) else float,
            metavar="X",
            help=f"{control.help} ({control.minimum:.15g} to {control.maximum:.15g})",
        )
    parser.add_argument(
        "--system", dest="system_prompt", metavar="TEXT", help="instructions placed before the built-in system prompt"
    )
    parser.add_argument("--stop", action="append", metavar="TEXT", help="end the answer at this text; repeatable")
    parser.add_argument(
        "--tools", action="store_true", default=None, help="let the model search again by itself, with tool calls"
    )
    parser.add_argument("--pull", action="store_true", help="download the model with Ollama if it is missing")


def add_no_documents_flag(parser: argparse.ArgumentParser) -> None:
    """Add --no-documents."""
    parser.add_argument("--no-documents", action="store_true", help="ask the model alone, without any search")


def read_configs(args: argparse.Namespace) -> tuple[IngestConfig, AssistantConfig]:
    """Return the settings of the library and of the assistant, with the flags that were given."""
    flags = dict(vars(args))
    if flags.get("stop"):
        flags["stop"] = "|".join(flags["stop"])
    config, _ = load_config(flags=flags)
    ingest_config, _ = load_ingest_config(flags=library_flags(args))
    return ingest_config, config


def check_question(args: argparse.Namespace, command: str) -> None:
    """Raise UsageError for an empty question."""
    if not args.question.strip():
        raise UsageError("the question is empty", f'write it in quotes: quire {command} "What is …?"')
