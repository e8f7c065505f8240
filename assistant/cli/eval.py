"""The command `quire eval`: search and answers measured on a question file, and two runs compared."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.cli.flags import add_model_flags, read_configs
from assistant.cli.opening import load_or_pull
from assistant.cli.terminal import print_count, print_notes, print_scores
from ingest import add_library_flags, library_flags
from ingest import load_config as load_ingest_config
from quire import UsageError, add_json_flag, command_parser, pluralize, positive_int, print_json

if TYPE_CHECKING:
    from assistant.config import AssistantConfig
    from assistant.llm.model import Model
    from ingest import Library


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = command_parser(
        "eval",
        "Measure search or answers with a question file: JSON Lines with id, document, question, answer and evidence pages.",
        "quire eval retrieval questions.jsonl --pdfs reports --scope shared",
        "quire eval answers questions.jsonl --pdfs reports --model quotes",
        "quire eval compare first/answers.jsonl second/answers.jsonl",
    )
    commands = parser.add_subparsers(metavar="retrieval|answers|compare", required=True)

    retrieval = commands.add_parser(
        "retrieval",
        help="how often search finds the page with the evidence",
        description="Measure how often a page with the evidence is among the first k pages found.",
    )
    _add_question_set_flags(retrieval)
    retrieval.set_defaults(run=_retrieval)

    answers = commands.add_parser(
        "answers",
        help="how often a model is right, cites the page, or refuses",
        description="Ask a model every question, and measure how often it is right, cites the page, or refuses.",
    )
    _add_question_set_flags(answers)
    add_model_flags(answers)
    answers.add_argument("--judge", metavar="M", help="model that judges whether answers are correct and supported")
    answers.add_argument("--limit", type=positive_int, metavar="N", help="only the first N questions")
    answers.add_argument(
        "--threshold", type=float, metavar="X", help="lowest score at which a passage counts as evidence"
    )
    answers.add_argument(
        "--no-unanswerable",
        action="store_true",
        help="do not test refusals with questions that the documents cannot answer",
    )
    answers.add_argument(
        "--out",
        metavar="DIR",
        help="folder for answers.jsonl and report.html; if it contains a run, that run is resumed",
    )
    answers.set_defaults(run=_answers)

    compare = commands.add_parser(
        "compare",
        help="the difference between two runs of `answers`",
        description="Print every score of run B minus that of run A, over the questions in both.",
    )
    compare.add_argument("first", type=Path, metavar="A", help="folder or answers.jsonl of a run")
    compare.add_argument("second", type=Path, metavar="B", help="folder or answers.jsonl of another run")
    add_json_flag(compare)
    compare.set_defaults(run=_compare)
    return parser


def _add_question_set_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("questions", type=Path, metavar="QUESTIONS.jsonl", help="the question file")
    parser.add_argument(
        "--pdfs", metavar="DIR", help="folder of the documents; ingested on first use, and again when they change"
    )
    parser.add_argument(
        "--scope",
        choices=("single", "shared"),
        default="single",
        help="search only the question's document, or all documents (default single)",
    )
    add_library_flags(parser)
    add_json_flag(parser)


def _retrieval(args: argparse.Namespace) -> int:
    from assistant.evaluation.corpus import open_corpus
    from assistant.evaluation.questions import read_questions
    from assistant.evaluation.retrieval_metrics import evaluate_retrieval

    config, _ = load_ingest_config(flags=library_flags(args))
    questions = read_questions(args.questions)
    progress = None if args.json else print_count
    with open_corpus(config, Path(args.pdfs) if args.pdfs else None, progress, print_notes) as library:
        result = evaluate_retrieval(library, questions, scope=args.scope, store=config.store, progress=progress)
    if args.json:
        print_json(result)
        return 0
    hits = "  ".join(f"hit@{k} {share:.3f}" for k, share in result["hit"].items())
    times = f"p50 {result['milliseconds_p50']} ms, p95 {result['milliseconds_p95']} ms, {result['seconds']} s in total"
    count = pluralize(result["questions"], "question")
    print(f"{count}, scope {result['scope']}, {result['store']}, {result['embedder']}")
    print(f"{hits}  mrr {result['mrr']:.3f}")
    print(f"search {times}")
    return 0


def _answers(args: argparse.Namespace) -> int:
    from assistant.evaluation.answers import run_answers
    from assistant.evaluation.corpus import open_corpus
    from assistant.evaluation.questions import read_questions
    from assistant.evaluation.report import write_report
    from assistant.evaluation.runs import summarize_run
    from assistant.llm.available import choose_model

    if args.judge == "quotes":
        raise UsageError("quotes cannot judge answers: it is not a language model", "name one: --judge ollama:NAME")
    ingest_config, config = read_configs(args)
    questions = read_questions(args.questions)[: args.limit]
    name, notice = choose_model(config)
    model = load_or_pull(name, config, pull=args.pull)
    judge = load_or_pull(args.judge, config, pull=args.pull) if args.judge else None
    print_notes(notice)
    progress = None if args.json else print_count
    with open_corpus(ingest_config, Path(args.pdfs) if args.pdfs else None, progress, print_notes) as library:
        folder = Path(args.out) if args.out else _default_folder(args, library, model, config, judge)
        rows = run_answers(
            library,
            questions,
            model,
            config,
            folder / "answers.jsonl",
            scope=args.scope,
            judge=judge,
            unanswerable=not args.no_unanswerable,
            progress=progress,
            notify=print_notes,
        )
        result = summarize_run(rows) | {"out": str(folder)}
        write_report(folder / "report.html", result, rows, library.store)
    (folder / "summary.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if args.json:
        print_json(result)
    else:
        _print_summary(result)
    return 0


def _print_summary(result: dict[str, Any]) -> None:
    from assistant.evaluation.runs import threshold_sentence

    questions = pluralize(result["questions"], "question")
    unanswerable = pluralize(result["unanswerable"], "unanswerable one")
    print(f"{result['model']}: {questions} and {unanswerable}, scope {result['scope']}")
    print_scores(result["scores"])
    print(threshold_sentence(result["threshold"]))
    if result["judge_failures"] is not None:
        print(f"the judge {result['judge']} gave no verdict on {result['judge_failures']:.1%} of the answers")
    print(f"answers.jsonl, summary.json and report.html are in {result['out']}", file=sys.stderr)


def _compare(args: argparse.Namespace) -> int:
    from assistant.evaluation.runs import compare_runs

    result = compare_runs(_answers_file(args.first), _answers_file(args.second))
    if args.json:
        print_json(result)
        return 0
    count = pluralize(result["questions"], "question")
    print(f"({result['second']}) minus ({result['first']}), {count} in both runs")
    print_scores(result["differences"])
    return 0


def _answers_file(path: Path) -> Path:
    return path / "answers.jsonl" if path.is_dir() else path


def _default_folder(
    args: argparse.Namespace, library: Library, model: Model, config: AssistantConfig, judge: Model | None
) -> Path:
    """Return a folder of this configuration alone, so that another one never finds its rows there."""
    from assistant.evaluation.identity import run_settings

    settings = run_settings(library, model, config, scope=args.scope, judge=judge)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    name = _slug(f"{args.questions.stem}-{model.name}-{args.scope}")
    return config.home / "evaluations" / f"{name}-{digest}"


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[:100]
