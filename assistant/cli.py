"""The commands search, ask, chat, models, eval and feedback: parse, call one function, print, return an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from assistant.config import CONTROLS, AssistantConfig, load_config
from assistant.errors import AssistantError, ModelAbsent, UsageError
from ingest.cli import add_library_flags, library_flags
from ingest.config import IngestConfig
from ingest.config import load_config as load_ingest_config
from ingest.errors import IngestError
from ingest.errors import UsageError as IngestUsageError

if TYPE_CHECKING:
    from assistant.agent import Answer
    from assistant.llm import Model
    from assistant.retrieve import Passage

COMMANDS = {
    "search": "the passages that fit a question",
    "ask": "one cited answer",
    "chat": "a conversation with sources",
    "models": "what can answer on this machine",
    "eval": "measure retrieval and answers on a question file",
    "feedback": "thumbs and edits as training rows",
}


def main(argv: list[str]) -> int:
    """Run one of COMMANDS; returns 0 done, 1 something failed and is named, 2 wrong usage."""
    args = _PARSERS[argv[0]]().parse_args(argv[1:])
    try:
        return int(args.run(args))
    except (UsageError, IngestUsageError) as exc:
        complain(exc)
        return 2
    except (AssistantError, IngestError) as exc:
        complain(exc)
        return 1


def complain(exc: AssistantError | IngestError) -> None:
    """Print an error and the way out to stderr."""
    print(f"error: {clean(exc.message)}", file=sys.stderr)
    if exc.hint:
        print(f"  fix: {clean(exc.hint)}", file=sys.stderr)


def clean(text: str) -> str:
    """Take control characters out: the text of a PDF or of a model must not steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _parser(name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"quire {name}",
        description=description,
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="M", help="ollama:NAME, gguf:PATH, openai:NAME, hf:NAME or quotes (default: QUIRE_MODEL)"
    )
    for control in CONTROLS.values():
        kind = int if control.step == int(control.step) else float
        parser.add_argument(
            f"--{control.name.replace('_', '-')}",
            type=kind,
            metavar="X",
            help=f"{control.help} ({control.minimum:g} to {control.maximum:g})",
        )
    parser.add_argument(
        "--system", dest="system_prompt", metavar="TEXT", help="said to the model before our instructions"
    )
    parser.add_argument("--stop", action="append", metavar="TEXT", help="a text that ends the answer; may be repeated")
    parser.add_argument("--tools", action="store_true", default=None, help="let the model search again by itself")
    parser.add_argument("--no-documents", action="store_true", help="plain chat with the model; nothing is looked up")
    parser.add_argument("--pull", action="store_true", help="have Ollama fetch the model if it is absent")


def _configs(args: argparse.Namespace) -> tuple[IngestConfig, AssistantConfig]:
    flags = dict(vars(args))
    if flags.get("stop"):
        flags["stop"] = "|".join(flags["stop"])
    config, _ = load_config(flags={name: value for name, value in flags.items() if name != "passages"})
    ingest_config, _ = load_ingest_config(flags=library_flags(args))
    return ingest_config, config


# search


def _search_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "search",
        "Print the passages that fit a question, best first; no model is asked.",
        'quire search "capital expenditure 2018"',
        'quire search "warranty" -k 3 --document manual.pdf',
    )
    parser.add_argument("question", metavar="Q")
    parser.add_argument("-k", type=_positive, default=5, metavar="N", help="passages (default 5)")
    parser.add_argument("--document", action="append", default=[], metavar="D", help="name or id; may be repeated")
    add_library_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(run=_search)
    return parser


def _search(args: argparse.Namespace) -> int:
    from assistant.library import open_library
    from assistant.retrieve import search

    ingest_config, _ = _configs(args)
    with open_library(ingest_config) as library:
        documents = library.document_ids(args.document) if args.document else None
        passages = search(library.store, library.embedder, args.question, k=args.k, documents=documents)
    if args.json:
        _print_json(
            {
                "question": args.question,
                "library": ingest_config.library,
                "passages": [passage.as_dict() for passage in passages],
            }
        )
    elif not passages:
        print("nothing found")
    else:
        for passage in passages:
            print(f"{source_line(passage.rank, passage)}  score {passage.score:.2f}\n{_indented(passage.text)}\n")
    return 0


# ask


def _ask_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "ask",
        "Answer one question from the library, each statement with the page it stands on.",
        'quire ask "What was the capital expenditure in 2018?"',
        'quire ask "Who may sign?" --document contract.pdf --model ollama:qwen2.5:7b',
        'quire ask "What changed?" --model quotes --json',
    )
    parser.add_argument("question", metavar="Q")
    parser.add_argument("-k", type=_positive, metavar="N", help="passages that are looked up")
    parser.add_argument("--document", action="append", default=[], metavar="D", help="name or id; may be repeated")
    add_library_flags(parser)
    _add_model_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(run=_ask)
    return parser


def _ask(args: argparse.Namespace) -> int:
    from assistant.agent import Agent, Done, Notice, Token

    if not args.question.strip():
        raise UsageError("the question is empty", 'write it in quotes: quire ask "What is …?"')
    ingest_config, config = _configs(args)
    with model_and_library(ingest_config, config, args) as (model, library, notice):
        agent = Agent(config, model, library and library.store, library and library.embedder)
        documents = library.document_ids(args.document) if library and args.document else None
        if notice and not args.json:
            print(f"note: {notice}", file=sys.stderr)
        answer: Answer | None = None
        for event in agent.stream(args.question, documents=documents, k=args.k, use_documents=library is not None):
            if isinstance(event, Done):
                answer = event.answer
            elif args.json:
                continue
            elif isinstance(event, Token):
                print(clean(event.text), end="", flush=True)
            elif isinstance(event, Notice):
                print(f"note: {clean(event.text)}", file=sys.stderr, flush=True)
    if answer is None:
        raise AssistantError("the answer ended without a result", "this is a bug: please report it")
    if args.json:
        shown = answer.as_dict()
        shown["notices"] = [*([notice] if notice else []), *shown["notices"]]
        _print_json(shown)
    else:
        print_sources(answer)
    return 1 if answer.interrupted else 0


@contextmanager
def model_and_library(ingest_config: IngestConfig, config: AssistantConfig, args: argparse.Namespace) -> Iterator[Any]:
    """Open what one question needs: yields (model, library or None, notice)."""
    from assistant.library import open_library
    from assistant.llm import choose_model

    name, notice = choose_model(config)
    if args.no_documents:
        if name == "quotes":
            raise UsageError("without documents and without a model there is nothing to say", "name one with --model")
        yield load(name, config, pull=args.pull), None, notice
        return
    with open_library(ingest_config) as library:
        yield load(name, config, pull=args.pull), library, notice


def load(name: str, config: AssistantConfig, *, pull: bool) -> Model:
    """Return the model, fetched first where it is absent and `pull` says so."""
    from assistant.llm import load_model, servers, split_name

    try:
        return load_model(name, config)
    except ModelAbsent:
        provider, rest = split_name(name)
        if not pull or provider != "ollama":
            raise
    for status, done, total in servers.pull(servers.reach(config), rest):
        _progress(status, done, total)
    print(file=sys.stderr)
    return load_model(name, config)


def _progress(status: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        share = done / total if total else 0.0
        bar = "#" * int(30 * share)
        print(f"\r{clean(status)[:30]:<30} [{bar:<30}] {share:>4.0%}", end="", file=sys.stderr, flush=True)
    elif not total or done == total:
        print(clean(status), file=sys.stderr, flush=True)


def print_sources(answer: Answer) -> None:
    """Print what an answer stands on, and what in it stands on nothing."""
    print()
    if answer.interrupted == "stopped":
        print("\n(stopped: the answer is not complete)")
    if answer.citations:
        print("\nsources:")
        for citation in answer.citations:
            where = (
                f"  [{citation.number}] {clean(citation.document)}, {page_words(citation.page, citation.page_label)}"
            )
            quote = "" if answer.mode == "quotes" else f": “{clean(' '.join(citation.quote.split()))}”"
            print(where + quote)
    elif answer.mode == "model" and not answer.refused and answer.passages:
        print("\nThe answer cites nothing. It was given these passages:")
        for passage in answer.passages:
            print(f"  {source_line(passage.rank, passage)}")
    for span in answer.unsupported:
        print(f"\nnot supported by the passages: “{clean(' '.join(span.text.split()))}”")


def source_line(number: int, passage: Passage) -> str:
    """Return number, document and page of a passage in one line."""
    return f"[{number}] {clean(passage.document)}, {page_words(passage.page, passage.page_label)}"


def page_words(page: int, label: str) -> str:
    """Return a page as people read it: with its printed label where that differs from its place in the file."""
    return f"page {page}" if label in ("", str(page)) else f"page {page} (printed {clean(label)})"


# models


def _models_parser() -> argparse.ArgumentParser:
    parser = _parser("models", "List what can answer on this machine.", "quire models", "quire models --json")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(run=_models)
    return parser


def _models(args: argparse.Namespace) -> int:
    from assistant.llm import choose_model, list_models, servers

    config, _ = load_config()
    models = list_models(config)
    chosen, notice = choose_model(config)
    if args.json:
        _print_json({"default": chosen, "notice": notice, "models": [dict(vars(model)) for model in models]})
        return 0
    for model in models:
        size = f"{model.size_bytes / 1e9:.1f} GB" if model.size_bytes else ""
        tuned = f"tuned from {model.tuned.get('base', '?')}" if model.tuned else model.note
        mark = "*" if model.name == chosen else " "
        print(
            f"{mark} {clean(model.name):<40} {model.parameters:>8} {model.quantization:<8} {size:>8}  {clean(str(tuned))}"
        )
    if len(models) == 1:
        print(
            f"note: Ollama does not answer or has no chat model; tried {', '.join(servers.addresses(config))}",
            file=sys.stderr,
        )
    print("gguf:PATH, openai:NAME and hf:NAME answer as well; * is used when no --model is given", file=sys.stderr)
    return 0


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in clean(text).splitlines())


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


_PARSERS = {
    "search": _search_parser,
    "ask": _ask_parser,
    "models": _models_parser,
}
