"""The library that questions are asked of: folders of PDFs, ingested once and named by their content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from assistant.errors import QuestionsError
from assistant.evaluation.identity import index_hash
from assistant.evaluation.questions import Question
from ingest import IngestConfig, Library, StoreError, open_library, open_store
from quire import pluralize, sha256_of_file

ReportProgress = Callable[[int, int, str], None]  # done, total, name of the current item
Notify = Callable[[str], None]  # receives one sentence for the user


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
    """Return the id of each document that a question names; raises QuestionsError if the library lacks one."""
    known = {document.name: document.id for document in library.store.documents()}
    known |= {Path(name).name: document_id for name, document_id in known.items()}
    named = {question.document for question in questions if question.document}
    missing = sorted(named - known.keys())
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise QuestionsError(
            f"{pluralize(len(missing), 'document')} of the questions {verb} not in the library, first {missing[0]}",
            "give their folder with --pdfs, or ingest them",
        )
    return {name: known[name] for name in named}


def _pdf_files(folder: Path) -> list[Path]:
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
