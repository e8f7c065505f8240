"""The command `quire ask`: one answer with its sources."""

from __future__ import annotations

import argparse
from typing import Any

from assistant.cli.flags import add_model_flags, add_no_documents_flag, add_question_flags, check_question, read_configs
from assistant.cli.opening import open_agent
from assistant.cli.terminal import print_notes, print_sources, print_stream
from quire import command_parser, positive_int, print_json


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = command_parser(
        "ask",
        "Answer one question from the library, with the page that supports each statement.",
        'quire ask "What was the capital expenditure in 2018?"',
        'quire ask "Who may sign?" --document contract.pdf --model ollama:qwen2.5:7b',
        'quire ask "What changed?" --model quotes --json',
    )
    add_question_flags(parser)
    parser.add_argument("-k", type=positive_int, metavar="N", help="number of passages to search for")
    add_model_flags(parser)
    add_no_documents_flag(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Answer and print; return 0, or 1 for an answer that broke off."""
    from assistant.conversations.log import log_notice, log_turn

    check_question(args, "ask")
    ingest_config, config = read_configs(args)
    with open_agent(args, ingest_config, config) as (agent, library, notice):
        options: dict[str, Any] = {
            "documents": library.document_ids(args.document) if library and args.document else None,
            "k": args.k,
            "use_documents": library is not None,
        }
        if args.json:
            answer = agent.ask(args.question, **options)
        else:
            print_notes(notice)
            answer = print_stream(agent.stream(args.question, **options))
    print_notes(log_notice(config), log_turn(config, answer))
    if args.json:
        shown = answer.as_dict()
        print_json({**shown, "notices": [*([notice] if notice else []), *shown["notices"]]})
    else:
        print_sources(answer)
    return 1 if answer.interrupted else 0
