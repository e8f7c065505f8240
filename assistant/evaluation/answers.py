"""Asks a model every question of a file and scores the answers, one row each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.answering.agent import Agent
from assistant.config import AssistantConfig
from assistant.evaluation.answer_metrics import METRICS, answer_metrics
from assistant.evaluation.corpus import ReportProgress, document_ids
from assistant.evaluation.identity import question_hash, run_settings
from assistant.evaluation.judge import NO_VERDICT, judge_answer
from assistant.evaluation.questions import Notify, Question
from assistant.evaluation.runs import Row, resume_run, row_line
from assistant.retrieval.reranker import load_reranker
from assistant.retrieval.search import search
from ingest import Library
from quire import pluralize

if TYPE_CHECKING:
    from assistant.llm.model import Model

logger = logging.getLogger(__name__)


def run_answers(
    library: Library,
    questions: Sequence[Question],
    model: Model,
    config: AssistantConfig,
    path: Path,
    *,
    scope: str,
    judge: Model | None = None,
    unanswerable: bool = True,
    document: str = "",
    workers: int = 1,
    progress: ReportProgress | None = None,
    notify: Notify | None = None,
) -> list[Row]:
    """Ask every question and append its row to `path`; rows of the same questions are not asked again.

    `scope` is "single" (ask only the question's document) or "shared" (ask all). A question with neither evidence nor
    an answer is unanswerable: it is asked of its own document, else of `document`. With `unanswerable`, each other
    question whose document is in the library is also asked of all other documents, where a refusal is right. A question
    that fails gets a row with its error, and is asked again by the next run. Raises AssistantError if `path` contains a
    run of another configuration; `notify` is told how many rows are reused, and which questions have no other documents.
    """
    agent = Agent(config, model, library.store, library.embedder)
    jobs = list(_jobs(library, questions, scope=scope, unanswerable=unanswerable, document=document))
    settings = run_settings(library, model, config, scope=scope, judge=judge)
    rows = {
        (row["id"], row["answerable"]): row
        for row in resume_run(path, settings, {job.key: job.question_hash for job in jobs})
    }
    reused = sum(job.key in rows for job in jobs)
    if reused and notify:
        notify(
            f"used again from {path}: {reused} of {pluralize(len(jobs), 'answer')}, of the same question, documents, settings and code"
        )
    alone = len(
        {job.question.id for job in jobs if job.document_id} - {job.question.id for job in jobs if not job.answerable}
    )
    if unanswerable and alone and notify:
        notify(f"{pluralize(alone, 'question')} could not be asked without the document: the library has no other one")
    path.parent.mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if job.key not in rows]
    with path.open("a", encoding="utf-8") as file:
        asked = _in_parallel(lambda job: _row(agent, library, job, judge) | settings, missing, workers)
        for done, (job, row) in enumerate(asked, len(jobs) - len(missing) + 1):
            rows[job.key] = row
            file.write(row_line(row))
            file.flush()
            if progress:
                progress(done, len(jobs), job.question.id)
    return [rows[job.key] for job in jobs]


def _in_parallel(ask: Callable[[_Job], Row], jobs: Sequence[_Job], workers: int) -> Iterator[tuple[_Job, Row]]:
    """Yield each job with its row as soon as it is done; leaving early starts no further job."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {pool.submit(ask, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# the fields of a row that no score is in, for a question that failed
_NO_RESULT = {
    "answer": "",
    "raw": "",
    "mode": "",
    "best_score": None,
    "passages": [],
    "citations": [],
    "notices": [],
    **NO_VERDICT,
}


@dataclass(frozen=True)
class _Job:
    """One question to ask: `documents` are the ids of the documents it is asked of, None means all."""

    question: Question
    answerable: bool
    documents: list[str] | None
    document_id: str | None  # of the question's own document, None if it names none

    @property
    def question_hash(self) -> str:
        return question_hash(self.question, self.documents)

    @property
    def key(self) -> tuple[str, bool]:
        return (self.question.id, self.answerable)


def _jobs(
    library: Library, questions: Sequence[Question], *, scope: str, unanswerable: bool, document: str
) -> Iterator[_Job]:
    questions = [
        replace(question, document=question.document or document) if question.unanswerable else question
        for question in questions
    ]
    ids = document_ids(library, questions)
    hashes = {document.id: document.sha256 for document in library.store.documents()}
    for question in questions:
        own_id = ids.get(question.document)
        if question.unanswerable:
            yield _Job(question, False, [own_id] if own_id else None, own_id)
            continue
        yield _Job(question, True, [own_id] if scope == "single" and own_id else None, own_id)
        other_ids = [other for other, sha256 in hashes.items() if own_id and sha256 != hashes[own_id]]  # not its copies
        if unanswerable and other_ids:
            yield _Job(question, False, other_ids, own_id)


def _row(agent: Agent, library: Library, job: _Job, judge: Model | None) -> Row:
    """Return the row of a question, or one with the error that it ended in: one failure must not end a run."""
    try:
        return _answer(agent, library, job, judge)
    except Exception as exc:  # every library of models has errors of its own
        logger.debug("question %s failed", job.question.id, exc_info=True)
        return _asked(job) | _NO_RESULT | dict.fromkeys(METRICS) | {"error": f"{type(exc).__name__}: {exc}"}


def _asked(job: _Job) -> dict[str, Any]:
    question = job.question
    return {
        "id": question.id,
        "answerable": job.answerable,
        "document": question.document,
        "question_type": question.question_type,
        "question_hash": job.question_hash,
        "question": question.question,
        "expected": question.answer,
        "evidence": [{"document": question.document, "page": page} for page in question.pages],
    }


def _answer(agent: Agent, library: Library, job: _Job, judge: Model | None) -> Row:
    question = job.question
    found = search(
        library.store,
        library.embedder,
        question.question,
        k=agent.config.passages,
        documents=job.documents,
        reranker=load_reranker(agent.config),
    )
    answer = agent.ask(question.question, documents=job.documents)
    return {
        **_asked(job),
        "error": "",
        "answer": answer.text,
        "raw": answer.raw,
        "mode": answer.mode,  # "quotes" for a model that gave no usable answer
        "best_score": round(max((passage.score for passage in found), default=0.0), 4),
        "passages": [{"document": p.document, "page": p.page, "text": p.text} for p in answer.passages],
        "citations": [citation.as_dict() for citation in answer.citations],
        "notices": list(answer.notices),
        **judge_answer(judge, question, answer, answerable=job.answerable),
        **answer_metrics(question, answer, answerable=job.answerable, document_id=job.document_id),
    }
