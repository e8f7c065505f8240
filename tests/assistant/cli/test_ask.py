import json

from assistant.answering.prompt import REFUSAL
from assistant.cli import main


def test_ask_quotes_a_page_and_prints_json_with_the_documented_keys(home, capsys):
    assert main(["ask", "How long does the warranty last?", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    wanted = {"question", "answer", "refused", "mode", "model", "citations", "passages", "notices", "usage"}
    assert wanted <= set(shown)
    assert {"prompt_tokens", "evidence_tokens", "dropped_passages", "seconds"} <= set(shown["usage"])
    assert (shown["mode"], shown["refused"]) == ("quotes", False)
    assert shown["citations"][0]["document"] == "pump.pdf"
    assert shown["citations"][0]["page"] == 1
    assert "24 months" in shown["citations"][0]["quote"]


def test_ask_prints_the_answer_to_stdout_and_the_label_to_stderr(home, capsys):
    assert main(["ask", "How often is the filter rinsed?"]) == 0
    out, err = capsys.readouterr()
    assert "rinse the filter with cold water every week" in out
    assert "pump.pdf, page 2" in out
    assert "excerpts" in err


def test_a_refusal_is_an_answer(home, capsys):
    assert main(["ask", "Who won the football world cup in 1998?", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["refused"], shown["answer"], shown["citations"]) == (True, REFUSAL, [])


def test_the_operators_log_gets_the_turn_and_a_note_says_so(home, capsys, tmp_path, monkeypatch):
    (tmp_path / "quire.toml").write_text(f'[assistant]\nconversation_log = "{tmp_path / "turns.jsonl"}"\n')
    monkeypatch.chdir(tmp_path)
    assert main(["ask", "How long does the warranty last?"]) == 0
    assert "keeps questions and answers of every turn" in capsys.readouterr().err
    (line,) = (tmp_path / "turns.jsonl").read_text().splitlines()
    assert json.loads(line)["sources"][0] == {"document": "pump.pdf", "page": 1}
