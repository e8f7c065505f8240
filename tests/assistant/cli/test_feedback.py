import json

from assistant.cli import main


def test_feedback_is_exported_as_lines(home, capsys):
    assert main(["feedback", "export", "--format", "kto"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["feedback", "export", "--format", "kto", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"format": "kto", "count": 0, "thumbs": 0, "out": None, "rows": []}
    assert err == ""
