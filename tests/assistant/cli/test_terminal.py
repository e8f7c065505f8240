from assistant.cli.terminal import clean, count_printer


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
