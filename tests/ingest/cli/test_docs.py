"""`quire docs`, run as a person would."""

import json

import pytest

from tests.ingest.cli.conftest import Quire


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["docs", "show", "whales.pdf", "--page", "99"], 1, "it has 2 pages"),
        (["docs", "show", "whales.pdf", "--page", "0", "--json"], 1, "has no page 0"),
    ],
)
def test_an_impossible_request_is_an_error_with_a_hint(filled: Quire, words: list[str], code: int, said: str) -> None:
    done = filled(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


@pytest.mark.parametrize("words", [["--json"], ["--json", "list"], ["list", "--json"]])
def test_json_may_be_given_before_or_after_the_action(filled: Quire, words: list[str]) -> None:
    done = filled("docs", "--library", "default", *words)
    assert len(json.loads(done.stdout)["documents"]) == 2


def test_docs_list_shows_every_document_and_the_sum(filled: Quire) -> None:
    done = filled("docs", "list")
    assert done.returncode == 0
    assert "bridges.pdf" in done.stdout
    assert "2 documents, 4 pages, 4 passages" in done.stdout


def test_docs_without_an_action_lists(filled: Quire) -> None:
    assert filled("docs").stdout == filled("docs", "list").stdout


def test_docs_show_prints_the_record_and_a_pages_passages(filled: Quire) -> None:
    assert "sha256" in filled("docs", "show", "whales.pdf").stdout
    assert "songs that last up to twenty minutes" in filled("docs", "show", "whales.pdf", "--page", "2").stdout
    assert filled("docs", "show", "whales.pdf", "--page", "9").returncode == 1


def test_an_unknown_document_is_named_with_the_command_that_lists_them(filled: Quire) -> None:
    done = filled("docs", "show", "sharks.pdf")
    assert done.returncode == 1
    assert "error: the library has no document 'sharks.pdf'" in done.stderr
    assert "quire docs list" in done.stderr


def test_nothing_is_removed_without_consent(filled: Quire) -> None:
    done = filled("docs", "remove", "whales.pdf")
    assert done.returncode == 2
    assert "add --yes" in done.stderr
    assert "whales.pdf" in filled("docs", "list").stdout


def test_a_copy_shows_progress_and_is_never_made_onto_itself(filled: Quire) -> None:
    done = filled("docs", "copy", "--to", "sqlite", "--to-library", "other")
    assert done.stdout == "copied 4 passages to library 'other' in sqlite\n"
    assert done.stderr.splitlines()[0].startswith("[1/2] copying bridges.pdf")
    assert filled("libraries", "remove", "other", "--yes").returncode == 0
    itself = filled("docs", "copy", "--to", "sqlite")
    assert itself.returncode == 2
    assert "name another library with --to-library" in itself.stderr
