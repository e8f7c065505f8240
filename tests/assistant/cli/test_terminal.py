from assistant.cli.terminal import clean


def test_text_cannot_steer_the_terminal():
    assert clean("a\x1b[31mb\x07\nc\td") == "a\ufffd[31mb\ufffd\nc\td"
