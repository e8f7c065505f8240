"""Passages: bounded, verbatim, complete, and the same every time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.pdf.read import PDF, Page
from ingest.text.chunks import Chunk, embedding_text, page_heading, ranges, split

PROSE = st.text(alphabet="abcAB .!?\n\t-1é̈中😀", max_size=600)
ANY = st.text(max_size=300)


def pdf(*texts: str, running_lines: tuple[tuple[int, int], ...] = ()) -> PDF:
    pages = tuple(
        Page(number=i, label=f"p{i}", text=text, headings=("One", "Two"), running_lines=running_lines)
        for i, text in enumerate(texts, 1)
    )
    return PDF(pages=pages, title="", parser="pypdfium2 5")


def pieces(text: str, size: int, overlap: int) -> list[str]:
    return [text[a:b] for a, b in ranges(text, size=size, overlap=overlap)]


@settings(max_examples=400, deadline=None)
@given(st.one_of(PROSE, ANY), st.integers(1, 80), st.integers(0, 79))
def test_no_text_is_lost_and_the_size_is_respected(text: str, size: int, overlap: int) -> None:
    found = list(ranges(text, size=size, overlap=min(overlap, size - 1)))
    covered: set[int] = set()
    end_before = 0
    for start, end in found:
        assert 0 < end - start <= size
        assert not text[start].isspace() and not text[end - 1].isspace()
        assert end > end_before, "every passage brings something new"
        assert start >= end_before - overlap
        end_before = end
        covered.update(range(start, end))
    assert {i for i, c in enumerate(text) if not c.isspace()} <= covered


@settings(max_examples=100, deadline=None)
@given(st.lists(PROSE, max_size=4))
def test_a_chunk_is_its_pages_text_and_never_crosses_a_page(texts: list[str]) -> None:
    source = pdf(*texts)
    chunks = split(source, document_id="d", document="a.pdf", sha256="00", size=60, overlap=10)
    assert all(c.text == texts[c.page - 1][c.start : c.end] for c in chunks)
    assert {c.page for c in chunks} == {i for i, t in enumerate(texts, 1) if t.strip()}
    assert len({c.id for c in chunks}) == len(chunks)


def test_a_passage_ends_at_a_sentence() -> None:
    text = "The first sentence is here. The second one goes on. The third is the last of them all."
    assert pieces(text, 60, 0) == [
        "The first sentence is here. The second one goes on.",
        "The third is the last of them all.",
    ]


def test_a_passage_ends_at_a_line_where_no_sentence_ends() -> None:
    rows = "\n".join(f"Product line {i} $ 1,975 $ 2,255 $ 2,110" for i in range(4))
    assert pieces(rows, 90, 0) == [
        "\n".join(rows.split("\n")[:2]),
        "\n".join(rows.split("\n")[2:]),
    ]


def test_text_without_blanks_is_cut_at_the_size() -> None:
    assert pieces("x" * 1050, 500, 0) == ["x" * 500, "x" * 500, "x" * 50]


def test_an_accent_stays_on_its_letter() -> None:
    assert pieces("a" * 9 + "e\u0302" + "b" * 9, 10, 0)[0] == "a" * 9


def test_neighbours_share_the_overlap_within_a_line() -> None:
    words = " ".join(f"word{i:02}" for i in range(40))
    first, second, *_ = pieces(words, 100, 20)
    shared = second[: second.index(first[-6:]) + 6]
    assert first.endswith(shared) and 0 < len(shared) <= 20


def test_the_classic_setting_of_1000_and_100_works() -> None:
    text = "All work and no play makes this a dull page. " * 100
    found = pieces(text, 1000, 100)
    assert max(map(len, found)) <= 1000
    assert min(map(len, found[:-1])) > 700


def test_ids_depend_on_document_bytes_settings_and_place_only() -> None:
    source = pdf("Some text that stands here. " * 10)

    def ids(**changed: object) -> list[str]:
        given = {"document_id": "d", "document": "a.pdf", "sha256": "00", "size": 100, "overlap": 10} | changed
        return [c.id for c in split(source, **given)]  # type: ignore[arg-type]

    assert ids() == ids() == ids(document="renamed.pdf")
    # Spelt out, as libraries out there hold it: an id that changes would double every passage.
    assert ids()[0] == "0f1cfdc2-4479-5d52-8e86-1c6dde5024ce"
    for change in ({"document_id": "e"}, {"sha256": "01"}, {"overlap": 11}, {"size": 101}):
        assert not set(ids()) & set(ids(**change))


def test_a_chunk_knows_page_label_heading_and_parser() -> None:
    [chunk] = split(pdf("Short."), document_id="d", document="a.pdf", sha256="00", size=100, overlap=10)
    assert (chunk.page, chunk.page_label, chunk.heading, chunk.parser) == (1, "p1", "Short. | One | Two", "pypdfium2 5")


def test_margins_are_relative_to_the_chunk_and_left_out_of_its_body() -> None:
    text = "ACME Annual Report\nReal words.\nPage 7"
    source = pdf(text, running_lines=((0, 18), (31, 37)))
    [whole] = split(source, document_id="d", document="a.pdf", sha256="00", size=100, overlap=0)
    assert whole.running_lines == ((0, 18), (31, 37))
    assert whole.body == "Real words."
    parts = split(source, document_id="d", document="a.pdf", sha256="00", size=20, overlap=0)
    assert [(c.text, c.running_lines, c.body) for c in parts] == [
        ("ACME Annual Report", ((0, 18),), ""),
        ("Real words.\nPage 7", ((12, 18),), "Real words."),
    ]


def chunk(text: str, running_lines: tuple[tuple[int, int], ...] = ()) -> Chunk:
    return Chunk("id", "d", "doc", 1, "1", 0, len(text), text, running_lines=running_lines)


@pytest.mark.parametrize(
    ("name", "title", "head"),
    [
        ("3M_2018_10K.pdf", "", "3M 2018 10K"),
        ("3M_2018_10K.pdf", "10-K - 02/07/2019 - 3M Company", "3M 2018 10K 10-K 02/07/2019 Company"),
        ("annualReport-2020.PDF", "Annual Report 2020", "annual Report 2020"),
        ("reports/ULTABEAUTY_2023Q4.pdf", "Ulta Results", "ULTABEAUTY 2023Q4 Ulta Results"),
        ("upload:My file.pdf", "My plan", "My file plan"),
    ],
)
def test_what_is_embedded_begins_with_the_names_words_then_the_titles_others(name: str, title: str, head: str) -> None:
    assert embedding_text(chunk("Words."), source=name, title=title) == f"{head}\nWords."


def test_what_is_embedded_lacks_headers_and_footers() -> None:
    made = embedding_text(chunk("Header\nWords.", running_lines=((0, 6),)), source="a.pdf", title="")
    assert made == "a\nWords."


def test_a_page_is_about_its_first_lines_without_running_headers_and_its_headings() -> None:
    text = "Annual report 2022\n7\nBalance sheet\nin millions\nCash 1 2\nmore and more\n"
    page = Page(1, "7", text, headings=("Balance sheet", "Assets"), running_lines=((0, 19),))
    assert page_heading(page) == "Balance sheet in millions Cash 1 2 | Assets"


def test_a_passage_is_embedded_with_its_pages_opening_unless_it_is_the_opening() -> None:
    text = "Balance sheet of the company in millions of dollars\nnone\n" + "Cash 1 2\n" * 40
    whole = PDF((Page(1, "1", text),), "", "p")
    first, *others = split(whole, document_id="d", document="a.pdf", sha256="00", size=150, overlap=0)
    assert embedding_text(first, source="a.pdf", title="").count("Balance sheet") == 1
    assert all("Balance sheet" in embedding_text(chunk, source="a.pdf", title="") for chunk in others)


def test_a_chunk_knows_whether_ocr_read_its_page() -> None:
    pages = (Page(1, "1", "Typed text."), Page(2, "2", "Text on a picture.", ocr="rapidocr 3.10.0", confidence=0.9))
    pdf = PDF(pages, "", "pypdfium2 5.15.2")
    chunks = split(pdf, document_id="d", document="d.pdf", sha256="0", size=100, overlap=0)
    assert [(chunk.parser, chunk.ocr) for chunk in chunks] == [("pypdfium2 5.15.2", False), ("rapidocr 3.10.0", True)]
