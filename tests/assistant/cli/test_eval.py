import json
import re
import shlex
from pathlib import Path

import pytest

from assistant.cli import main
from assistant.cli.eval import build_parser
from assistant.evaluation import answer_metrics, retrieval_metrics
from assistant.evaluation.identity import ANSWER_CODE, code_hash
from assistant.evaluation.questions import read_questions
from tests.assistant.cli.conftest import PAGES, write_pdf

ROOT = Path(__file__).parents[3]


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
        assert shown["library"].startswith("eval-")
        assert shown["code_hash"] == code_hash(ANSWER_CODE)
        assert (shown["questions"], shown["scope"], shown["store"], shown["hit"]["1"]) == (2, scope, "sqlite", 1.0)
    assert (
        main(["eval", "answers", str(questions), "--pdfs", str(folder), "--json", "--out", str(tmp_path / "run")]) == 0
    )
    shown = json.loads(capsys.readouterr().out)
    assert shown["scores"]["cited_page"]["mean"] == shown["scores"]["numeric_match"]["mean"] == 1.0
    assert shown["threshold"]["right_refusals"] == 1.0
    assert (tmp_path / "run" / "report.html").read_text().startswith("<!doctype html>")
    assert main(["eval", "compare", str(tmp_path / "run"), str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"]["cited_page"]["mean"] == 0

    more = tmp_path / "more.jsonl"
    more.write_text(
        json.dumps(
            {
                "id": "c",
                "document": "other.pdf",
                "question_type": "fruit",
                "question": "What color are bananas?",
                "evidence": [{"page": 1}],
            }
        )
        + '\n{"id": "d", "question": "Who wrote it?"}\n'
    )
    command = ["eval", "retrieval", str(questions), str(more), "--pdfs", str(folder)]
    assert main([*command, "--scope", "shared", "--trec", str(tmp_path / "trec"), "--min", "hit@5>=0.9"]) == 0
    shown = capsys.readouterr()
    assert "3 questions of 2 documents" in shown.out
    assert "left out: 1 question without evidence pages" in shown.out
    assert "fruit" in shown.out
    assert "is used again: same bytes, settings and code" in shown.err
    assert len((tmp_path / "trec" / "qrels.txt").read_text().splitlines()) == 3
    assert f"run.txt and qrels.txt are in {tmp_path / 'trec'}\n" in shown.err
    (tmp_path / "none.jsonl").write_text(
        '{"id": "e", "document": "pump.pdf", "question": "How long is the warranty?", "evidence": [{"page": 2}], "pages": 2}\n'
    )
    command.insert(2, str(tmp_path / "none.jsonl"))
    assert main([*command, "--min", "hit@1>=0.9", "--min", "mrr>=0.1", "--json"]) == 1
    shown = capsys.readouterr()
    assert "hit@1 is 0.7500, and must be at least 0.9\n" in shown.err
    assert "none.jsonl has fields that are not used: pages (1 line)\n" in shown.err
    saved = tmp_path / "saved.json"
    saved.write_text(shown.out)
    assert main(["eval", "compare", str(saved), str(saved)]) == 0
    assert "no pair differs  won 0 lost 0" in capsys.readouterr().out
    assert main([*command, "--min", "hits>=0.9"]) == 2
    assert "use one of hit@1" in capsys.readouterr().err


def test_an_unusable_folder_for_trec_files_is_refused_before_the_search(home, capsys, tmp_path):
    (tmp_path / "q.jsonl").write_text('{"document": "pump.pdf", "question": "?", "evidence": [{"page": 1}]}\n')
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):  # `quire` prints it as one sentence
        main(["eval", "retrieval", str(tmp_path / "q.jsonl"), "--library", "none", "--trec", str(tmp_path / "file")])


def test_a_flag_that_an_evaluation_would_ignore_is_refused(home, capsys, tmp_path):
    (tmp_path / "q.jsonl").write_text('{"document": "pump.pdf", "question": "?", "answer": "x"}\n')
    with pytest.raises(SystemExit):
        main(["eval", "answers", str(tmp_path / "q.jsonl"), "--no-documents"])
    assert "unrecognized arguments: --no-documents" in capsys.readouterr().err
    for command in (["retrieval"], ["answers"], ["convert", "--to", "beir", str(tmp_path / "b")]):
        assert main(["eval", *command, str(tmp_path / "q.jsonl"), "--pdfs", str(tmp_path), "--library", "mine"]) == 2
        assert "give one of them" in capsys.readouterr().err


def test_a_run_says_how_many_questions_of_each_kind_it_asked(home, capsys, tmp_path):
    (tmp_path / "q.jsonl").write_text(
        '{"id": "a", "document": "pump.pdf", "question": "How long does the warranty last?", "answer": "24 months"}\n'
        '{"id": "b", "question": "Who wrote War and Peace?"}\n'
    )
    assert main(["eval", "answers", str(tmp_path / "q.jsonl"), "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr()
    assert "quotes: 1 question, 0 asked again without their document, 1 unanswerable one, scope single" in shown.out
    assert "1 question could not be asked without the document" in shown.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["unanswerable"], summary["without_document"]) == (1, 0)


def test_the_commands_and_the_question_lines_of_the_documentation_work(tmp_path):
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/evaluation.md")]
    commands = [shlex.split(line) for page in pages for line in re.findall(r"^quire eval .+$", page, re.MULTILINE)]
    assert len(commands) == 5
    for command in commands:
        build_parser().parse_args(command[2:])  # exits with 2 where the command does not know a flag
    lines = re.findall(r"^{.+}$", pages[1], re.MULTILINE)
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    notes: list[str] = []
    assert [question.unanswerable for question in read_questions(tmp_path / "q.jsonl", notes.append)] == [False, True]
    assert notes == []


def test_every_score_is_explained_on_the_page():
    page = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w@]+)`", page))
    assert set(answer_metrics.METRICS) <= named
    assert {re.sub(r"\d+", "k", name) for name in retrieval_metrics.METRICS} <= named


def test_a_conversion_never_writes_over_what_it_reads(home, capsys, tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "?", "mine": 1}\n')
    assert main(["eval", "convert", str(path), str(tmp_path / "." / "q.jsonl")]) == 2
    assert "name another file to write" in capsys.readouterr().err
    assert path.read_text() == '{"question": "?", "mine": 1}\n'


def test_a_question_set_is_converted_and_what_was_lost_is_said(home, capsys, tmp_path):
    (tmp_path / "q.jsonl").write_text('{"id": "a", "question": "?"}\n')
    assert main(["eval", "convert", str(tmp_path / "q.jsonl"), str(tmp_path / "r.jsonl"), "--to", "ragas"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"1 question written to {tmp_path / 'r.jsonl'}\n"
    assert "1 question without an answer of a model" in shown.err
    assert json.loads((tmp_path / "r.jsonl").read_text())["user_input"] == "?"
    command = ["eval", "convert", str(tmp_path / "q.jsonl"), str(tmp_path / "d.jsonl"), "--to", "deepeval", "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["questions"], result["out"]) == (1, str(tmp_path / "d.jsonl")) and result["notices"]
    assert main(["eval", "convert", str(tmp_path / "q.jsonl"), str(tmp_path / "x"), "--from", "beir"]) == 1
    assert "check the path and the format given with --from" in capsys.readouterr().err
