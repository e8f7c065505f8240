"""Which lines run on every page, and which are headings."""

from ingest.pdf.layout import body_size, headings, running_lines
from ingest.pdf.pdfium import Line


def marked(*texts: str) -> list[list[str]]:
    return [[text[a:b] for a, b in ranges] for text, ranges in zip(texts, running_lines(texts), strict=True)]


def test_lines_that_repeat_at_top_or_bottom_are_running_lines_digits_aside() -> None:
    words = ["apples", "pears", "plums", "figs"]
    pages = [f"ACME 10-K\n{w} are sold\nmany {w} indeed\n{n}" for n, w in enumerate(words, 7)]
    assert marked(*pages) == [["ACME 10-K", str(n)] for n in (7, 8, 9, 10)]


def test_left_and_right_pages_may_carry_different_headers() -> None:
    pages = [f"{'LEFT' if n % 2 else 'RIGHT'} HEAD\nline {'abcdefgh'[n]} a\nline {'abcdefgh'[n]} b" for n in range(8)]
    assert marked(*pages) == [["LEFT HEAD" if n % 2 else "RIGHT HEAD"] for n in range(8)]


def test_roman_page_numbers_are_one_line_that_repeats() -> None:
    pages = [f"text {w}\nmore {w}\n{n}" for w, n in zip(["x1a", "y2b", "z3c"], ["i", "ii", "iii"], strict=True)]
    assert marked(*pages) == [["i"], ["ii"], ["iii"]]


def test_a_repeated_line_in_the_middle_is_not_a_running_line() -> None:
    pages = [f"top {w}\nT {w}\nU {w}\nV {w}\nshared\nW {w}\nX {w}\nY {w}\nZ {w}" for w in ("aa", "bb", "cc", "dd")]
    assert marked(*pages) == [[], [], [], []]


def test_pages_that_are_alike_but_for_their_numbers_keep_their_text() -> None:
    pages = [f"Payslip {n}\nNet pay {n * 700} euros\nHours {n}" for n in range(1, 7)]
    assert marked(*pages) == [[]] * 6


def test_a_page_of_nothing_but_header_and_footer_among_others_has_no_body() -> None:
    words = ["apples", "pears", "plums", "figs"]
    pages = [f"ACME 10-K\n{w} are sold\n{n}" for n, w in enumerate(words)] + ["ACME 10-K\n9"]
    assert marked(*pages)[-1] == ["ACME 10-K", "9"]


def test_two_pages_are_too_few_to_repeat() -> None:
    assert marked("HEAD\none", "HEAD\ntwo") == [[], []]


def lines(*given: tuple[str, float, bool]) -> tuple[str, list[Line]]:
    raw, found = "", []
    for text, size, bold in given:
        found.append(Line(len(raw), len(raw) + len(text), size, bold))
        raw += text + "\r\n"
    return raw, found


def test_larger_or_bolder_lines_are_headings_and_tables_are_not() -> None:
    raw, found = lines(
        ("Risk Factors", 14, False),
        ("Ordinary words of the body, at some length, as bodies are.", 10, False),
        ("Overview", 10, True),
        ("Total assets 1,975 2,255 2,110", 10, True),
        ("More ordinary words of the body that go on for a while.", 10, False),
        ("and more of them until the page comes to its end, says it.", 10, False),
        ("continued from above", 14, False),
    )
    body = body_size([found])
    assert body == 10
    assert [raw[a:b] for a, b in headings(raw, found, body=body)] == ["Risk Factors", "Overview"]


def test_where_most_lines_are_bold_bold_says_nothing() -> None:
    raw, found = lines(*[(f"Bold line {c}", 10, True) for c in "abcdef"])
    assert headings(raw, found, body=10) == []


def test_no_lines_have_no_body() -> None:
    assert body_size([]) == 0.0
