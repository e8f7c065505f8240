"""The library that questions are asked of: folders of PDFs, ingested once and named by their content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from assistant.errors import QuestionsError
from assistant.evaluation.identity import index_hash
from assistant.evaluation.questions import Notify, Question
from ingest import Document, IngestConfig, Library, StoreError, open_library, open_store
from quire import pluralize, sha256_of_file

ReportProgress = Callable[[int, int, str], None]  # done, total, name of the current item


@contextmanager
def open_corpus(
    config: IngestConfig, pdfs: Sequence[Path], progress: ReportProgress | None = None, notify: Notify | None = None
) -> Iterator[Library]:
    """Open the library of folders of PDFs, ingesting them first if needed; no folder opens the configured library.

    An index is used again only for the same bytes, settings and reading code; `notify` is told so. Raises
    QuestionsError if there is no PDF or if one cannot be ingested.
    """
    if pdfs:
        files = [path for folder in pdfs for path in _pdf_files(folder)]
        config = replace(config, library=f"eval-{index_hash(config, files)}")
        if not _is_complete(config, files):
            _ingest(pdfs, config, len(files), progress)
        elif notify:
            count = pluralize(len(files), "document")
            notify(f"the index {config.library} of {count} is used again: same bytes, settings and code")
    with open_library(config) as library:
        yield library


def document_ids(library: Library, questions: Sequence[Question]) -> dict[str, str]:
    """Return the id of each document that a question names, by its name in the library or its bare file name.

    Raises QuestionsError if the library lacks a document or has two of that name, and if an evidence page has no
    document or lies beyond its end: search would miss it whatever it finds.
    """
    documents = library.store.documents()
    matches = {name: _matches(name, documents) for name in {question.document for question in questions} - {""}}
    missing = sorted(name for name, found in matches.items() if not found)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise QuestionsError(
            f"{pluralize(len(missing), 'document')} of the questions {verb} not in the library, first {missing[0]}",
            f"give their folder with --pdfs, or ingest them; the library has {_first([d.name for d in documents])}",
        )
    for name, found in matches.items():
        if len(found) > 1:
            raise QuestionsError(
                f"{pluralize(len(found), 'document')} are called {name}",
                f"write one of {_first([d.name for d in found])} as the question's document",
            )
    _check_pages(questions, {name: found[0] for name, found in matches.items()})
    return {name: found[0].id for name, found in matches.items()}


def _matches(name: str, documents: Sequence[Document]) -> list[Document]:
    wanted = normalize("NFC", name)  # macOS writes an accent as a separate character
    exact = [document for document in documents if normalize("NFC", document.name) == wanted]
    return exact or [document for document in documents if normalize("NFC", Path(document.name).name) == wanted]


def _check_pages(questions: Sequence[Question], documents: Mapping[str, Document]) -> None:
    for question in questions:
        if question.pages and not question.document:
            raise QuestionsError(
                f"question {question.id} has evidence pages but no document", 'add "document": "report.pdf"'
            )
        pages = documents[question.document].pages if question.pages else 0
        if question.pages and max(question.pages) > pages:
            raise QuestionsError(
                f"question {question.id} has evidence on page {max(question.pages)} of {question.document}, "
                f"which has {pluralize(pages, 'page')}",
                "correct the page, or give the document that the question was written for",
            )


def _first(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(sorted(names)[:count]) + (" ..." if len(names) > count else "")


def _pdf_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise QuestionsError(f"{folder} {what}", "give the folder of the questions' documents")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".pdf" and path.is_file())
    if not files:
        raise QuestionsError(f"{folder} has no PDFs", "give the folder of the questions' documents")
    return files


def _is_complete(config: IngestConfig, files: Sequence[Path]) -> bool:
    try:
        store = open_store(config, create=False)
    except StoreError:
        return False
    try:
        return {document.sha256 for document in store.documents()} == set(map(sha256_of_file, files))
    finally:
        store.close()


def _ingest(pdfs: Sequence[Path], config: IngestConfig, count: int, progress: ReportProgress | None) -> None:
    from ingest import Progress, ingest

    def report(state: Progress) -> None:
        if progress:
            progress(state.documents_done, state.documents_total, f"{state.stage} {state.document}")

    failed = ingest([str(folder) for folder in pdfs], config, progress=report).failed
    if failed:
        raise QuestionsError(
            f"{len(failed)} of {count} PDFs were not ingested, first {failed[0].document}: {failed[0].reason}",
            "fix them, or remove them from the folder",
        )
