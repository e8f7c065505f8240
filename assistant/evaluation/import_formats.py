"""Reads question sets and runs: FinanceBench, BEIR, RAGTruth, Ragas, DeepEval, and our own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from assistant.errors import QuestionsError
from assistant.evaluation.page_ids import page_id, page_of
from assistant.evaluation.questions import Notify, read_questions
from quire import pluralize


@dataclass(frozen=True)
class Sample:
    """One question with whatever a format has of it; "", () and None stand for what it does not have."""

    id: str
    question: str
    answer: str = ""  # expected
    question_type: str = ""
    evidence: tuple[tuple[str, int], ...] = ()  # (document, page), pages 1-based
    response: str = ""  # of a model
    contexts: tuple[tuple[str, str], ...] = ()  # (id, text) of what the model was given
    faithful: bool | None = None  # whether people found nothing unsupported in the response


def read_samples(path: Path, source: str, notify: Notify | None = None) -> list[Sample]:
    """Return the samples of a file or folder in the format `source`, one of READERS; raises QuestionsError.

    `notify` is told how many rows are left out, and why.
    """
    rows = list(READERS[source](path))
    samples = [sample for sample in rows if sample]
    if not samples:
        raise QuestionsError(f"{path} has no questions", f"give a file in the format {source}")
    if len(samples) < len(rows) and notify:
        notify(f"{pluralize(len(rows) - len(samples), 'row')} left out: {_LEFT_OUT[source]}")
    return samples


def _questions(path: Path) -> Iterator[Sample]:
    for question in read_questions(path):
        evidence = tuple((question.document, page) for page in question.pages)
        yield Sample(question.id, question.question, question.answer, question.question_type, evidence)


def _financebench(path: Path) -> Iterator[Sample | None]:
    """The open-source JSONL; `evidence_page_num` counts from 0."""

    def sample(row: dict[str, Any], _: str) -> Sample:
        evidence = tuple(
            (f"{item.get('doc_name') or row['doc_name']}.pdf", int(item["evidence_page_num"]) + 1)
            for item in row["evidence"]
        )
        return Sample(row["financebench_id"], row["question"], row["answer"], row.get("question_type") or "", evidence)

    return _samples(path, sample)


def _beir(folder: Path) -> Iterator[Sample | None]:
    """A folder with queries.jsonl and qrels/test.tsv (or the only .tsv of qrels); corpus ids must name pages."""
    evidence: dict[str, list[tuple[str, int]]] = {}
    for number, line in enumerate(_text(_qrels(folder)).split("\n"), 1):
        fields = line.split("\t")
        if number == 1 or not line.strip():  # the first line is the header
            continue
        page = page_of(fields[1]) if len(fields) == 3 else None
        if page is None:
            raise QuestionsError(
                f"{_qrels(folder)}, line {number}: {line!r} does not judge a page",
                "write query-id, corpus-id and score, with corpus ids such as report.pdf#p12",
            )
        if float(fields[2]) > 0:
            evidence.setdefault(unquote(fields[0]), []).append(page)

    def sample(row: dict[str, Any], _: str) -> Sample:
        query = unquote(str(row["_id"]))
        return Sample(query, row["text"], evidence=tuple(evidence.get(query, ())))

    return _samples(folder / "queries.jsonl", sample)


def _ragtruth(folder: Path) -> Iterator[Sample | None]:
    """A folder with response.jsonl and source_info.jsonl; answers to questions, faithful if no span is marked."""
    sources = {str(row["source_id"]): row for _, row in _rows(folder / "source_info.jsonl")}

    def sample(row: dict[str, Any], _: str) -> Sample | None:
        source = sources[str(row["source_id"])]
        if source["task_type"] != "QA":  # summaries and data-to-text have no question
            return None
        info = source["source_info"]
        contexts = tuple((str(n), text) for n, text in enumerate(_passages(info["passages"]), 1))
        return Sample(
            str(row["id"]),
            info["question"],
            response=row["response"],
            contexts=contexts,
            faithful=not row["labels"],
        )

    return _samples(folder / "response.jsonl", sample)


def _ragas(path: Path) -> Iterator[Sample | None]:
    def sample(row: dict[str, Any], default_id: str) -> Sample:
        ids = row.get("retrieved_context_ids") or [""] * len(row.get("retrieved_contexts") or [])
        pages = (page_of(str(item)) for item in row.get("reference_context_ids") or [])
        return Sample(
            str(row.get("id") or default_id),
            row["user_input"],
            row.get("reference") or "",
            evidence=tuple(page for page in pages if page),
            response=row.get("response") or "",
            contexts=tuple(zip(map(str, ids), row.get("retrieved_contexts") or [], strict=True)),
        )

    return _samples(path, sample)


def _deepeval(path: Path) -> Iterator[Sample | None]:
    def sample(row: dict[str, Any], default_id: str) -> Sample:
        return Sample(
            str(row.get("name") or default_id),
            row["input"],
            row.get("expected_output") or "",
            response=row.get("actual_output") or "",
            contexts=tuple(("", text) for text in row.get("retrieval_context") or []),
        )

    return _samples(path, sample)


def _answers(path: Path) -> Iterator[Sample | None]:
    """The answers.jsonl of `quire eval answers`, or its folder; unanswerable and failed questions are left out."""

    def sample(row: dict[str, Any], _: str) -> Sample | None:
        if not row["answerable"] or row["error"]:
            return None
        return Sample(
            row["id"],
            row["question"],
            row["expected"],
            evidence=tuple((item["document"], item["page"]) for item in row["evidence"]),
            response=row["answer"],
            contexts=tuple((page_id(item["document"], item["page"]), item["text"]) for item in row["passages"]),
        )

    from assistant.evaluation.runs import run_file  # imports numpy, which the command's parser does without

    return _samples(run_file(path), sample)


READERS: dict[str, Callable[[Path], Iterator[Sample | None]]] = {
    "questions": _questions,
    "answers": _answers,
    "financebench": _financebench,
    "beir": _beir,
    "ragtruth": _ragtruth,
    "ragas": _ragas,
    "deepeval": _deepeval,
}
_LEFT_OUT = {
    "answers": "an unanswerable question, one asked without its document, or one that failed",
    "ragtruth": "a task other than answering a question",
}


def _samples(path: Path, read: Callable[[dict[str, Any], str], Sample | None]) -> Iterator[Sample | None]:
    """Yield what `read` makes of each row, None for one to leave out; raises QuestionsError that names the row."""
    for number, row in _rows(path):
        try:
            sample = read(row, f"{path.stem}:{number}")
        except KeyError as exc:
            raise QuestionsError(f"{path}, row {number} has no {exc}", "check the format given with --from") from exc
        except (ValueError, TypeError, AttributeError) as exc:
            raise QuestionsError(f"{path}, row {number}: {exc}", "check the format given with --from") from exc
        yield sample


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON Lines file, or of a JSON list, with their number from 1."""
    text = _text(path)
    try:
        rows = json.loads(text) if text.lstrip().startswith("[") else _json_lines(text)
    except ValueError as exc:
        raise QuestionsError(f"{path} is not JSON: {exc}", "give JSON Lines, or a JSON list of objects") from exc
    yield from enumerate(rows, 1)


def _json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise QuestionsError(
            f"cannot read {path}: {reason}", "check the path and the format given with --from"
        ) from exc


def _qrels(folder: Path) -> Path:
    files = sorted((folder / "qrels").glob("*.tsv"))
    return files[0] if len(files) == 1 else folder / "qrels" / "test.tsv"


def _passages(text: str) -> list[str]:
    """Return the passages of RAGTruth, which numbers them in one text: `passage 1:...`."""
    return [part.strip() for part in re.split(r"passage \d+:", text) if part.strip()]
