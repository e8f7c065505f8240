from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.retrieval.search import (
    PASSAGE_CHARACTERS,
    answering_chunk,
    in_sentences,
    merge,
    rank_pages,
    search,
    whole_page,
)
from ingest.store.contract import Hit
from ingest.text.chunks import Chunk
from tests.assistant.helpers import PagesStore, WordEmbedder

PAGE = "".join(f"Sentence {n:02d} stands here. " for n in range(200))


def chunk(start: int, end: int, *, page: int = 1, document: str = "a") -> Chunk:
    return Chunk(f"{document}{page}-{start}", document, f"{document}.pdf", page, str(page), start, end, PAGE[start:end])


def test_the_page_of_the_best_chunk_comes_first_and_no_page_comes_twice():
    one, two, other = chunk(0, 100), chunk(100, 200), chunk(0, 100, page=2)
    pages = rank_pages([Hit(one, 9.0)], [Hit(two, 0.9), Hit(one, 0.8), Hit(other, 0.7)])
    assert [(page.best.page, page.cosines[0]) for page in pages] == [(1, 0.9), (2, 0.7)]
    assert {c.id for c in (pages[0].best, *pages[0].others)} == {one.id, two.id}


def test_the_vector_leg_weighs_more_than_the_text_leg():
    text, vector = chunk(0, 100, page=1), chunk(0, 100, page=2)
    assert [page.best.page for page in rank_pages([Hit(text, 9.0)], [Hit(vector, 0.5)])] == [2, 1]


def test_both_legs_together_beat_one():
    both, alone = chunk(0, 100, page=1), chunk(0, 100, page=2)
    pages = rank_pages([Hit(both, 1.0)], [Hit(alone, 0.9), Hit(both, 0.8)])
    assert [page.best.page for page in pages] == [1, 2]


def test_nothing_found_is_an_empty_list():
    assert rank_pages([], []) == []
    assert search(PagesStore({}), WordEmbedder(), "anything") == []


def test_the_best_chunk_grows_by_its_neighbours_and_stays_verbatim():
    chunks = [chunk(start, start + 500) for start in range(0, 4000, 425)]
    grown = merge(chunks[4], [], chunks)
    assert grown.text == PAGE[grown.start : grown.end]
    assert grown.start <= chunks[4].start
    assert chunks[4].end < grown.end
    assert len(grown.text) <= PASSAGE_CHARACTERS


def test_what_the_search_found_beside_the_best_chunk_is_taken_before_other_neighbours():
    chunks = [chunk(start, start + 500) for start in range(0, 2000, 425)]
    assert merge(chunks[2], [chunks[1]], chunks).start == chunks[1].start
    assert merge(chunks[2], [chunks[3]], chunks).end == chunks[3].end


def test_text_that_does_not_touch_is_never_joined():
    assert merge(chunk(0, 100), [chunk(300, 400)], []).text == PAGE[:100]


@given(st.lists(st.tuples(st.integers(10, 300), st.integers(0, 9)), min_size=1, max_size=12), st.data())
def test_a_merged_passage_is_always_the_pages_own_text(pieces, data):
    chunks, end = [], 9
    for length, overlap in pieces:
        chunks.append(chunk(end - overlap, end - overlap + length))
        end = chunks[-1].end
    best = data.draw(st.sampled_from(chunks))
    grown = merge(best, [], chunks)
    assert grown.text == PAGE[grown.start : grown.end]
    assert grown.start <= best.start <= best.end <= grown.end
    shown = in_sentences(grown, best, chunks)
    assert shown.text == PAGE[shown.start : shown.end] == shown.text.strip()
    assert 0 < len(shown.text) <= PASSAGE_CHARACTERS


def test_a_passage_is_shown_in_whole_sentences():
    chunks = [chunk(start, start + 505) for start in range(3, 4000, 430)]
    shown = in_sentences(merge(chunks[4], [], chunks), chunks[4], chunks)
    assert shown.text.startswith("Sentence ")
    assert shown.text.endswith("here.")


def _page(*texts: str) -> list[Chunk]:
    starts = [sum(len(text) + 1 for text in texts[:n]) for n in range(len(texts))]
    return [
        replace(chunk(0, 9), id=f"c{n}", text=text, start=start)
        for n, (text, start) in enumerate(zip(texts, starts, strict=True))
    ]


def test_a_page_is_shown_where_the_words_of_the_question_stand_not_where_the_vectors_led():
    chunks = _page(
        "Employees are our greatest asset.", "Performance reviews are conducted annually.", "Pay is monthly."
    )
    (page,) = rank_pages([], [Hit(chunks[0], 0.9), Hit(chunks[2], 0.8)])
    assert answering_chunk("How often are performance reviews conducted?", page, chunks) is chunks[1]


def test_where_no_word_of_the_question_stands_the_page_is_shown_where_the_search_led():
    chunks = _page("Leave is granted.", "Time off is ten days.", "Pay is monthly.")
    (page,) = rank_pages([], [Hit(chunks[1], 0.9), Hit(chunks[2], 0.8)])
    assert answering_chunk("vacation?", page, chunks) is chunks[1]


def test_prose_comes_before_a_list_of_references_that_repeats_the_words():
    references = "Doe et al. Tidal eruptions of stars. doi:10.1. Roe et al. Tidal eruptions, pp. 3-9."
    chunks = _page(references, "Some tidal eruptions come from stars.")
    (page,) = rank_pages([Hit(chunks[0], 5.0)], [Hit(chunks[0], 0.9)])
    assert answering_chunk("What are tidal eruptions of stars?", page, chunks) is chunks[1]


def test_white_space_that_was_cut_away_between_neighbours_does_not_part_them():
    first, second = chunk(0, 24), replace(chunk(25, 50), text=PAGE[25:50])
    grown = merge(first, [], [first, second])
    assert grown.text == PAGE[:24] + "\n" + PAGE[25:50]
    assert whole_page([second, first]).text == grown.text


def test_running_lines_move_with_the_text():
    first = chunk(0, 100)
    second = replace(chunk(80, 200), running_lines=((100, 120),))
    assert merge(first, [], [first, second]).running_lines == ((180, 200),)


def test_a_whole_page_is_all_of_its_chunks():
    page = whole_page([chunk(400, 900), chunk(0, 500), chunk(850, 1400)])
    assert page.text == PAGE[:1400]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_search_gives_at_most_k_passages_with_ranks(k):
    found = search(PagesStore(), WordEmbedder(), "moon dividends plant equipment", k=k)
    assert [passage.rank for passage in found] == list(range(1, len(found) + 1))
    assert 1 <= len(found) <= k


def test_copies_of_a_file_do_not_take_the_places_of_other_pages():
    notice = "The notice period is three months to the end of a quarter."
    pages = {(f"policy ({n}).pdf", 1): notice for n in range(7)} | {
        ("amendment.pdf", 1): "From May on, the notice period is six months.",
        ("POLICY.pdf", 1): notice.upper().replace(" ", "\n"),
    }
    found = search(PagesStore(pages), WordEmbedder(), "How long is the notice period?")
    assert len(found) == 2
    assert {passage.document for passage in found} >= {"amendment.pdf"}
