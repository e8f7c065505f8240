"""The yardstick: runs a question file through retrieval or through a model and keeps one line a question."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.answering.agent import Agent, Answer
from assistant.config import AssistantConfig
from assistant.errors import AssistantError, QuestionsError
from assistant.evaluation import judge as judges
from assistant.evaluation.scores import mean, numeric_match, paired_difference
from assistant.retrieval.search import search, whole_page
from ingest import IngestConfig, Library, open_library
from quire import pluralize

if TYPE_CHECKING:
    from assistant.llm import Model

DEPTHS = (1, 3, 5, 10)
SCOPES = ("single", "shared")
_DEEPEST = 50  # pages looked at for the reciprocal rank
Progress = Callable[[int, int, str], None]  # done, in all, what


@dataclass(frozen=True)
class Question:
    """One line of a question file; `pages` are (1-based) evidence pages of `document`."""

    id: str
    document: str
    question: str
    answer: str
    pages: tuple[int, ...]


def read_questions(path: Path) -> list[Question]:
    """Return the questions of a JSONL file; raises QuestionsError with the line that cannot be used."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would cut at U+2028 too
    except (OSError, UnicodeDecodeError) as exc:
        raise QuestionsError(f"cannot read {path}: {exc}", "give a JSONL file of questions") from exc
    questions = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            questions.append(
                Question(
                    str(row.get("id") or number),
                    str(row.get("document") or ""),
                    str(row["question"]),
                    str(row.get("answer") or ""),
                    tuple(int(evidence["page"]) for evidence in row.get("evidence") or []),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise QuestionsError(
                f"{path}, line {number}: {type(exc).__name__}: {exc}",
                'each line is {"id", "document", "question", "answer", "evidence": [{"page"}]}',
            ) from exc
    if not questions:
        raise QuestionsError(f"{path} holds no question", "give a JSONL file with one question a line")
    return questions


@contextmanager
def library_of(config: IngestConfig, pdfs: Path | None, progress: Progress | None = None) -> Iterator[Library]:
    """Open the library of a folder of PDFs, ingested once and named by its content; None means the library that is set."""
    if pdfs is None:
        with open_library(config) as library:
            yield library
        return
    files = sorted(path for path in pdfs.rglob("*") if path.suffix.lower() == ".pdf" and path.is_file())
    if not files:
        raise QuestionsError(f"{pdfs} holds no PDF", "give the folder that holds the questions' documents")
    config = replace(config, library=_library_name(config, files))
    if not _complete(config, len(files)):
        from ingest import ingest

        report = ingest(
            [str(pdfs)],
            config,
            progress=(lambda p: progress(p.documents_done, p.documents_total, f"{p.stage} {p.document}"))
            if progress
            else None,
        )
        if report.failed:
            failed = report.failed[0]
            raise QuestionsError(
                f"{len(report.failed)} of {len(files)} PDFs were not ingested, first {failed.document}: {failed.reason}",
                "take them out of the folder, or mend them",
            )
    with open_library(config) as library:
        yield library


def retrieval(
    library: Library, questions: Sequence[Question], *, scope: str, store: str, progress: Progress | None = None
) -> dict[str, Any]:
    """Return hit@1/3/5/10 and the mean reciprocal rank of the evidence pages, over distinct (document, page) pairs."""
    started = time.monotonic()
    usable = [question for question in questions if question.pages]
    if not usable:
        raise QuestionsError("no question names an evidence page", 'add "evidence": [{"page": 12}]')
    ids = _document_ids(library, usable)
    ranks: list[int | None] = []
    took: list[float] = []
    for done, question in enumerate(usable, 1):
        began = time.monotonic()
        documents = [ids[question.document]] if scope == "single" else None
        passages = search(library.store, library.embedder, question.question, k=_DEEPEST, documents=documents)
        took.append(time.monotonic() - began)
        wanted = {(ids[question.document], page) for page in question.pages}
        ranks.append(next((p.rank for p in passages if (p.document_id, p.page) in wanted), None))
        if progress:
            progress(done, len(usable), question.id)
    identity = library.store.identity()
    return {
        "questions": len(usable),
        "scope": scope,
        "store": store,
        "embedder": identity.embedder if identity else "",
        "hit": {str(k): round(sum(r is not None and r <= k for r in ranks) / len(ranks), 4) for k in DEPTHS},
        "mrr": round(sum(1 / r for r in ranks if r is not None) / len(ranks), 4),
        "seconds": round(time.monotonic() - started, 3),
        "milliseconds_p50": round(1000 * _at_rank(took, 0.5), 2),
        "milliseconds_p95": round(1000 * _at_rank(took, 0.95), 2),
        "ranks": {question.id: rank for question, rank in zip(usable, ranks, strict=True)},
    }


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
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Ask every question and keep one line each in `path`; lines that are there already are not asked again.

    With `unanswerable`, each question whose document is in the library is asked a second time of all the others,
    where a refusal is the right answer.
    """
    agent = Agent(config, model, library.store, library.embedder)
    ids = _document_ids(library, questions)
    everything = [document.id for document in library.store.documents()]
    jobs: list[tuple[Question, bool, list[str] | None]] = []
    for question in questions:
        own = ids.get(question.document)
        jobs.append((question, True, [own] if scope == "single" and own else None))
        others = [document for document in everything if document != own]
        if unanswerable and own and others:
            jobs.append((question, False, others))
    settings = {
        "model": model.name,
        "scope": scope,
        "judge": judge.name if judge else "",
        "threshold": config.threshold,
    }
    rows = {(row["id"], row["answerable"]): row for row in _rows_before(path, settings)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for done, (question, answerable, documents) in enumerate(jobs, 1):
            if (question.id, answerable) not in rows:
                row = (
                    _one(agent, library, question, answerable, documents, judge, ids.get(question.document)) | settings
                )
                rows[question.id, answerable] = row
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
            if progress:
                progress(done, len(jobs), question.id)
    return [rows[question.id, answerable] for question, answerable, _ in jobs]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return every score of a run with n and its bootstrap interval; a score without a case is left out."""
    scores = {name: mean([row[name] for row in rows if row.get(name) is not None]) for name in METRICS}
    answerable = [row for row in rows if row["answerable"]]
    asked = [row for row in rows if row["judged"]]
    return {
        "questions": len(answerable),
        "unanswerable": len(rows) - len(answerable),
        "model": rows[0]["model"],
        "scope": rows[0]["scope"],
        "judge": rows[0]["judge"],
        "threshold": threshold_figures(rows),
        "scores": {name: score.as_dict() for name, score in scores.items() if score is not None},
        "judge_failures": sum(row["judge_failed"] for row in asked) / len(asked) if asked else None,
    }


METRICS = {
    "numeric_match": "answers that state the expected number, of answerable questions with a number",
    "judged_correct": "answers that the judge finds correct, of answerable questions",
    "judged_faithful": "answers that the judge finds supported by their passages, of those given",
    "cited_page": "answers that cite an evidence page, of answerable questions that were answered",
    "evidence_prompted": "answerable questions with an evidence page among the passages",
    "citations_prompted": "shown citations that point at a passage of the prompt",
    "citations_true": "written citations that were no invention",
    "quotes_verbatim": "quotes that stand in the page's text word for word",
    "false_refusal": "refusals, of answerable questions",
    "right_refusal": "refusals, of unanswerable questions",
    "unsupported": "answers with a sentence that no passage supports, of those given",
    "prompt_tokens": "tokens of the prompt",
    "answer_tokens": "tokens of the answer",
    "seconds": "seconds from question to whole answer",
    "own_seconds": "seconds before the model was called",
}


def threshold_figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the threshold in force with the share of questions whose best passage lies below it."""
    value = rows[0]["threshold"]
    below = {kind: [row["best_score"] < value for row in rows if row["answerable"] is kind] for kind in (True, False)}
    return {
        "value": value,
        "false_refusals": round(sum(below[True]) / len(below[True]), 4) if below[True] else None,
        "right_refusals": round(sum(below[False]) / len(below[False]), 4) if below[False] else None,
        "best_scores_answerable": sorted(row["best_score"] for row in rows if row["answerable"]),
        "best_scores_unanswerable": sorted(row["best_score"] for row in rows if not row["answerable"]),
    }


def compare(first: Path, second: Path) -> dict[str, Any]:
    """Return the paired difference (second minus first) of every score over the questions that both runs hold."""
    a, b = (_keyed(read_run(path)) for path in (first, second))
    shared = [key for key in a if key in b]
    if not shared:
        raise QuestionsError(f"{first} and {second} share no question", "compare two runs over one question file")
    differences = {}
    for name in METRICS:
        keys = [key for key in shared if a[key].get(name) is not None and b[key].get(name) is not None]
        score = paired_difference([a[key][name] for key in keys], [b[key][name] for key in keys])
        if score is not None:
            differences[name] = score.as_dict()
    return {
        "first": f"{a[shared[0]]['model']}, {a[shared[0]]['scope']}",
        "second": f"{b[shared[0]]['model']}, {b[shared[0]]['scope']}",
        "questions": len(shared),
        "only_in_first": len(a) - len(shared),
        "only_in_second": len(b) - len(shared),
        "differences": differences,
    }


def read_run(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a run; a line cut in half at the end, by a kill, is left out."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as exc:
        raise QuestionsError(f"cannot read {path}: {exc.strerror}", "give the answers.jsonl of a run") from exc
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as exc:
            if number == len(lines):
                break
            raise QuestionsError(f"{path}, line {number} is no JSON", "remove the line, then run again") from exc
    return rows


# inside


def _one(
    agent: Agent,
    library: Library,
    question: Question,
    answerable: bool,
    documents: list[str] | None,
    judge: Model | None,
    own: str | None,
) -> dict[str, Any]:
    passages = agent.config.passages
    best = search(library.store, library.embedder, question.question, k=passages, documents=documents)
    answer = agent.ask(question.question, documents=documents)
    given = not answer.refused
    evidence = {(own, page) for page in question.pages}
    cites = [(citation.document_id, citation.page) for citation in answer.citations]
    prompted = [
        1 <= c.number <= len(answer.passages)
        and (c.document_id, c.page) == (answer.passages[c.number - 1].document_id, answer.passages[c.number - 1].page)
        for c in answer.citations
    ]
    verbatim = [_is_verbatim(library, c.document_id, c.page, c.start, c.end, c.quote) for c in answer.citations]
    written = len(answer.citations) + len(answer.invented)
    judged = judge is not None and given
    is_correct = (
        judges.correct(judge, question.question, question.answer, answer.text)
        if judge and given and answerable
        else None
    )
    is_faithful = judges.faithful(judge, answer) if judge and given else None
    return {
        "id": question.id,
        "answerable": answerable,
        "question": question.question,
        "expected": question.answer,
        "answer": answer.text,
        "best_score": round(max((passage.score for passage in best), default=0.0), 4),
        "evidence": [{"document": question.document, "page": page} for page in question.pages],
        "citations": [citation.as_dict() for citation in answer.citations],
        "notices": list(answer.notices),
        "numeric_match": numeric_match(question.answer, answer.text) if answerable else None,
        "judged_correct": is_correct,
        "judged_faithful": is_faithful,
        "judged": judged,
        "judge_failed": judged and ((answerable and is_correct is None) or is_faithful is None),
        "cited_page": bool(evidence & set(cites)) if answerable and given and question.pages else None,
        "evidence_prompted": _holds(answer, evidence) if answerable and question.pages else None,
        "citations_prompted": sum(prompted) / len(prompted) if prompted else None,
        "citations_true": len(answer.citations) / written if written else None,
        "quotes_verbatim": sum(verbatim) / len(verbatim) if verbatim else None,
        "false_refusal": answer.refused if answerable else None,
        "right_refusal": answer.refused if not answerable else None,
        "unsupported": bool(answer.unsupported) if given else None,
        "prompt_tokens": answer.usage.prompt_tokens if given else None,
        "answer_tokens": answer.usage.answer_tokens if given else None,
        "seconds": answer.usage.seconds,
        "own_seconds": answer.usage.own_seconds,
    }


def _at_rank(values: Sequence[float], share: float) -> float:
    """Return the least value that this share of all values does not exceed, so that p95 is never below p50."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _holds(answer: Answer, evidence: set[tuple[str | None, int]]) -> bool:
    return any((passage.document_id, passage.page) in evidence for passage in answer.passages)


def _is_verbatim(library: Library, document_id: str, page: int, start: int, end: int, quote: str) -> bool:
    """Say whether a quote is the page's text at its place; white space between two stored passages is not known."""
    key = (document_id, page)
    chunks = library.store.page_chunks([key]).get(key)
    if not chunks:
        return False
    whole = whole_page(chunks)
    return whole.text[start - whole.start : end - whole.start].split() == quote.split() != []


def _library_name(config: IngestConfig, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{config.embedder}/{config.chunk_size}/{config.chunk_overlap}".encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"eval-{digest.hexdigest()[:12]}"


def _complete(config: IngestConfig, files: int) -> bool:
    from ingest import StoreError, open_store

    try:
        store = open_store(config, create=False)
    except StoreError:
        return False
    try:
        return len(store.documents()) == files
    finally:
        store.close()


def _document_ids(library: Library, questions: Sequence[Question]) -> dict[str, str]:
    """Return the ids of the documents that questions name; raises QuestionsError for one that is not in the library."""
    known = {document.name: document.id for document in library.store.documents()}
    known |= {Path(name).name: document_id for name, document_id in known.items()}
    missing = sorted(
        {question.document for question in questions if question.document and question.document not in known}
    )
    if missing:
        raise QuestionsError(
            f"{pluralize(len(missing), 'document')} of the questions {'is' if len(missing) == 1 else 'are'} not in the library, first {missing[0]}",
            "give the folder that holds them with --pdfs, or ingest them",
        )
    return {question.document: known[question.document] for question in questions if question.document}


def _rows_before(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    rows = read_run(path)
    other = next((row for row in rows if any(row.get(name) != value for name, value in settings.items())), None)
    if other is not None:
        raise AssistantError(
            f"{path} holds a run with other settings: {', '.join(f'{name} {other.get(name)!r}' for name in settings)}",
            "give another file with --out, or remove this one",
        )
    # a half line at the end would be glued to the next one
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return rows


def _keyed(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, bool], dict[str, Any]]:
    return {(row["id"], row["answerable"]): row for row in rows}
