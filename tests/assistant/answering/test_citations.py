from dataclasses import replace

import pytest

from assistant.answering.citations import best_sentence, cite
from assistant.cli.terminal import source_line
from tests.assistant.helpers import CAPEX, MOON, passage


def test_a_citation_gets_the_row_that_supports_it_with_its_place_on_the_page():
    passages = [passage(MOON), passage(CAPEX, page=60, start=500, document="3M.pdf")]
    citations, unsupported = cite("Purchases of property, plant and equipment were 1,577 [2].", passages)
    assert unsupported == []
    (citation,) = citations
    assert (citation.number, citation.document, citation.page) == (2, "3M.pdf", 60)
    assert citation.quote == "Purchases of property, plant and equipment (PP&E) (1,577) (1,373) (1,420)"
    assert CAPEX[citation.start - 500 : citation.end - 500] == citation.quote


@pytest.mark.parametrize(
    ("text", "unsupported"),
    [
        ("The moon has no air [1].", []),
        ("The moon has no air. [1]", []),
        ("The moon has no air.", []),
        ("Its diameter is 9,999 kilometres [1].", ["Its diameter is 9,999 kilometres [1]."]),
        ("The moon has no air [1]. Elephants like bananas [1].", ["Elephants like bananas [1]."]),
        ("Purchases of property were 1,577 [1].", ["Purchases of property were 1,577 [1]."]),
    ],
)
def test_a_sentence_without_support_is_marked(text, unsupported):
    _, spans = cite(text, [passage(MOON), passage(CAPEX)])
    assert [span.text for span in spans] == unsupported
    assert all(text[span.start : span.end] == span.text for span in spans)


def test_a_number_outside_the_prompt_gets_no_citation():
    citations, _ = cite("The moon has no air [1][7].", [passage(MOON)])
    assert [citation.number for citation in citations] == [1]


def test_the_best_sentence_is_the_row_with_the_number():
    found = best_sentence("PP&E sold for 262", CAPEX)
    assert found is not None
    assert found[0].text == "Proceeds from sale of PP&E 262 49 58"


def test_a_citation_of_a_page_that_ocr_read_says_so():
    read, typed = replace(passage(MOON), ocr=True), passage(CAPEX, page=60)
    citations, _ = cite("The moon has no air [1]. Purchases of property were 1,577 [2].", [read, typed])
    assert [(one.ocr, one.as_dict()["ocr"]) for one in citations] == [(True, True), (False, False)]
    assert source_line(1, citations[0]) == "[1] report.pdf, page 1, read by OCR"
    assert source_line(2, citations[1]) == "[2] report.pdf, page 60"
