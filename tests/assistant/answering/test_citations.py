from dataclasses import replace

from assistant.answering.citations import cite_range
from assistant.cli.terminal import source_line
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
