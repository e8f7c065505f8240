from dataclasses import replace

import pytest

from assistant.errors import QuestionsError
from assistant.evaluation.corpus import document_ids, open_corpus
from assistant.evaluation.questions import Question
from ingest import IngestConfig
from ingest.library import Library
from tests.assistant.evaluation.helpers import LIBRARY, IdentifiedStore
from tests.assistant.helpers import WordEmbedder


def asked_of(document, pages=()):
    return Question("q", document, "?", "", pages)


class FolderStore(IdentifiedStore):
    """Names documents as a library does that has two of one file name: with their folders."""

    NAMES = ("a/plan.pdf", "b/plan.pdf", "b/resum\u00e9.pdf")

    def documents(self):
        return [replace(document, name=name) for document, name in zip(super().documents(), self.NAMES, strict=True)]


FOLDERS = Library("test", FolderStore(), WordEmbedder())


def test_a_document_is_found_by_its_name_or_by_a_file_name_that_only_one_has():
    assert document_ids(FOLDERS, [asked_of("a/plan.pdf"), asked_of("")]) == {"a/plan.pdf": "id-evil.pdf"}
    assert document_ids(FOLDERS, [asked_of("resume\u0301.pdf")]) == {"resume\u0301.pdf": "id-report.pdf"}
    with pytest.raises(QuestionsError, match=r"2 documents are called plan\.pdf") as caught:
        document_ids(FOLDERS, [asked_of("plan.pdf")])
    assert caught.value.hint == "write one of a/plan.pdf, b/plan.pdf as the question's document"


def test_a_missing_document_is_named_with_those_that_there_are():
    with pytest.raises(QuestionsError, match=r"not in the library, first gone\.pdf") as caught:
        document_ids(LIBRARY, [asked_of("moon.pdf"), asked_of("gone.pdf")])
    assert caught.value.hint.endswith("the library has evil.pdf, moon.pdf, report.pdf")


def test_an_evidence_page_beyond_the_end_of_its_document_is_refused():
    assert document_ids(LIBRARY, [asked_of("moon.pdf", (1, 2))]) == {"moon.pdf": "id-moon.pdf"}
    with pytest.raises(QuestionsError, match=r"question q has evidence on page 3 of moon\.pdf, which has 2 pages"):
        document_ids(LIBRARY, [asked_of("moon.pdf", (3, 1))])


@pytest.mark.parametrize(
    ("name", "message"), [("none", "does not exist"), ("a.pdf", "is a file"), ("empty", "has no PDFs")]
)
def test_a_place_without_pdfs_is_refused_with_the_reason(tmp_path, name, message):
    (tmp_path / "a.pdf").touch()
    (tmp_path / "empty").mkdir()
    with (
        pytest.raises(QuestionsError, match=f"{name} {message}"),
        open_corpus(IngestConfig(home=tmp_path), [tmp_path / name]),
    ):
        pass
