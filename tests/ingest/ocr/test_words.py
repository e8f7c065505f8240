"""Rows, columns and the words of a line."""

import pytest

from ingest.ocr.words import (
    Piece,
    Word,
    confidence,
    evened,
    in_lines,
    in_reading_order,
    slope,
    split_line,
    turn_needed,
    turned,
)


def piece(text: str, left: float, top: float, *, width: float = 0, height: float = 12, sure: float = 1.0) -> Piece:
    return split_line(text, (left, top, left + (width or 7 * len(text)), top + height), sure)


def texts(pieces: list[Piece]) -> list[str]:
    return [" ".join(word.text for word in row) for row in in_reading_order(pieces)]


def test_the_cells_of_a_table_row_become_one_line_from_left_to_right() -> None:
    cells = [
        piece("31,657", 400, 52),
        piece("Cost of sales", 20, 71),
        piece("32,765", 300, 47),
        piece("Net sales", 20, 50),
        piece("16,682", 300, 70),
    ]
    assert texts(cells) == ["Net sales 32,765 31,657", "Cost of sales 16,682"]


def test_boxes_that_overlap_by_less_than_half_are_two_lines() -> None:
    assert texts([piece("upper", 20, 50), piece("lower", 60, 57)]) == ["upper", "lower"]


def test_two_columns_of_prose_are_not_mixed_and_what_spans_both_divides_them() -> None:
    left = [piece(f"left column has this line {'abcde'[n]} of prose", 20, 100 + 20 * n, width=280) for n in range(5)]
    right = [piece(f"right column has its line {'abcde'[n]} of prose", 330, 107 + 20 * n, width=280) for n in range(5)]
    title = piece("A title that spans the whole width of this page", 20, 60, width=590)
    expected = [title, *left, *right]
    mixed = [right[2], left[4], title, right[0], left[0], left[1], right[4], left[2], right[1], left[3], right[3]]
    assert texts(mixed) == [" ".join(word.text for word in one.words) for one in expected]


def test_a_table_of_labels_and_ragged_remarks_stays_in_rows() -> None:
    rows = [("Net sales of the whole company here", "rose"), ("Cost of sales of the company", "fell a little bit"),
            ("Income before taxes of the company", "stayed about the same as it was"), ("Tax", "was paid as usual"),
            ("Earnings after all taxes were paid", "rose")]  # fmt: skip
    pieces = [
        piece(text, left, 50 + 20 * n) for n, row in enumerate(rows) for left, text in zip((20, 330), row, strict=True)
    ]
    assert texts(pieces) == [" ".join(row) for row in rows]


def test_a_long_label_over_a_gutter_does_not_part_the_rows_of_a_table() -> None:
    labels = [f"A label of some length {'abcdef'[n]} here" for n in range(6)]
    labels[3] = "A very much longer label that reaches over the gutter"
    rows = [[piece(label, 20, 300 + 20 * n), piece("1,559", 600, 299 + 20 * n)] for n, label in enumerate(labels)]
    notes = [piece(f"Some centered words of prose {'abcd'[n]}", 300, 40 + 20 * n) for n in range(4)]
    expected = [" ".join(word.text for one in row for word in one.words) for row in rows]
    assert texts([*notes, *(one for row in rows for one in reversed(row))])[4:] == expected


def test_boxes_of_neighboring_rows_do_not_overlap_and_words_of_a_row_have_one_middle() -> None:
    rows = in_reading_order([piece("Gross profit", 20, 100, height=20), piece("9,912", 300, 103, height=20)])
    rows += in_reading_order([piece("Selling expenses", 20, 116, height=20)])
    above, below = in_lines(rows)
    assert len({word.top + word.bottom for word in above}) == 1
    assert max(word.bottom for word in above) < min(word.top for word in below)


def test_words_of_a_line_get_their_share_of_its_box() -> None:
    words = split_line("ab  cdef", (100, 0, 180, 10), 0.5).words
    assert [(w.text, w.left, w.right) for w in words] == [("ab", 100, 120), ("cdef", 140, 180)]


@pytest.mark.parametrize(("degrees", "box"), [(90, (950, 10, 980, 60)), (270, (20, 440, 50, 490))])
def test_a_turned_picture_takes_its_words_along(degrees: int, box: tuple[float, ...]) -> None:
    [there] = turned([Piece((Word("up", 10, 20, 60, 50, 1.0),))], degrees, width=500, height=1000)
    word = there.words[0]
    assert (word.left, word.top, word.right, word.bottom) == box


def test_lines_that_run_up_or_down_tell_how_to_turn_the_page() -> None:
    up = Piece((Word("first", 10, 400, 20, 480, 1.0), Word("second", 10, 300, 20, 380, 1.0)))
    down = Piece(tuple(reversed(up.words)))
    assert turn_needed([piece("level line", 0, 0)]) == 0
    assert turn_needed([up, piece("x", 0, 0)]) == 90
    assert turn_needed([down]) == 270


def test_the_slope_is_that_of_the_longer_lines() -> None:
    line = Piece(tuple(Word(str(n), 100 * n, 5 * n, 100 * n + 50, 5 * n + 10, 1.0) for n in range(4)))
    assert slope([line, piece("short", 0, 0)]) == pytest.approx(0.05)
    assert slope([]) == 0


def test_sure_characters_count_by_their_number() -> None:
    assert confidence([piece("abcdefghi", 0, 0, sure=1.0), piece("x", 0, 0, sure=0.0)]) == pytest.approx(0.9)
    assert confidence([]) == 0


def test_boxes_of_about_one_height_get_one_height_and_a_heading_keeps_its_own() -> None:
    heights = [evened([piece("a", 0, 0, height=h) for h in (10, 12, 14, 30)])[n].words[0] for n in range(4)]
    assert [word.bottom - word.top for word in heights] == [13, 13, 13, 30]
    assert heights[0].top + heights[0].bottom == 10
