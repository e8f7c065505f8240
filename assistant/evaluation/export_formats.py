"""Writes samples as a question file, and in the formats of BEIR, Ragas and DeepEval."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from assistant.errors import QuestionsError
from assistant.evaluation.import_formats import Sample
from assistant.evaluation.page_ids import encoded, page_id
from assistant.retrieval.search import page_text
from ingest import Library
from quire import pluralize, write_atomically


def write_questions(path: Path, samples: Sequence[Sample]) -> list[str]:
    """Write a question file, and return a sentence for each thing that it cannot hold.

    A question has one document: evidence in others than the first one is left out.
    """
    rows, elsewhere, without = [], 0, 0
    for sample in samples:
        row: dict[str, Any] = {"id": sample.id, "question": sample.question, "answer": sample.answer}
        if sample.question_type:
            row["question_type"] = sample.question_type
        if sample.evidence:
            document = row["document"] = sample.evidence[0][0]
            pages = dict.fromkeys(page for name, page in sample.evidence if name == document)
            row["evidence"] = [{"page": page} for page in pages]
            elsewhere += any(name != document for name, _ in sample.evidence)
        else:
            without += 1
        rows.append(row)
    _write_lines(path, rows)
    notes = []
    if elsewhere:
        notes.append(f"{pluralize(elsewhere, 'question')} lost evidence in a second document")
    if without:
        notes.append(f"{pluralize(without, 'question')} without evidence pages")
    return notes


def write_ragas(path: Path, samples: Sequence[Sample]) -> list[str]:
    """Write JSON Lines of Ragas' SingleTurnSample, with the human verdict `faithful` where there is one."""
    _write_lines(
        path,
        [
            {
                "id": sample.id,
                "user_input": sample.question,
                "retrieved_contexts": [text for _, text in sample.contexts],
                "retrieved_context_ids": [name for name, _ in sample.contexts],
                "reference_context_ids": [page_id(name, page) for name, page in sample.evidence],
                "response": sample.response,
                "reference": sample.answer,
                **({} if sample.faithful is None else {"faithful": sample.faithful}),
            }
            for sample in samples
        ],
    )
    return _without_response(samples)


def write_deepeval(path: Path, samples: Sequence[Sample]) -> list[str]:
    """Write JSON Lines of DeepEval's test cases."""
    _write_lines(
        path,
        [
            {
                "name": sample.id,
                "input": sample.question,
                "actual_output": sample.response,
                "expected_output": sample.answer,
                "retrieval_context": [text for _, text in sample.contexts],
            }
            for sample in samples
        ],
    )
    return _without_response(samples)


def write_beir(folder: Path, samples: Sequence[Sample], library: Library) -> list[str]:
    """Write corpus.jsonl (every page of the library), queries.jsonl and qrels/test.tsv.

    Raises QuestionsError if a question's evidence page is not in the library.
    """
    corpus = {row["_id"]: row for row in _pages(library)}
    qrels = ["query-id\tcorpus-id\tscore\n"]
    for sample in samples:
        for name, page in dict.fromkeys(sample.evidence):
            key = page_id(name, page)
            if key not in corpus:
                raise QuestionsError(
                    f"question {sample.id}: page {page} of {name} has no text in the library",
                    "give the folder of the documents with --pdfs",
                )
            qrels.append(f"{encoded(sample.id)}\t{key}\t1\n")
    _write_lines(folder / "corpus.jsonl", corpus.values())
    _write_lines(folder / "queries.jsonl", [{"_id": encoded(sample.id), "text": sample.question} for sample in samples])
    write_atomically(folder / "qrels" / "test.tsv", "".join(qrels))
    notes = []
    if answers := sum(bool(sample.answer) for sample in samples):
        notes.append(f"{pluralize(answers, 'answer')} left out: BEIR has no place for them")
    if without := sum(not sample.evidence for sample in samples):
        notes.append(f"{pluralize(without, 'question')} without evidence pages")
    return notes


def _pages(library: Library) -> Iterator[dict[str, str]]:
    """Yield every page that has text, as a document of BEIR."""
    for document in library.store.documents():
        keys = [(document.id, page) for page in range(1, document.pages + 1)]
        for (_, page), chunks in library.store.page_chunks(keys).items():
            if chunks:
                name = Path(document.name).name
                yield {"_id": page_id(name, page), "title": document.title, "text": page_text(chunks)}


def _without_response(samples: Sequence[Sample]) -> list[str]:
    count = sum(not sample.response for sample in samples)
    return [f"{pluralize(count, 'question')} without an answer of a model"] if count else []


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
