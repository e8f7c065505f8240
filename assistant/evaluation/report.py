"""A run of `quire eval answers` as an HTML page: the scores, then each failure beside its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.evaluation.answer_metrics import METRICS
from assistant.evaluation.runs import Row, threshold_sentence
from assistant.retrieval.search import whole_page
from quire import pluralize

if TYPE_CHECKING:
    from ingest import Store

MAX_SHOWN = 200  # failures that report.html shows; answers.jsonl has all rows
_MAX_CHARACTERS = 4000  # of one page, quote or answer

PageText = Callable[[str, int], str]  # (document, page) -> text of the page, "" if it is not in the store

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #ccc;text-align:left}
td.n{text-align:right}.failure{border-top:2px solid #999;padding:1rem 0;display:grid;grid-template-columns:1fr 1fr;gap:1.5rem}
pre{white-space:pre-wrap;background:#f4f4f0;padding:.6rem;max-height:24rem;overflow:auto;font-size:13px}
h3{grid-column:1/3;margin:0}@media(max-width:40rem){.failure{display:block}}"""


def failures(row: Row) -> list[str]:
    """Return what is wrong with one row of a run, in words; [] for a good one."""
    found = []
    if row["error"]:
        found.append(f"failed: {row['error']}")
    if row["false_refusal"]:
        found.append("refused, although the documents have the answer")
    if row["right_refusal"] is False:
        found.append("answered, although the documents do not have the answer")
    if row["numeric_match"] is False:
        found.append("the expected number is not in the answer")
    if row["judged_correct"] is False:
        found.append("the judge finds it wrong")
    if row["judged_faithful"] is False:
        found.append("the judge finds it unsupported")
    if row["cited_page"] is False:
        found.append("no evidence page is cited")
    if row["citation_recall"] is not None and row["citation_recall"] < 1:
        found.append("a sentence is not supported by what it cites")
    if row["citations_true"] is not None and row["citations_true"] < 1:
        found.append("a citation was invented")
    return found


def html_report(summary: dict[str, Any], rows: Sequence[Row], page_text: PageText) -> str:
    """Return the page, the worst failures first; all text in it is escaped, and it loads nothing from the network.

    It shows at most MAX_SHOWN failures, with evidence pages and quotes folded, and says how many it leaves out.
    """
    failed = [(row, wrong) for row in rows if (wrong := failures(row))]
    failed.sort(key=lambda pair: (not pair[0]["error"], -len(pair[1])))
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{escape(summary['model'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(summary['model'])} on {pluralize(summary['questions'], 'question')}, scope {escape(summary['scope'])}</h1>",
        _scores(summary),
        f"<h2>{len(failed)} of {pluralize(len(rows), 'answer')} with a failure</h2>",
        *(_failure(row, wrong, page_text) for row, wrong in failed[:MAX_SHOWN]),
        f"<p>{len(failed) - MAX_SHOWN} more are in answers.jsonl" if len(failed) > MAX_SHOWN else "",
        "</html>",
    ]
    return "\n".join(parts)


def write_report(path: Path, summary: dict[str, Any], rows: Sequence[Row], store: Store) -> None:
    """Write the page to a file; evidence pages are read from the store."""
    ids = {document.name: document.id for document in store.documents()}

    def page_text(document: str, page: int) -> str:
        key = (ids.get(document, ""), page)
        chunks = store.page_chunks([key]).get(key)
        return whole_page(chunks).text if chunks else ""

    path.write_text(html_report(summary, rows, page_text), encoding="utf-8")


def _scores(summary: dict[str, Any]) -> str:
    lines = ["<table><tr><th>score<th>mean<th>95 % interval<th>n<th>meaning"]
    for name, score in summary["scores"].items():
        lines.append(
            f"<tr><td>{escape(name)}<td class=n>{score['mean']:.3f}<td>{score['low']:.3f} to {score['high']:.3f}"
            f"<td class=n>{score['n']}<td>{escape(METRICS[name])}"
        )
    return "\n".join([*lines, "</table>", f"<p>{threshold_sentence(summary['threshold'])}</p>"])


def _failure(row: Row, wrong: Sequence[str], page_text: PageText) -> str:
    evidence = row["evidence"] if row["answerable"] else []
    pages = "".join(
        _folded(f"evidence: {e['document']}, page {e['page']}", page_text(e["document"], e["page"])) for e in evidence
    )
    quotes = "".join(
        _folded(f"[{c['number']}] {c['document']}, page {c['page']}", c["quote"]) for c in row["citations"]
    )
    raw = _folded("as the model wrote it", row["raw"]) if row["raw"] != row["answer"] else ""
    kind = "" if row["answerable"] else " (asked of documents that do not have the answer)"
    return (
        f"<div class=failure><h3>{escape(row['id'])}: {escape('; '.join(wrong))}{kind}</h3>"
        f"<div><p><b>{escape(row['question'])}</b></p><p>expected: {escape(row['expected'])}</p>"
        f"<pre>{_shortened(row['answer'])}</pre>{raw}{quotes}</div><div>{pages}</div></div>"
    )


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary><pre>{_shortened(text)}</pre></details>" if text else ""


def _shortened(text: str) -> str:
    rest = len(text) - _MAX_CHARACTERS
    return escape(text[:_MAX_CHARACTERS]) + (f" ... ({rest} more characters)" if rest > 0 else "")
