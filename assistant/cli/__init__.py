"""The commands search, ask, chat, models, eval and feedback: parse, call one function, print, return an exit code."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from assistant.config import CONTROLS, AssistantConfig, load_config
from assistant.errors import AssistantError, ModelNotFound
from ingest import IngestConfig, add_library_flags, library_flags
from ingest import load_config as load_ingest_config
from quire import UsageError, exit_code, pluralize, printable

if TYPE_CHECKING:
    from assistant.answering.agent import Answer
    from assistant.llm import Model
    from assistant.retrieval.search import Passage

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
    return exit_code(lambda: args.run(args))


def clean(text: str) -> str:
    """Take control characters out: the text of a PDF or of a model must not steer the terminal."""
    return printable(text, keep="\n\t")


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
            help=f"{control.help} ({control.minimum:.15g} to {control.maximum:.15g})",
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


def _question(text: str) -> str:
    """Return a question that any stream can take: bytes that are not UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _refuse_empty(args: argparse.Namespace) -> None:
    if not args.question.strip():
        raise UsageError("the question is empty", f'write it in quotes: quire {args.command} "What is …?"')


# search


def _search_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "search",
        "Print the passages that fit a question, best first; no model is asked.",
        'quire search "capital expenditure 2018"',
        'quire search "warranty" -k 3 --document manual.pdf',
    )
    parser.add_argument("question", metavar="Q", type=_question)
    parser.add_argument("-k", type=_positive, default=5, metavar="N", help="passages (default 5)")
    parser.add_argument("--document", action="append", default=[], metavar="D", help="name or id; may be repeated")
    add_library_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(run=_search, command="search")
    return parser


def _search(args: argparse.Namespace) -> int:
    from assistant.retrieval.search import search
    from ingest import open_library

    _refuse_empty(args)
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
    parser.add_argument("question", metavar="Q", type=_question)
    parser.add_argument("-k", type=_positive, metavar="N", help="passages that are looked up")
    parser.add_argument("--document", action="append", default=[], metavar="D", help="name or id; may be repeated")
    add_library_flags(parser)
    _add_model_flags(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(run=_ask, command="ask")
    return parser


def _ask(args: argparse.Namespace) -> int:
    from assistant.answering.agent import Agent, Done, Notice, Token

    _refuse_empty(args)
    ingest_config, config = _configs(args)
    with model_and_library(ingest_config, config, args) as (model, library, notice):
        agent = Agent(config, model, library and library.store, library and library.embedder)
        documents = library.document_ids(args.document) if library and args.document else None
        if notice and not args.json:
            print(f"note: {notice}", file=sys.stderr)
        answer: Answer | None = None
        begun = False
        for event in agent.stream(args.question, documents=documents, k=args.k, use_documents=library is not None):
            if isinstance(event, Done):
                answer = event.answer
            elif args.json:
                continue
            elif isinstance(event, Token):
                print(clean(event.text), end="", flush=True)
                begun = True
            elif isinstance(event, Notice):
                if begun:
                    print(flush=True)  # the answer's line ends before a note begins
                    begun = False
                print(f"note: {clean(event.text)}", file=sys.stderr, flush=True)
    if answer is None:
        raise AssistantError("the answer ended without a result", "this is a bug: please report it")
    if config.conversation_log:
        from assistant.conversations import log

        for line in (log.log_notice(config), log.log_turn(config, answer)):
            if line:
                print(f"note: {clean(line)}", file=sys.stderr)
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
    from assistant.llm import choose_model
    from ingest import open_library

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
    except ModelNotFound:
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
    elif answer.mode == "model" and answer.text and not answer.refused and answer.passages:
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


# chat


def _chat_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "chat",
        "Talk with the library; /help inside lists the commands.",
        "quire chat",
        "quire chat --resume 3f2a",
        "quire chat --list",
        "quire chat --export 3f2a talk.md",
    )
    add_library_flags(parser)
    _add_model_flags(parser)
    parser.add_argument(
        "--no-keep", dest="keep_conversations", action="store_false", default=None, help="write nothing to disk"
    )
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument("--list", action="store_true", help="list the conversations")
    todo.add_argument("--resume", metavar="ID", help="go on with a conversation; the beginning of its id will do")
    todo.add_argument(
        "--export", nargs=2, metavar=("ID", "FILE"), help="write one as Markdown, or JSON for a .json file"
    )
    todo.add_argument("--rename", nargs=2, metavar=("ID", "TITLE"), help="give one another title")
    todo.add_argument("--delete", metavar="ID", help="delete one, with the feedback on it")
    parser.add_argument(
        "--json", action="store_true", help="of --list, --export, --rename and --delete: print one JSON object"
    )
    parser.set_defaults(run=_chat)
    return parser


def _chat(args: argparse.Namespace) -> int:
    ingest_config, config = _configs(args)
    if args.list or args.export or args.rename or args.delete:
        return _kept(args, config)
    if args.json:
        raise UsageError("a conversation is no JSON object", 'one question is: quire ask "…" --json')
    from assistant.answering.agent import Agent
    from assistant.cli.chat import Chat
    from assistant.conversations import log
    from assistant.conversations.history import History

    history = History(config.home) if config.keep_conversations or args.resume else None
    with model_and_library(ingest_config, config, args) as (model, library, notice):
        agent = Agent(config, model, library and library.store, library and library.embedder)
        chat = Chat(
            config,
            agent,
            library,
            load=lambda name: load(name, config, pull=args.pull),
            show=clean,
            print_sources=print_sources,
            source_line=source_line,
            history=history,
        )
        if args.resume and history is not None:
            chat.conversation = history.conversation(args.resume).id
            chat.answers = [turn.answer for turn in history.turns(chat.conversation)]
            for answer in chat.answers:
                print(f"> {clean(answer.question)}\n{clean(answer.text)}\n")
        for line in (notice, log.log_notice(config)):
            if line:
                print(f"note: {clean(line)}", file=sys.stderr)
        where = f"library {library.name}" if library else "no documents"
        print(f"{model.name}, {where}. /help lists the commands, Ctrl-D ends.", file=sys.stderr)
        return chat.run(_lines())


def _lines() -> Iterator[str]:
    if sys.stdin.isatty():
        import readline  # noqa: F401 - gives input() line editing
    elif isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a line that is not UTF-8 does not end the conversation
    while True:
        try:
            yield _question(input("> " if sys.stdin.isatty() else ""))
        except EOFError:
            return
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            print("\n(Ctrl-D or /quit leaves)", file=sys.stderr)  # pressed a moment after the answer was done


def _kept(args: argparse.Namespace, config: AssistantConfig) -> int:
    from pathlib import Path

    from assistant.cli.chat import export
    from assistant.conversations.history import History

    history = History(config.home)
    result: dict[str, Any] = {}
    if args.list:
        conversations = history.conversations()
        result = {"conversations": [dict(vars(conversation)) for conversation in conversations]}
        if not conversations and not args.json:
            print("no conversation is kept yet", file=sys.stderr)
        for conversation in () if args.json else conversations:
            print(
                f"{conversation.id[:8]}  {conversation.updated_at[:16]}  {pluralize(conversation.turns, 'turn', width=3)}  "
                f"{clean(conversation.library)}  {clean(conversation.title)}"
            )
    elif args.export:
        conversation = history.conversation(args.export[0])
        export(conversation, history.turns(conversation.id), Path(args.export[1]))
        result = {"exported": conversation.id, "file": args.export[1]}
    elif args.rename:
        renamed = history.conversation(args.rename[0]).id
        history.rename(renamed, args.rename[1])
        result = {"renamed": renamed, "title": args.rename[1]}
    else:
        deleted = history.conversation(args.delete).id
        history.delete(deleted)
        result = {"deleted": deleted}
    if args.json:
        _print_json(result)
    return 0


# eval


def _eval_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "eval",
        "Measure on a question file: JSONL lines with id, document, question, answer and evidence pages.",
        "quire eval retrieval questions.jsonl --pdfs reports --scope shared",
        "quire eval answers questions.jsonl --pdfs reports --model quotes",
        "quire eval compare first/answers.jsonl second/answers.jsonl",
    )
    commands = parser.add_subparsers(dest="what", required=True)
    for name, text in (
        ("retrieval", "is the evidence page among the first k"),
        ("answers", "are the answers right and cited"),
    ):
        part = commands.add_parser(name, help=text, description=text)
        part.add_argument("questions", metavar="QUESTIONS.jsonl")
        part.add_argument(
            "--pdfs", metavar="DIR", help="folder of the questions' documents; ingested once, kept by content"
        )
        part.add_argument(
            "--scope",
            choices=("single", "shared"),
            default="single",
            help="search the question's document, or all (default single)",
        )
        add_library_flags(part)
        part.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        part.set_defaults(run=_eval_retrieval if name == "retrieval" else _eval_answers)
        if name == "answers":
            _add_model_flags(part)
            part.add_argument("--judge", metavar="M", help="a model that judges correctness and faithfulness")
            part.add_argument("--limit", type=_positive, metavar="N", help="only the first N questions")
            part.add_argument("--threshold", type=float, metavar="X", help="passages that score lower are no evidence")
            part.add_argument(
                "--no-unanswerable", action="store_true", help="leave out the questions that must be refused"
            )
            part.add_argument(
                "--out", metavar="DIR", help="folder of answers.jsonl and report.html; a run there is resumed"
            )
    compare = commands.add_parser(
        "compare", help="the paired difference of two runs", description="B minus A, question by question."
    )
    compare.add_argument("first", metavar="A")
    compare.add_argument("second", metavar="B")
    compare.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    compare.set_defaults(run=_eval_compare)
    return parser


def _eval_retrieval(args: argparse.Namespace) -> int:
    from pathlib import Path

    from assistant.evaluation.evaluate import library_of, read_questions, retrieval

    ingest_config, _ = load_ingest_config(flags=library_flags(args))
    questions = read_questions(Path(args.questions))
    with library_of(ingest_config, Path(args.pdfs) if args.pdfs else None, _counter(args)) as library:
        result = retrieval(library, questions, scope=args.scope, store=ingest_config.store, progress=_counter(args))
    if args.json:
        _print_json(result)
    else:
        hits = "  ".join(f"hit@{k} {share:.3f}" for k, share in result["hit"].items())
        print(
            f"{pluralize(result['questions'], 'question')}, scope {result['scope']}, {result['store']}, {result['embedder']}"
        )
        print(f"{hits}  mrr {result['mrr']:.3f}")
        print(
            f"search p50 {result['milliseconds_p50']} ms, p95 {result['milliseconds_p95']} ms, {result['seconds']} s in all"
        )
    return 0


def _eval_answers(args: argparse.Namespace) -> int:
    from pathlib import Path

    from assistant.evaluation.evaluate import library_of, read_questions, run_answers, summary
    from assistant.evaluation.report import html
    from assistant.llm import choose_model
    from assistant.retrieval.search import whole_page

    ingest_config, config = _configs(args)
    path = Path(args.questions)
    questions = read_questions(path)[: args.limit]
    name, notice = choose_model(config)
    model = load(name, config, pull=args.pull)
    judge = load(args.judge, config, pull=args.pull) if args.judge else None
    if notice:
        print(f"note: {notice}", file=sys.stderr)
    folder = Path(args.out) if args.out else config.home / "evaluations" / _slug(f"{path.stem}-{name}-{args.scope}")
    with library_of(ingest_config, Path(args.pdfs) if args.pdfs else None, _counter(args)) as library:
        rows = run_answers(
            library,
            questions,
            model,
            config,
            folder / "answers.jsonl",
            scope=args.scope,
            judge=judge,
            unanswerable=not args.no_unanswerable,
            progress=_counter(args),
        )
        result = summary(rows) | {"out": str(folder)}
        ids = {document.name: document.id for document in library.store.documents()}

        def page_text(document: str, page: int) -> str:
            key = (ids.get(document, ""), page)
            chunks = library.store.page_chunks([key]).get(key)
            return whole_page(chunks).text if chunks else ""

        (folder / "report.html").write_text(html(result, rows, page_text), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if args.json:
        _print_json(result)
    else:
        _print_summary(result)
    return 0


def _print_summary(result: dict[str, Any]) -> None:
    print(
        f"{result['model']}: {pluralize(result['questions'], 'question')} and {pluralize(result['unanswerable'], 'unanswerable one')}, scope {result['scope']}"
    )
    _print_scores(result["scores"])
    threshold = result["threshold"]
    print(
        f"threshold {threshold['value']}: {_share(threshold['false_refusals'])} false refusals, "
        f"{_share(threshold['right_refusals'])} of the unanswerable questions refused by it"
    )
    if result["judge_failures"] is not None:
        print(f"the judge {result['judge']} gave no verdict on {result['judge_failures']:.1%} of the answers")
    print(f"answers.jsonl, summary.json and report.html: {result['out']}", file=sys.stderr)


def _eval_compare(args: argparse.Namespace) -> int:
    from pathlib import Path

    from assistant.evaluation.evaluate import compare

    paths = [Path(text) / "answers.jsonl" if Path(text).is_dir() else Path(text) for text in (args.first, args.second)]
    result = compare(*paths)
    if args.json:
        _print_json(result)
    else:
        print(
            f"({result['second']}) minus ({result['first']}), {pluralize(result['questions'], 'question')} in both runs"
        )
        _print_scores(result["differences"])
    return 0


def _print_scores(scores: dict[str, Any]) -> None:
    for name, score in scores.items():
        print(f"  {name:<20} {score['mean']:>9.3f}  [{score['low']:.3f}, {score['high']:.3f}]  n {score['n']}")


def _share(value: float | None) -> str:
    return "no" if value is None else f"{value:.1%}"


def _counter(args: argparse.Namespace) -> Any:
    if args.json or not sys.stderr.isatty():
        return None
    return lambda done, total, what: print(
        f"\r\x1b[K{done}/{total} {clean(what)[:60]}", end="\n" if done == total else "", file=sys.stderr, flush=True
    )


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[:100]


# feedback


def _feedback_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "feedback",
        "Write thumbs and edits as training rows, one JSON object a line, to stdout or to a file.",
        "quire feedback export --out pairs.jsonl",
        "quire feedback export --format kto > kto.jsonl",
    )
    commands = parser.add_subparsers(dest="what", required=True)
    export = commands.add_parser(
        "export", help="write the rows", description="Write thumbs and edits as training rows."
    )
    export.add_argument(
        "--format", choices=("pairs", "kto"), default="pairs", help="preference pairs (default) or KTO rows"
    )
    export.add_argument("--out", metavar="FILE", help="file to write (default: stdout)")
    export.add_argument(
        "--json", action="store_true", help="print one JSON object, with the rows where no file is named"
    )
    export.set_defaults(run=_feedback_export)
    return parser


def _feedback_export(args: argparse.Namespace) -> int:
    from pathlib import Path

    from assistant.conversations import feedback
    from assistant.conversations.history import History

    config, _ = load_config()
    kept = History(config.home).feedback()
    rows = list(feedback.preference_rows(kept) if args.format == "pairs" else feedback.kto_rows(kept))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if args.out:
        try:
            Path(args.out).write_text(text, encoding="utf-8")
        except OSError as exc:
            raise UsageError(f"cannot write {args.out}: {exc.strerror}", "choose another place") from exc
    if args.json:
        counts = {"format": args.format, "count": len(rows), "thumbs": len(kept), "out": args.out}
        _print_json(counts if args.out else counts | {"rows": rows})
        return 0
    if not args.out:
        print(text, end="")
    print(f"{pluralize(len(rows), 'row')} from {pluralize(len(kept), 'thumb')}", file=sys.stderr)
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
    "chat": _chat_parser,
    "models": _models_parser,
    "eval": _eval_parser,
    "feedback": _feedback_parser,
}
