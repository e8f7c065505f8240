import json

from assistant.cli import main
from tests.assistant.cli.conftest import PAGES, write_pdf


def test_an_evaluation_runs_over_a_folder_of_pdfs(home, capsys, tmp_path):
    folder = tmp_path / "pdfs"
    folder.mkdir()
    write_pdf(folder / "pump.pdf", PAGES)
    write_pdf(folder / "other.pdf", ["Bananas are yellow and grow in the tropics."])
    questions = tmp_path / "q.jsonl"
    rows = [
        {
            "id": "a",
            "document": "pump.pdf",
            "question": "How long does the warranty last?",
            "answer": "24 months",
            "evidence": [{"page": 1}],
        },
        {
            "id": "b",
            "document": "pump.pdf",
            "question": "How is the filter cleaned?",
            "answer": "water",
            "evidence": [{"page": 2}],
        },
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for scope in ("single", "shared"):
        assert main(["eval", "retrieval", str(questions), "--pdfs", str(folder), "--scope", scope, "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert {"questions", "scope", "store", "embedder", "hit", "mrr", "seconds"} <= set(shown)
        assert (shown["questions"], shown["scope"], shown["store"], shown["hit"]["1"]) == (2, scope, "sqlite", 1.0)
    assert (
        main(["eval", "answers", str(questions), "--pdfs", str(folder), "--json", "--out", str(tmp_path / "run")]) == 0
    )
    shown = json.loads(capsys.readouterr().out)
    assert shown["scores"]["citations_prompted"]["mean"] == shown["scores"]["quotes_verbatim"]["mean"] == 1.0
    assert shown["threshold"]["right_refusals"] == 1.0
    assert (tmp_path / "run" / "report.html").read_text().startswith("<!doctype html>")
    assert main(["eval", "compare", str(tmp_path / "run"), str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"]["cited_page"]["mean"] == 0
