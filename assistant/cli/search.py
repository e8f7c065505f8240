"""The command `quire search`: the passages that match a question."""

from __future__ import annotations

import argparse

from assistant.cli.flags import add_question_flags, check_question, read_configs
from assistant.cli.terminal import print_passages
from quire import command_parser, positive_int, print_json


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = command_parser(
        "search",
        "Print the passages that match a question, best first. No language model is used.",
        'quire search "capital expenditure 2018"',
        'quire search "warranty" -k 3 --document manual.pdf',
    )
    add_question_flags(parser)
    parser.add_argument("-k", type=positive_int, default=5, metavar="N", help="number of passages (default 5)")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Search and print; return 0."""
    from assistant.retrieval.reranker import load_reranker
    from assistant.retrieval.search import search
    from ingest import open_library

    check_question(args, "search")
    config, assistant_config = read_configs(args)
    with open_library(config) as library:
        documents = library.document_ids(args.document) if args.document else None
        reranker = load_reranker(assistant_config)
        passages = search(
            library.store, library.embedder, args.question, k=args.k, documents=documents, reranker=reranker
        )
    if args.json:
        shown = [passage.as_dict() for passage in passages]
        print_json({"question": args.question, "library": config.library, "passages": shown})
    elif passages:
        print_passages(passages)
    else:
        print("nothing found")
    return 0
