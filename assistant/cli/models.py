"""The command `quire models`: the models that can answer on this machine."""

from __future__ import annotations

import argparse
import sys

from assistant.cli.terminal import clean, print_notes
from assistant.config import load_config
from quire import add_json_flag, command_parser, print_json


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = command_parser(
        "models", "List the models that can answer on this machine.", "quire models", "quire models --json"
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the list; return 0."""
    from assistant.llm.available import choose_model, list_models
    from assistant.llm.ollama_server import addresses

    config, _ = load_config()
    models = list_models(config)
    default, notice = choose_model(config)
    if args.json:
        print_json({"default": default, "notice": notice, "models": [dict(vars(model)) for model in models]})
        return 0
    for model in models:
        mark = "*" if model.name == default else " "
        size = f"{model.size_bytes / 1e9:.1f} GB" if model.size_bytes else ""
        note = clean(f"tuned from {model.tuned.get('base', '?')}" if model.tuned else model.note)
        print(f"{mark} {clean(model.name):<40} {model.parameters:>8} {model.quantization:<8} {size:>8}  {note}")
    if len(models) == 1:
        tried = ", ".join(addresses(config))
        print_notes(f"Ollama does not answer or has no chat model; tried {tried}")
    print("* is the default; --model also takes gguf:PATH, openai:NAME and hf:NAME", file=sys.stderr)
    return 0
