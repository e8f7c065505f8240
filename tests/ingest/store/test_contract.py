"""The contract that every store keeps; each test runs against each of them."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from dataclasses import replace

import numpy as np
import pytest

from ingest.config import IngestConfig
from ingest.errors import IdentityMismatch, StoreError, UnknownDocument
from ingest.library import copy_library
from ingest.store.opening import libraries, open_store, remove_library
from tests.ingest.store_examples import IDENTITY, WORDS, embed, make_document, unit

BOTH = [pytest.param("sqlite", id="sqlite"), pytest.param("weaviate", id="weaviate", marks=pytest.mark.server)]


@pytest.fixture(params=BOTH)
def config(request, tmp_path):
    """Settings of an own library in each kind of store."""
    if request.param == "weaviate":
        server = request.getfixturevalue("weaviate_server")
        config = server.config(tmp_path, library=f"contract {uuid.uuid4()}")
    else:
        config = IngestConfig(home=tmp_path, library="contract")
    yield config
    if request.param == "weaviate":
        for summary in libraries(config):
            if summary.name.startswith(config.library):
                remove_library(config, summary.name)


@pytest.fixture
def store(config):
    with_identity = open_store(config, create=True)
    with_identity.set_identity(IDENTITY)
    yield with_identity
    with_identity.close()


def texts_of(hits):
    return [hit.chunk.text for hit in hits]


FRUIT = make_document("/docs/fruit.pdf", "an apple a day", "apple and copper", "the river bank", "plain words")
MUSIC = make_document("/docs/music.pdf", "a violin in the meadow", "violin violin", "harbour lights")


# identity


def test_a_new_library_has_no_identity_and_no_passages(config):
    store = open_store(config, create=True)
    assert store.identity() is None
    assert store.count() == 0
    assert store.documents() == []
    assert store.search_text("apple", limit=5) == []
    assert store.search_vector(embed("apple"), limit=5) == []
    assert list(store.scan()) == []
    store.close()


def test_the_identity_is_kept_and_setting_the_same_again_does_nothing(config, store):
    store.set_identity(IDENTITY)
    other = open_store(config, create=False)
    assert other.identity() == IDENTITY
    other.close()


def test_another_embedder_is_refused_with_both_names_and_the_command(store):
    with pytest.raises(IdentityMismatch, match="quire docs reindex") as caught:
        store.set_identity(replace(IDENTITY, embedder="letter-counter"))
    assert "word-counter" in str(caught.value)
    assert "letter-counter" in str(caught.value)
    assert store.identity() == IDENTITY


def test_another_chunking_is_refused_with_both_sizes(store):
    with pytest.raises(IdentityMismatch, match="chunk_size = 500") as caught:
        store.set_identity(replace(IDENTITY, chunk_size=1000))
    assert "1000" in str(caught.value)


def test_an_absent_library_is_not_opened_unasked(config):
    with pytest.raises(StoreError, match="quire ingest"):
        open_store(replace(config, library=config.library + " absent"), create=False)


# documents


def test_what_was_put_comes_back_whole_in_another_opening(config, store):
    store.put(*FRUIT)
    other = open_store(config, create=False)
    assert other.documents() == [FRUIT[0]]
    pairs = list(other.scan())
    assert [chunk for chunk, _ in pairs] == FRUIT[1]
    np.testing.assert_allclose([vector for _, vector in pairs], unit(FRUIT[2]), atol=1e-3)
    other.close()


def test_documents_are_ordered_by_name(store):
    store.put(*MUSIC)
    store.put(*FRUIT)
    assert [document.name for document in store.documents()] == ["fruit.pdf", "music.pdf"]


def test_putting_twice_doubles_nothing(store):
    store.put(*FRUIT)
    store.put(*FRUIT)
    assert store.count() == 4
    assert len(store.documents()) == 1
    assert len(list(store.scan())) == 4


def test_a_new_version_replaces_the_old_one_whole(store):
    store.put(*FRUIT)
    store.put(*make_document("/docs/fruit.pdf", "only a lantern now", version="v2"))
    assert store.count() == 1
    assert texts_of(store.search_text("apple lantern", limit=9)) == ["only a lantern now"]
    assert texts_of(store.search_vector(embed("apple lantern"), limit=9)) == ["only a lantern now"]


def test_a_document_without_passages_is_kept_as_a_record(store):
    empty = make_document("/docs/empty.pdf")
    store.put(*empty)
    assert store.documents() == [empty[0]]
    assert store.count(empty[0].id) == 0
    assert store.search_vector(embed("apple"), limit=3) == []


def test_the_same_passages_under_two_documents_are_both_there(store):
    store.put(*make_document("/a/report.pdf", "an apple"))
    store.put(*make_document("/b/report.pdf", "an apple"))
    assert store.count() == 2
    assert len(store.search_vector(embed("apple"), limit=5)) == 2


def test_remove_takes_everything_of_a_document_and_nothing_of_others(store):
    store.put(*FRUIT)
    store.put(*MUSIC)
    assert store.remove(FRUIT[0].id) == 4
    assert store.documents() == [MUSIC[0]]
    assert store.count() == 3
    assert store.count(FRUIT[0].id) == 0
    assert store.search_text("apple", limit=5) == []
    assert {hit.chunk.document for hit in store.search_vector(embed("apple violin"), limit=9)} == {"music.pdf"}
    assert store.page_chunks([(FRUIT[0].id, 1)]) == {}


def test_removing_or_renaming_an_unknown_document_says_so(store):
    with pytest.raises(UnknownDocument, match="quire docs list"):
        store.remove("no such id")
    with pytest.raises(UnknownDocument, match="quire docs list"):
        store.rename("no such id", "x")


def test_rename_changes_record_and_passages(store):
    store.put(*FRUIT)
    store.rename(FRUIT[0].id, "docs/fruit.pdf")
    assert [document.name for document in store.documents()] == ["docs/fruit.pdf"]
    assert {chunk.document for chunk, _ in store.scan()} == {"docs/fruit.pdf"}
    assert store.search_text("apple", limit=1)[0].chunk.document == "docs/fruit.pdf"
    assert store.count() == 4


def test_count_is_of_one_document_or_of_all(store):
    store.put(*FRUIT)
    store.put(*MUSIC)
    assert (store.count(), store.count(FRUIT[0].id), store.count("no such id")) == (7, 4, 0)


def test_scan_goes_document_by_document_in_order_of_place(store):
    store.put(*MUSIC)
    store.put(*FRUIT)
    assert [chunk.id for chunk, _ in store.scan()] == [chunk.id for chunk in FRUIT[1] + MUSIC[1]]
    assert [chunk.id for chunk, _ in store.scan(MUSIC[0].id)] == [chunk.id for chunk in MUSIC[1]]
    assert list(store.scan("no such id")) == []


def test_vectors_of_another_length_are_refused_and_nothing_is_stored(store):
    document, chunks, _ = FRUIT
    with pytest.raises(StoreError, match="quire docs reindex"):
        store.put(document, chunks, np.ones((4, 3), dtype=np.float32))
    with pytest.raises(StoreError, match="4 chunks but 2 vectors"):
        store.put(document, chunks, np.ones((2, len(WORDS)), dtype=np.float32))
    with pytest.raises(StoreError, match="NaN"):
        store.put(document, chunks, np.full((4, len(WORDS)), np.nan, dtype=np.float32))
    assert store.documents() == []
    assert store.count() == 0


def test_putting_before_an_identity_is_set_is_refused(config):
    store = open_store(config, create=True)
    with pytest.raises(StoreError, match="set_identity"):
        store.put(*FRUIT)
    store.close()


# search


def test_text_search_finds_any_word_and_ranks_rare_ones_first(store):
    store.put(*FRUIT)
    store.put(*MUSIC)
    assert texts_of(store.search_text("copper violin", limit=9))[0] in ("apple and copper", "violin violin")
    assert set(texts_of(store.search_text("copper violin", limit=9))) == {
        "apple and copper",
        "a violin in the meadow",
        "violin violin",
    }
    scores = [hit.score for hit in store.search_text("copper violin", limit=9)]
    assert scores == sorted(scores, reverse=True)


def test_text_search_knows_inflected_forms(store):
    store.put(*make_document("/docs/a.pdf", "The company acquires engines", "nothing here"))
    assert texts_of(store.search_text("which engine was acquired?", limit=5)) == ["The company acquires engines"]


def test_text_search_finds_a_document_by_the_words_of_its_file_name_and_title(store):
    store.put(*make_document("/docs/acme_report_2019.pdf", "a lantern", title="Quarterly figures"))
    store.put(*make_document("/docs/other.pdf", "a lantern"))
    assert store.search_text("acme lantern", limit=5)[0].chunk.document == "acme_report_2019.pdf"
    assert store.search_text("quarterly", limit=5)[0].chunk.document == "acme_report_2019.pdf"


def test_vector_search_ranks_by_cosine(store):
    store.put(*FRUIT)
    store.put(*MUSIC)
    hits = store.search_vector(embed("apple copper"), limit=3)
    assert texts_of(hits)[:2] == ["apple and copper", "an apple a day"]
    assert [round(hit.score, 2) for hit in hits[:2]] == [1.0, 0.71]


def test_limit_and_document_filter_hold_for_both_legs(store):
    store.put(*FRUIT)
    store.put(*MUSIC)
    only = [MUSIC[0].id]
    assert len(store.search_text("apple violin river", limit=2)) == 2
    assert len(store.search_vector(embed("apple violin river"), limit=2)) == 2
    assert {h.chunk.document_id for h in store.search_text("apple violin", limit=9, documents=only)} == set(only)
    found = store.search_vector(embed("apple violin"), limit=9, documents=only)
    assert len(found) == 3
    assert {h.chunk.document_id for h in found} == set(only)
    assert store.search_text("apple", limit=9, documents=[]) == []
    assert store.search_vector(embed("apple"), limit=9, documents=["no such id"]) == []
    assert len(store.search_vector(embed("apple violin"), limit=9, documents=[MUSIC[0].id, FRUIT[0].id])) == 7


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        '"',
        "AND",
        "OR NOT",
        "a:b",
        "apple:",
        "(((",
        "*",
        "\\",
        "\x00",
        "apple\x00river",
        "😀" * 50,
        "\udc80",
        "+-!",
    ],
    ids=repr,
)
def test_no_query_of_any_kind_raises(store, query):
    store.put(*FRUIT)
    assert isinstance(store.search_text(query, limit=3), list)


def test_words_count_whatever_signs_stand_around_them(store):
    store.put(*FRUIT)
    assert texts_of(store.search_text('"copper" AND (nothing: else)', limit=3)) == ["apple and copper"]


def test_a_query_as_long_as_a_page_is_answered(store):
    store.put(*FRUIT)
    query = " ".join(f"word{i}" for i in range(2000)) + " copper"
    assert isinstance(store.search_text(query, limit=3), list)
    assert texts_of(store.search_text("copper " + query, limit=3)) == ["apple and copper"]


def test_page_chunks_gives_whole_pages_in_order(store):
    store.put(*FRUIT)
    store.put(*MUSIC)
    pages = [(FRUIT[0].id, 2), (MUSIC[0].id, 1), (FRUIT[0].id, 99), ("no such id", 1)]
    assert store.page_chunks(pages) == {(FRUIT[0].id, 2): FRUIT[1][2:], (MUSIC[0].id, 1): MUSIC[1][:2]}


# change while others look


def test_another_opening_sees_what_was_put_and_removed_meanwhile(config, store):
    other = open_store(config, create=False)
    store.put(*FRUIT)
    assert len(other.search_vector(embed("apple"), limit=1)) == 1
    assert len(other.search_text("apple", limit=1)) == 1
    store.put(*MUSIC)
    assert texts_of(other.search_vector(embed("violin"), limit=1)) == ["violin violin"]
    store.remove(FRUIT[0].id)
    assert other.search_text("apple", limit=3) == []
    assert {hit.chunk.document for hit in other.search_vector(embed("apple"), limit=9)} == {"music.pdf"}
    other.close()


def test_a_reader_never_sees_a_document_half_old_half_new(config, store):
    """Whole versions alternate while another opening reads; each answer must be of one version."""
    versions = [make_document("/docs/x.pdf", *[f"apple {name} {i}" for i in range(30)], version=name) for name in "ab"]
    store.put(*versions[0])
    stop, seen, problems = threading.Event(), set(), []

    def read():
        other = open_store(config, create=False)
        try:
            while not stop.is_set():
                legs = (other.search_vector(embed("apple"), limit=100), other.search_text("apple", limit=100))
                pages = other.page_chunks([(versions[0][0].id, 1)])
                scanned = [chunk for chunk, _ in other.scan()]
                answers = [[hit.chunk for hit in leg] for leg in legs] + list(pages.values()) + [scanned]
                for answer, expected in zip(answers, (30, 30, 2, 30), strict=False):
                    names = {chunk.text.split()[1] for chunk in answer}
                    if len(names) != 1 or len(answer) != expected:
                        problems.append((names, len(answer), expected))
                    seen.update(names)
        finally:
            other.close()

    reader = threading.Thread(target=read)
    reader.start()
    deadline = time.monotonic() + 20
    for i in itertools.count(1):
        store.put(*versions[i % 2])
        if (i > 30 and len(seen) == 2) or time.monotonic() > deadline:
            break
    stop.set()
    reader.join()
    assert problems == []
    assert seen == {"a", "b"}


def test_threads_may_share_one_store(store):
    documents = [make_document(f"/docs/{i}.pdf", f"apple number{i}", "violin") for i in range(8)]
    failures = []

    def work(document):
        try:
            store.put(*document)
            assert document[0].id in {h.chunk.document_id for h in store.search_vector(embed("apple"), limit=99)}
            assert len(store.search_text(document[1][0].text, limit=99)) >= 1
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(document,)) for document in documents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.count() == 16


# re-embedding


def test_replace_vectors_swaps_all_vectors_and_the_identity(store):
    store.put(*FRUIT)
    store.put(*MUSIC)
    other = replace(IDENTITY, embedder="backwards", dimension=3)

    def batches():
        for chunk, _ in store.scan():
            yield [chunk.id], np.array([[0.0, 1.0, len(chunk.text)]], dtype=np.float32)

    store.replace_vectors(other, batches())
    assert store.identity() == other
    assert store.count() == 7
    assert {len(vector) for _, vector in store.scan()} == {3}
    assert len(store.search_vector(np.array([0, 1, 9], dtype=np.float32), limit=9)) == 7
    assert texts_of(store.search_text("copper", limit=3)) == ["apple and copper"]
    assert store.documents() == [FRUIT[0], MUSIC[0]]
    store.put(*FRUIT[:2], np.ones((4, 3), dtype=np.float32))
    assert store.count() == 7


def test_replace_vectors_that_breaks_off_changes_nothing(store):
    store.put(*FRUIT)

    def batches():
        yield [FRUIT[1][0].id], np.ones((1, 3), dtype=np.float32)
        raise RuntimeError("the embedder went away")

    with pytest.raises(RuntimeError, match="went away"):
        store.replace_vectors(replace(IDENTITY, dimension=3), batches())
    assert store.identity() == IDENTITY
    assert texts_of(store.search_vector(embed("apple copper"), limit=1)) == ["apple and copper"]


def test_replace_vectors_with_passages_missing_is_refused_whole(store):
    store.put(*FRUIT)
    batches = iter([([FRUIT[1][0].id], np.ones((1, 3), dtype=np.float32))])
    with pytest.raises(StoreError, match="quire docs reindex"):
        store.replace_vectors(replace(IDENTITY, dimension=3), batches)
    assert store.identity() == IDENTITY
    np.testing.assert_allclose([v for _, v in store.scan()], unit(FRUIT[2]), atol=1e-3)


# libraries


def test_libraries_lists_names_and_counts_and_remove_takes_one(config, store):
    store.put(*FRUIT)
    store.put(*MUSIC)
    second = replace(config, library=config.library + " zwei/../ß")
    open_store(second, create=True).close()
    mine = [s for s in libraries(config) if s.name.startswith(config.library)]
    assert [(s.name, s.documents, s.passages, s.problem) for s in mine] == [
        (config.library, 2, 7, ""),
        (second.library, 0, 0, ""),
    ]
    remove_library(config, second.library)
    assert [s.name for s in libraries(config) if s.name.startswith(config.library)] == [config.library]
    with pytest.raises(StoreError, match="quire libraries"):
        remove_library(config, second.library)
    assert store.count() == 7


def test_names_that_look_alike_are_different_libraries(config):
    names = [config.library + suffix for suffix in ("A", "a", "_a", "-a", " a", "/a", ".a", "_41")]
    for i, name in enumerate(names):
        store = open_store(config, library=name, create=True)
        store.set_identity(IDENTITY)
        store.put(*make_document(f"/docs/{i}.pdf", f"apple {i}"))
        store.close()
    for i, name in enumerate(names):
        store = open_store(config, library=name, create=False)
        assert [document.name for document in store.documents()] == [f"{i}.pdf"]
        store.close()
        remove_library(config, name)


def test_copy_moves_everything_and_a_second_copy_finds_nothing_to_do(config, store, tmp_path):
    store.put(*FRUIT)
    store.put(*MUSIC)
    elsewhere = IngestConfig(home=tmp_path / "elsewhere", library="copy")
    target = open_store(elsewhere, create=True)
    assert copy_library(store, target) == 7
    assert target.documents() == store.documents()
    assert [chunk for chunk, _ in target.scan()] == [chunk for chunk, _ in store.scan()]
    np.testing.assert_allclose([v for _, v in target.scan()], [v for _, v in store.scan()], atol=1e-3)
    store.remove(FRUIT[0].id)
    assert copy_library(target, store) == 7  # and back: only the missing document travels
    assert [chunk for chunk, _ in store.scan()] == FRUIT[1] + MUSIC[1]
    target.close()


def test_a_closed_store_may_be_closed_again(config):
    store = open_store(config, create=True)
    store.close()
    store.close()
