"""Text is shown as it is written, never interpreted."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from assistant.answering.citations import Citation, Span
from ingest.pdf.tables import Cell, TableRow
from streamlit_app.text import (
    flowing,
    label,
    page_words,
    plain,
    sentence,
    shortened,
    size_words,
    source_words,
    table,
    time_words,
)

EVIL = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "![x](http://evil.example/?q=1)",
    "[click](javascript:alert(1))",
    "$x^2$ and $5,000 for $6",
    ":red[hot] :material/home: :smile:",
    "# head\n- item\n> quote\n```code```",
    "quotes \" and ' and & and </div>",
    "\x1b[31mred\x07",
]


@pytest.mark.parametrize("text", EVIL)
def test_an_answer_keeps_every_letter_and_no_tag(text: str) -> None:
    shown = plain(text)
    inner = re.sub(r"^<div[^>]*>|</div>$", "", shown)
    assert "<" not in re.sub(r'</?sup(?: class="quire-mark")?>', "", inner)
    assert html.unescape(re.sub(r"</?sup[^>]*>", "", inner)) == text


@pytest.mark.parametrize("text", EVIL)
def test_a_label_has_no_unescaped_markdown(text: str) -> None:
    shown = label(text)
    assert "\n" not in shown and "\x1b" not in shown
    assert not re.search(r"(?<!\\)[<>\[\]()$:#*_`!|~{}]", shown)
    assert "://" not in shown.replace("\\", "")


def test_urls_in_a_label_do_not_become_links() -> None:
    shown = label("see www.evil.example, https://evil.example, mail me@evil.example").replace("\\", "")
    assert "www." not in shown and "://" not in shown and "me@" not in shown
    assert shown.replace("\u2060", "") == "see www.evil.example, https://evil.example, mail me@evil.example"


def test_citation_marks_are_small_and_unsupported_sentences_underlined() -> None:
    text = "One [1]. Two <b>."
    shown = plain(text, [Span(9, 17, "Two <b>.")])
    assert '<sup class="quire-mark">[1]</sup>' in shown
    assert 'title="No passage supports this">Two &lt;b&gt;.</span>' in shown


def test_overlapping_spans_lose_no_letter() -> None:
    shown = plain("abcdef", [Span(0, 4, "abcd"), Span(2, 6, "cdef")])
    assert re.sub(r"<[^>]*>", "", shown) == "abcdef"


@pytest.mark.parametrize(
    ("page", "printed", "expected"),
    [(3, "3", "page 3"), (3, "", "page 3"), (3, "iii", "page 3 (printed iii)")],
)
def test_a_page_is_named_with_its_printed_number_if_that_differs(page: int, printed: str, expected: str) -> None:
    assert page_words(page, printed) == expected


def test_sizes_and_durations_have_readable_units() -> None:
    assert [size_words(n) for n in (0, 10, 1500, 2_500_000, 4_700_000_000)] == [
        "0 kB",
        "1 kB",
        "2 kB",
        "2.5 MB",
        "4.7 GB",
    ]
    assert [time_words(s) for s in (0.1, 42, 240, 7200)] == ["1 s", "42 s", "4 min", "2.0 h"]


def test_a_long_quote_is_cut_between_words_with_an_ellipsis() -> None:
    assert shortened("one  two\nthree", 13) == "one two three"
    assert shortened("one two three", 12) == "one two …"
    assert shortened("onetwothree", 5) == "onetw …"


def test_a_sentence_starts_with_a_capital() -> None:
    assert sentence("the text is mostly not English") == "The text is mostly not English"
    assert sentence("") == ""


def test_prose_flows_and_rows_of_a_table_stay_rows() -> None:
    prose = "A link may have 200 MB and take 120 seconds; both can be set. Where a page came instead of a\nPDF, it is named."
    assert flowing(prose) == prose.replace("\n", " ")
    table = (
        "Purchases of property, plant and equipment (PP&E) and other things (1,577) (1,373)\nProceeds from sale 262 49"
    )
    assert flowing(table) == table
    ended = "This is a sentence that is surely longer than fifty-five characters, and it ends.\nThis is another."
    assert flowing(ended) == ended
    assert flowing("Revenue\nCosts\nProfit") == "Revenue\nCosts\nProfit"


def test_a_source_says_that_ocr_read_it() -> None:
    source = Citation(1, "scan.pdf", "id", 4, "4", 0, 5, "Quote")
    assert source_words(source) == "scan.pdf, page 4"
    assert source_words(replace(source, ocr=True)) == "scan.pdf, page 4, read by OCR"


def test_a_table_has_its_heads_once_and_shows_markup_of_a_pdf_as_written() -> None:
    rows = [
        TableRow(0, 9, "Cargo <b>", (Cell("2025", "1,204", 0, 5), Cell("2024", "<i>", 6, 9)), "in millions"),
        TableRow(10, 19, "Fees", (Cell("2024", "299", 10, 13), Cell("", "n/a", 14, 17)), "in millions"),
    ]
    shown = table(rows)
    assert re.findall(r"<th>([^<]*)</th>|<td>([^<]*)</td>", shown) == [
        *((word, "") for word in ("in millions", "2025", "2024", "")),
        *(("Cargo &lt;b&gt;", ""), ("", "1,204"), ("", "&lt;i&gt;"), ("", "")),
        *(("Fees", ""), ("", ""), ("", "299"), ("", "n/a")),
    ]


def test_two_columns_of_one_head_stay_two_columns() -> None:
    row = TableRow(0, 9, "Sales", (Cell("2018", "108", 0, 3), Cell("2018", "22", 4, 6)))
    assert table([row]).count("<th>2018</th>") == 2
