"""The command `quire eval`: search and answers measured on a question file, and two runs compared."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.cli.evaluation_tables import print_differences, print_retrieval
from assistant.cli.flags import add_model_flags, read_configs
from assistant.cli.opening import load_or_pull
from assistant.cli.terminal import count_printer, print_notes, print_scores
from assistant.config import load_config as load_assistant_config
from assistant.evaluation.import_formats import READERS
from assistant.evaluation.minimum import Condition, failed_conditions, parse_condition
from ingest import add_library_flags, library_flags
from ingest import load_config as load_ingest_config
from quire import UsageError, add_json_flag, command_parser, pluralize, positive_int, print_json, strict_json

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
        "quire eval convert financebench.jsonl questions.jsonl --from financebench",
    )
    commands = parser.add_subparsers(metavar="retrieval|answers|compare|convert", required=True)

    retrieval = commands.add_parser(
        "retrieval",
        help="how often search finds the page with the evidence",
        description="Measure how often a page with the evidence is among the first k pages found.",
    )
    _add_question_set_flags(retrieval, "hit@5>=0.8")
    retrieval.add_argument("--trec", type=Path, metavar="DIR", help="write run.txt and qrels.txt for trec_eval to DIR")
    retrieval.set_defaults(run=_retrieval)

    answers = commands.add_parser(
        "answers",
        help="how often a model is right, cites the page, or refuses",
        description="Ask a model every question, and measure how often it is right, cites the page, or refuses.",
    )
    _add_question_set_flags(answers, "cited_page>=0.6")
    add_model_flags(answers)
    answers.add_argument("--judge", metavar="M", help="model that judges whether answers are correct and supported")
    answers.add_argument(
        "--document",
        default="",
        metavar="NAME",
        help="document of which unanswerable questions that name none are asked",
    )
    answers.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        metavar="N",
        help="questions that are asked at the same time (default 1)",
    )
    answers.add_argument("--limit", type=positive_int, metavar="N", help="only the first N questions")
    answers.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="lowest probability of the best page at which a question is answered",
    )
    answers.add_argument(
        "--no-unanswerable",
        action="store_true",
        help="do not ask each answerable question of all other documents too, where a refusal is right",
    )
    answers.add_argument(
        "--out",
        metavar="DIR",
        help="folder for answers.jsonl, summary.json and report.html; if it contains a run, that run is resumed "
        "(default: one folder for each configuration, in `evaluations` of the home folder)",
    )
    answers.set_defaults(run=_answers)

    compare = commands.add_parser(
        "compare",
        help="the difference between two runs",
        description="Print every score of run B minus that of run A, over the questions in both.",
    )
    compare.add_argument(
        "first", type=Path, metavar="A", help="folder or answers.jsonl of a run, or the saved JSON of `retrieval`"
    )
    compare.add_argument("second", type=Path, metavar="B", help="another run of the same kind")
    add_json_flag(compare)
    compare.set_defaults(run=_compare)
    _add_convert(commands)
    return parser


def _add_convert(commands: Any) -> None:
    convert = commands.add_parser(
        "convert",
        help="question sets and runs in the formats of other tools",
        description="Convert a question set or a run between our format and those of other tools.",
    )
    convert.add_argument("source", type=Path, metavar="IN", help="a file, or a folder for answers, beir and ragtruth")
    convert.add_argument(
        "target", type=Path, metavar="OUT", help="the file to write (again, if it exists), or the folder for beir"
    )
    convert.add_argument(
        "--from", choices=tuple(READERS), default="questions", dest="reader", help="format of IN (default questions)"
    )
    convert.add_argument(
        "--to",
        choices=("questions", "beir", "ragas", "deepeval"),
        default="questions",
        dest="writer",
        help="format of OUT (default questions)",
    )
    _add_pdfs_flag(convert)
    add_library_flags(convert)
    add_json_flag(convert)
    convert.set_defaults(run=_convert)


def _add_question_set_flags(parser: argparse.ArgumentParser, condition: str) -> None:
    parser.add_argument("questions", type=Path, nargs="+", metavar="QUESTIONS.jsonl", help="question files, as one set")
    _add_pdfs_flag(parser)
    parser.add_argument(
        "--scope",
        choices=("single", "shared"),
        default="single",
        help="search only the question's document, or all documents (default single)",
    )
    parser.add_argument(
        "--min",
        type=parse_condition,
        action="append",
        default=[],
        dest="conditions",
        metavar="SCORE>=X",
        help=f'exit with 1 if the mean of a score is lower, such as "{condition}", or higher ("<="); repeatable',
    )
    add_library_flags(parser)
    add_json_flag(parser)


def _add_pdfs_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pdfs",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of the documents, repeatable; ingested on first use, and again when they change",
    )


def _retrieval(args: argparse.Namespace) -> int:
    from assistant.evaluation.corpus import open_corpus
    from assistant.evaluation.identity import ANSWER_CODE, code_hash
    from assistant.evaluation.questions import read_question_files
    from assistant.evaluation.rankings import rank_questions
    from assistant.evaluation.retrieval_metrics import METRICS, summarize_retrieval
    from assistant.evaluation.trec import write_trec
    from assistant.retrieval.reranker import load_reranker

    _check_scores(args.conditions, METRICS)
    _check_library(args)
    config, _ = load_ingest_config(flags=library_flags(args))
    assistant_config, _ = load_assistant_config()
    questions = read_question_files(args.questions, print_notes)
    if args.trec:
        args.trec.mkdir(parents=True, exist_ok=True)  # an unusable folder is refused before the work
    progress = count_printer()
    with open_corpus(config, args.pdfs, progress, print_notes) as library:
        reranker = load_reranker(assistant_config)
        rankings = rank_questions(library, questions, scope=args.scope, progress=progress, reranker=reranker)
        identity = library.store.identity()
        embedder = identity.embedder if identity else ""
        result = summarize_retrieval(rankings, scope=args.scope, store=config.store, embedder=embedder)
        if args.trec:
            names = {document.id: document.name for document in library.store.documents()}
            write_trec(args.trec, rankings, names, f"quire-{args.scope}")
            print_notes(f"run.txt and qrels.txt are in {args.trec}")
    result["reranker"] = assistant_config.reranker
    result["library"] = library.name
    result["code_hash"] = code_hash(ANSWER_CODE)
    result["without_evidence"] = len(questions) - len(rankings)
    if args.json:
        print_json(result)
    else:
        print_retrieval(result)
    return _condition_exit_code(args.conditions, result["scores"])


def _check_scores(conditions: Sequence[Condition], metrics: Mapping[str, str]) -> None:
    """Raise UsageError for a condition on a score that the command does not measure."""
    unknown = next((condition.score for condition in conditions if condition.score not in metrics), None)
    if unknown:
        raise UsageError(f"--min names no score: {unknown}", f"use one of {', '.join(metrics)}")


def _check_library(args: argparse.Namespace) -> None:
    if args.library and args.pdfs:
        raise UsageError("--library and --pdfs name two libraries", "give one of them")


def _condition_exit_code(conditions: Sequence[Condition], scores: Mapping[str, Mapping[str, Any]]) -> int:
    """Print the conditions that are not met, and return 1 if there is one, else 0."""
    failed = failed_conditions(conditions, scores)
    for sentence in failed:
        print(sentence, file=sys.stderr)
    return 1 if failed else 0


def _answers(args: argparse.Namespace) -> int:
    from assistant.evaluation.answer_metrics import METRICS
    from assistant.evaluation.answers import run_answers
    from assistant.evaluation.corpus import open_corpus
    from assistant.evaluation.questions import read_question_files
    from assistant.evaluation.report import write_report
    from assistant.evaluation.runs import summarize_run
    from assistant.llm.available import choose_model

    _check_scores(args.conditions, METRICS)
    _check_library(args)
    if args.judge == "quotes":
        raise UsageError("quotes cannot judge answers: it is not a language model", "name one: --judge ollama:NAME")
    ingest_config, config = read_configs(args)
    questions = read_question_files(args.questions, print_notes)[: args.limit]
    name, notice = choose_model(config)
    model = load_or_pull(name, config, pull=args.pull)
    judge = load_or_pull(args.judge, config, pull=args.pull) if args.judge else None
    print_notes(notice)
    progress = count_printer()
    with open_corpus(ingest_config, args.pdfs, progress, print_notes) as library:
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
            document=args.document,
            workers=args.workers,
            progress=progress,
            notify=print_notes,
        )
        result = summarize_run(rows) | {"out": str(folder)}
        write_report(folder / "report.html", result, rows, library.store)
    (folder / "summary.json").write_text(strict_json(result, indent=2) + "\n", encoding="utf-8")
    if args.json:
        print_json(result)
    else:
        _print_summary(result)
    everything_failed = result["failed"] == len(rows)
    return 1 if everything_failed else _condition_exit_code(args.conditions, result["scores"])


def _print_summary(result: dict[str, Any]) -> None:
    from assistant.evaluation.runs import threshold_sentence

    questions = pluralize(result["questions"], "question")
    unanswerable = pluralize(result["unanswerable"] - result["without_document"], "unanswerable one")
    print(
        f"{result['model']}: {questions}, {result['without_document']} asked again without their document, "
        f"{unanswerable}, scope {result['scope']}"
    )
    if result["failed"]:
        failed = pluralize(result["failed"], "question")
        print_notes(f"{failed} failed and will be asked again by the same command, first {result['first_error']}")
    print_scores(result["scores"])
    print(threshold_sentence(result["threshold"]))
    if result["judge_failures"] is not None:
        print(
            f"the judge {result['judge']} gave no verdict on {result['judge_failures']:.1%} of the answers: "
            f"{result['judge_malformed']} malformed, {pluralize(result['judge_errors'], 'error')}"
        )
    print(f"answers.jsonl, summary.json and report.html are in {result['out']}", file=sys.stderr)


def _compare(args: argparse.Namespace) -> int:
    from assistant.evaluation.comparison import compare_runs

    result = compare_runs(args.first, args.second)
    if args.json:
        print_json(result)
        return 0
    count = pluralize(result["questions"], "question")
    print(f"({result['second']}) minus ({result['first']}), {count} in both runs")
    for name, text in (
        ("changed_questions", "have another text"),
        ("only_in_first", "only in A"),
        ("only_in_second", "only in B"),
    ):
        if result[name]:
            print(f"left out: {pluralize(result[name], 'question')}, {text}")
    print_differences(result["differences"])
    return 0


def _convert(args: argparse.Namespace) -> int:
    from assistant.evaluation import export_formats
    from assistant.evaluation.corpus import open_corpus
    from assistant.evaluation.import_formats import read_samples

    if args.target.resolve() == args.source.resolve():
        raise UsageError(f"OUT is IN: {args.target}", "name another file to write")
    _check_library(args)
    notices: list[str] = []
    samples = read_samples(args.source, args.reader, notices.append)
    if args.writer == "beir":
        config, _ = load_ingest_config(flags=library_flags(args))
        with open_corpus(config, args.pdfs, count_printer(), print_notes) as library:
            notices += export_formats.write_beir(args.target, samples, library)
    else:
        write = {
            "questions": export_formats.write_questions,
            "ragas": export_formats.write_ragas,
            "deepeval": export_formats.write_deepeval,
        }[args.writer]
        notices += write(args.target, samples)
    if args.json:
        print_json({"questions": len(samples), "out": str(args.target), "notices": notices})
        return 0
    print_notes(*notices)
    print(f"{pluralize(len(samples), 'question')} written to {args.target}")
    return 0


def _default_folder(
    args: argparse.Namespace, library: Library, model: Model, config: AssistantConfig, judge: Model | None
) -> Path:
    """Return a folder of this configuration alone, so that another one never finds its rows there."""
    from assistant.evaluation.identity import run_settings

    settings = run_settings(library, model, config, scope=args.scope, judge=judge)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    name = _slug(f"{args.questions[0].stem}-{model.name}-{args.scope}")
    return config.home / "evaluations" / f"{name}-{digest}"


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[:100]
