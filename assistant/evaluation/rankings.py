"""The pages that search finds for each question of a set, best first, and how long each search took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.errors import QuestionsError
from assistant.evaluation.corpus import ReportProgress, document_ids
from assistant.evaluation.questions import Question
from assistant.retrieval.search import PassageOrder, search
from ingest import Library

MAX_RANK = 50  # pages searched for each question; an evidence page beyond them counts as not found

PageKey = tuple[str, int]  # (document id, page)


@dataclass(frozen=True)
class Ranking:
    """What search found for one question."""

    question: Question
    evidence: frozenset[PageKey]
    pages: tuple[PageKey, ...]  # found, best first
    seconds: float

    @property
    def ranks(self) -> list[int | None]:
        """Return the rank of each evidence page, first found first, None for a page that was not found."""
        found: list[int | None] = [rank for rank, page in enumerate(self.pages, 1) if page in self.evidence]
        return found + [None] * (len(self.evidence) - len(found))


def rank_questions(
    library: Library,
    questions: Sequence[Question],
    *,
    scope: str,
    progress: ReportProgress | None = None,
    reranker: PassageOrder | None = None,
) -> list[Ranking]:
    """Search the pages of every question that names evidence pages.

    `scope` is "single" (search only the question's document) or "shared" (search all). Raises QuestionsError if no
    question names an evidence page, and for what `document_ids` refuses.
    """
    asked = [question for question in questions if question.pages]
    if not asked:
        raise QuestionsError("no question names an evidence page", 'add "evidence": [{"page": 12}]')
    ids = document_ids(library, asked)
    rankings = []
    for done, question in enumerate(asked, 1):
        document_id = ids[question.document]
        started = time.monotonic()
        documents = [document_id] if scope == "single" else None
        passages = search(
            library.store, library.embedder, question.question, k=MAX_RANK, documents=documents, reranker=reranker
        )
        seconds = time.monotonic() - started
        rankings.append(
            Ranking(
                question,
                frozenset((document_id, page) for page in question.pages),
                tuple((passage.document_id, passage.page) for passage in passages),
                seconds,
            )
        )
        if progress:
            progress(done, len(asked), question.id)
    return rankings
