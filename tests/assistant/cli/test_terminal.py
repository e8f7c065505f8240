from assistant.cli.terminal import clean, count_printer, print_sources
from tests.assistant.helpers import MOON_QUESTION, make_agent, scripted


def test_text_cannot_steer_the_terminal():
    assert clean("a\x1b[31mb\x07\nc\td") == "a\ufffd[31mb\ufffd\nc\td"


def test_progress_is_a_line_now_and_then_in_a_log_and_one_line_on_a_terminal(capsys, monkeypatch):
    often, seldom = count_printer(seconds=0), count_printer(seconds=60)
    for done in (1, 2):
        often(done, 2, "a\x07.pdf")
        seldom(done, 2, "a.pdf")
    assert capsys.readouterr().err == "1/2 a\ufffd.pdf\n2/2 a\ufffd.pdf\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    seldom(1, 2, "a.pdf")
    seldom(2, 2, "a.pdf")
    assert capsys.readouterr().err == "\r\x1b[K1/2 a.pdf\r\x1b[K2/2 a.pdf\n"


def test_sources_say_who_found_them_and_an_unsupported_amount_is_shown_with_the_closest_passages(capsys):
    said = "The moon has no air [1]. Nobody has lived there. Its diameter is 9,999 kilometres."
    print_sources(make_agent(scripted(said)).ask(MOON_QUESTION))
    shown = capsys.readouterr().out
    assert "[1] moon.pdf, page 1: “The moon has no air.”" in shown
    assert "[1] moon.pdf, page 1, matched by quire: “Nobody has lived there.”" in shown
    assert "not supported by the passages: “Its diameter is 9,999 kilometres.”" in shown
    assert "3,474 kilometres" in shown.partition("The passages closest to the question say:")[2]
