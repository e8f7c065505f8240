import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.answering.cited_text import CitingStream, without_marks
from tests.assistant.helpers import CAPEX, MOON, passage

PASSAGES = [passage(MOON, document="moon.pdf"), passage(CAPEX, page=60)]

PIECES = (
    *("The moon has no air", "Its diameter is 3,474 kilometres", "[1]", "[2]", "[", "]", "[x]", "According to [1], ", "e.g. ", "Inc. "),
    *(" ", ".", "!", "?", "。", "\n", "\n\n", "- ", "1. ", "# ", "|", "**", "```", "`", "~", "“", "”", "«", "(", ")", "…", ":", "12%"),
)  # fmt: skip


def cite(text, size=None):
    """Return what is shown of a text that comes in pieces of `size` characters, and the result."""
    stream = CitingStream("", PASSAGES)
    pieces = [text] if size is None else [text[at : at + size] for at in range(0, len(text), size)]
    shown = [stream.feed(piece) for piece in pieces] + [stream.close()]
    return "".join(shown), stream.result


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("The moon has no air.", "The moon has no air [1]."),
        ("The moon has no air [1].", "The moon has no air [1]."),
        ("The moon has no air. [1]", "The moon has no air [1]."),
        ("The moon has no air.[1] Nobody has lived there.", "The moon has no air [1]. Nobody has lived there [1]."),
        ("The moon has no air [2].", "The moon has no air [1]."),
        ("Elephants like bananas [1].", "Elephants like bananas."),
        ("According to [1], the moon has no air.", "According to [1], the moon has no air."),
        ("According to [2], the moon has no air.", "According to [1], the moon has no air."),
        ("The moon has no air. See `argv[1]`.", "The moon has no air [1]. See `argv[1]`."),
        ("Here is the answer:\n- The moon has no air\n", "Here is the answer:\n- The moon has no air [1]\n"),
        (
            "1. The moon has no air.\n2. Nobody has lived there.",
            "1. The moon has no air [1].\n2. Nobody has lived there [1].",
        ),
        ("# The moon\n\nThe moon has no air.", "# The moon\n\nThe moon has no air [1]."),
        ("Hello! The moon has no air. Does this help?", "Hello! The moon has no air [1]. Does this help?"),
        (
            "| air | none |\n|---|---|\n| diameter | 3,474 kilometres |\n",
            "| air | none |\n|---|---|\n| diameter | 3,474 kilometres [1] |\n",
        ),
        ("```\nThe moon has no air.\n```\n", "```\nThe moon has no air.\n```\n"),
        (
            "Purchases of property were 1,577 and the diameter of the moon is 3,474 kilometres.",
            "Purchases of property were 1,577 and the diameter of the moon is 3,474 kilometres [1][2].",
        ),
    ],
)
def test_each_statement_gets_its_citations_whatever_the_model_cited(written, shown):
    assert cite(written)[0] == shown


@pytest.mark.parametrize("size", [1, 3, 7])
def test_what_was_shown_never_changes_however_the_pieces_come(size):
    text = (
        "Its diameter is 3,474 kilometres. [1] Nobody has lived there [1]. According to [2], purchases were 1,577.\n\n"
        "- The moon has no air\n- Elephants like bananas [1][2].\n```\nx = a[1]\n```\nThe end."
    )
    assert cite(text, size) == cite(text)


def test_brackets_that_a_passage_has_are_text():
    stream = CitingStream("", [passage("The name of the program is argv[0], its first argument is argv[1].")])
    said = "The first argument is argv[1] [1]."
    assert stream.feed(said) + stream.close() == said


@given(st.lists(st.sampled_from(PIECES), max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_text_is_lost_and_each_span_is_in_its_place_whatever_is_written(pieces):
    stream = CitingStream("", PASSAGES)
    shown = "".join(map(stream.feed, pieces)) + stream.close()
    assert (shown, stream.result) == cite("".join(pieces))
    assert re.sub(r"\s|\[\d\]", "", shown) == re.sub(r"\s|\[\d\]", "", "".join(pieces))
    assert all(shown[span.start : span.end] == span.text for span in stream.result.unsupported)


def test_a_citation_says_who_found_the_passage():
    _, result = cite("The moon has no air [1]. Purchases of property, plant and equipment were 1,577.")
    assert [(one.number, one.by) for one in result.citations] == [(1, "model"), (2, "house")]


def test_each_statement_cites_its_own_place_under_one_number():
    _, result = cite("The moon has no air [1]. Its diameter is 3,474 kilometres [1]. The moon has no air.")
    assert [(one.number, one.quote) for one in result.citations] == [
        (1, "The moon has no air."),
        (1, "Its diameter is 3,474 kilometres."),
    ]


def test_an_unsupported_statement_has_its_range_in_the_text_that_is_shown():
    shown, result = cite("The moon has no air. Its diameter is 9,999 kilometres [1]. Elephants like bananas.", 5)
    assert [span.text for span in result.unsupported] == [
        "Its diameter is 9,999 kilometres.",
        "Elephants like bananas.",
    ]
    assert all(shown[span.start : span.end] == span.text for span in result.unsupported)
    assert result.lacks_details
    assert not cite("Elephants like bananas.")[1].lacks_details


def test_a_refusal_is_neither_cited_nor_unsupported():
    shown, result = cite("The passages do not mention the air of the moon.")
    assert (shown, result.citations, result.unsupported) == ("The passages do not mention the air of the moon.", (), ())


def test_marks_are_taken_out_with_the_blank_before_them():
    assert without_marks("The moon [1][2] has no air [3].") == "The moon has no air."
