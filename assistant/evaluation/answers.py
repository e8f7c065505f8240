"""Asks a model every question of a file and scores the answers, one row each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.answering.agent import Agent
from assistant.config import AssistantConfig
from assistant.evaluation.answer_metrics import answer_metrics
from assistant.evaluation.corpus import Notify, ReportProgress, document_ids
from assistant.evaluation.identity import question_hash, run_settings
from assistant.evaluation.judge import judge_answer
from assistant.evaluation.questions import Question
from assistant.evaluation.runs import Row, resume_run, row_line
from assistant.retrieval.search import search
from ingest import Library
from quire import pluralize

if TYPE_CHECKING:
    from assistant.llm.model import Model


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
    progress: ReportProgress | None = None,
    notify: Notify | None = None,
) -> list[Row]:
    """Ask every question and append its row to `path`; rows of the same questions are not asked again.

    `scope` is "single" (ask only the question's document) or "shared" (ask all). With `unanswerable`, each question
    whose document is in the library is also asked of all other documents, where a refusal is right. Raises
    AssistantError if `path` contains a run of another configuration; `notify` is told how many rows are reused.
    """
    agent = Agent(config, model, library.store, library.embedder)
    jobs = list(_jobs(library, questions, scope=scope, unanswerable=unanswerable))
    settings = run_settings(library, model, config, scope=scope, judge=judge)
    rows = {
        (row["id"], row["answerable"]): row
        for row in resume_run(path, settings, {job.key: job.question_hash for job in jobs})
    }
    reused = sum(job.key in rows for job in jobs)
    if reused and notify:
        notify(
            f"{reused} of {pluralize(len(jobs), 'answer')} are those of {path}: same question, documents, settings and code"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for done, job in enumerate(jobs, 1):
            if job.key not in rows:
                rows[job.key] = _answer(agent, library, job, judge) | settings
                file.write(row_line(rows[job.key]))
                file.flush()
            if progress:
                progress(done, len(jobs), job.question.id)
    return [rows[job.key] for job in jobs]


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


def _jobs(library: Library, questions: Sequence[Question], *, scope: str, unanswerable: bool) -> Iterator[_Job]:
    ids = document_ids(library, questions)
    all_ids = [document.id for document in library.store.documents()]
    for question in questions:
        own_id = ids.get(question.document)
        yield _Job(question, True, [own_id] if scope == "single" and own_id else None, own_id)
        other_ids = [document_id for document_id in all_ids if document_id != own_id]
        if unanswerable and own_id and other_ids:
            yield _Job(question, False, other_ids, own_id)


def _answer(agent: Agent, library: Library, job: _Job, judge: Model | None) -> Row:
    question = job.question
    found = search(library.store, library.embedder, question.question, k=agent.config.passages, documents=job.documents)
    answer = agent.ask(question.question, documents=job.documents)
    return {
        "id": question.id,
        "answerable": job.answerable,
        "document": question.document,
        "question_hash": job.question_hash,
        "question": question.question,
        "expected": question.answer,
        "answer": answer.text,
        "best_score": round(max((passage.score for passage in found), default=0.0), 4),
        "evidence": [{"document": question.document, "page": page} for page in question.pages],
        "citations": [citation.as_dict() for citation in answer.citations],
        "notices": list(answer.notices),
        **judge_answer(judge, question, answer, answerable=job.answerable),
        **answer_metrics(library.store, question, answer, answerable=job.answerable, document_id=job.document_id),
    }
