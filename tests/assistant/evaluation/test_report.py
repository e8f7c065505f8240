from assistant.evaluation.report import MAX_SHOWN, failures, html_report
from assistant.evaluation.runs import summarize_run
from assistant.llm.model import wrap_chat_model
from tests.assistant.evaluation.helpers import QUESTIONS, run
from tests.assistant.helpers import scripted


def test_the_report_shows_each_failure_beside_its_page_and_escapes_all_text(tmp_path):
    model = wrap_chat_model(scripted("It is 5 [1]. a<b", "I don't know.", "It is 6 [1]."), name="<model>")
    rows = run(tmp_path / "a.jsonl", model, unanswerable=False)
    page = html_report(summarize_run(rows), rows, lambda document, page: f"<page {page} of {document}>")
    assert [bool(failures(row)) for row in rows] == [True, True, True]
    assert "refused, although the documents have the answer" in page
    assert "&lt;page 60 of report.pdf&gt;" in page
    assert "<model>" not in page


def test_a_report_of_many_long_failures_is_bounded_and_says_what_it_leaves_out(tmp_path):
    model = wrap_chat_model(scripted("It is 5 [1].", KeyError("x")), name="m")
    rows = run(tmp_path / "a.jsonl", model, QUESTIONS[:2], unanswerable=False)
    page = html_report(summarize_run(rows), rows, lambda document, page: "x" * 100_000)
    assert len(page) < 20_000
    assert "(96000 more characters)" in page
    assert page.index("failed: KeyError") < page.index("the expected number is not in the answer")
    many = rows[:1] * (MAX_SHOWN + 7)
    page = html_report(summarize_run(many), many, lambda document, page: "")
    assert page.count("class=failure") == MAX_SHOWN
    assert "7 more are in answers.jsonl" in page
