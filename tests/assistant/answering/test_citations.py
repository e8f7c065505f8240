from dataclasses import replace

from assistant.answering.citations import cite_range, with_rows
from assistant.cli.terminal import source_line
from ingest.pdf.tables import Cell, TableRow
from tests.assistant.helpers import CAPEX, MOON, passage


def test_a_citation_is_the_words_of_a_passage_with_their_place_on_the_page():
    row = CAPEX.splitlines()[1]
    cited = cite_range(
        2, passage(CAPEX, page=60, start=500, document="3M.pdf"), CAPEX.index(row), len(CAPEX), by="model"
    )
    assert (cited.number, cited.document, cited.page, cited.quote, cited.by) == (2, "3M.pdf", 60, row, "model")
    assert CAPEX[cited.start - 500 : cited.end - 500] == row
    assert cited.as_dict()["by"] == "model"


def test_a_citation_of_a_page_that_ocr_read_says_so():
    read, typed = replace(passage(MOON), ocr=True), passage(CAPEX, page=60)
    citations = [cite_range(1, read, 0, 20), cite_range(2, typed, 0, 20)]
    assert [(one.ocr, one.as_dict()["ocr"]) for one in citations] == [(True, True), (False, False)]
    assert source_line(1, citations[0]) == "[1] report.pdf, page 1, read by OCR"
    assert source_line(2, citations[1]) == "[2] report.pdf, page 60"


def test_a_cited_row_of_a_table_has_its_column_heads_and_unit():
    page, end = passage(CAPEX, start=500), CAPEX.index("\n")
    cells = (Cell("2018", "(1,577)", 550, 557), Cell("2017", "(1,373)", 558, 565))
    rows = [
        TableRow(500, 500 + end, "Purchases of PP&E", cells, "in millions"),
        TableRow(501 + end, 600, "Proceeds", ()),
    ]
    cited = with_rows(cite_range(1, page, 0, end), page, lambda _: rows)
    assert cited.rows == ("Purchases of PP&E: 2018 (1,577); 2017 (1,373) (in millions)",)
    assert with_rows(cite_range(1, passage(MOON), 0, 20), passage(MOON), lambda _: rows).rows == ()
