"""Asks a model a fixed sample of each question set, and prints what its answers are worth.

`python -m benchmarks.answers --model ollama:NAME --out FOLDER [--questions N] [FOLDER ...]`: a folder holds
questions.jsonl and pdfs/; without any, the two sample sets beside the checkout. Temperature 0, only the question's
document. A run that was stopped goes on where it ended. `answers.md` in the folder lists each answer beside the
expected one, to be read: only numbers are compared by rule.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.ranking import SHARED

SEED = 20
Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Run the samples, print one line a set, and write what is to be read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[SHARED / "mixed-dev", SHARED / "financebench-dev"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=40, help="of each set")
    options = parser.parse_args(arguments)
    print_head()
    for folder in options.folders:
        out = options.out / folder.name
        out.mkdir(parents=True, exist_ok=True)
        questions = out / "sample.jsonl"
        questions.write_text("".join(sample(folder / "questions.jsonl", options.questions)), encoding="utf-8")
        if not ask(questions, folder / "pdfs", options.model, out):
            print(f"error: {folder.name} was not asked to its end", file=sys.stderr)
            return 1
        rows = [json.loads(line) for line in (out / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
        print_scores(folder.name, rows)
        (out / "answers.md").write_text("\n".join(map(reading_copy, rows)), encoding="utf-8")
    return 0


def sample(path: Path, count: int) -> list[str]:
    """Return `count` lines of a question file, the same ones each time and in the same order."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines.sort(key=lambda line: str(json.loads(line)["id"]))
    return random.Random(SEED).sample(lines, min(count, len(lines)))


def ask(questions: Path, pdfs: Path, model: str, out: Path) -> bool:
    """Run `quire eval answers`, and return whether it came to its end."""
    command = [sys.executable, "-m", "quire", "eval", "answers", str(questions), "--pdfs", str(pdfs)]
    options = ["--model", model, "--temperature", "0", "--no-unanswerable", "--out", str(out)]
    return subprocess.run([*command, *options], check=False, stdout=subprocess.DEVNULL).returncode == 0


def print_head() -> None:
    """Print the names of the columns."""
    print(
        "| set | asked | failed | refused | quotes instead | expected number | words of the expected answer | statements"
        " cited and supported | cites the page | prompt tokens | first word, s | end, s |\n" + "|---" * 12 + "|"
    )


def print_scores(name: str, rows: Sequence[Row]) -> None:
    """Print the scores of one set as a row of a table."""
    answered = [row for row in rows if not row["error"]]
    numbers = [row["numeric_match"] for row in answered if row["numeric_match"] is not None]
    cells = [
        name,
        str(len(rows)),
        str(len(rows) - len(answered)),
        str(sum(row["false_refusal"] for row in answered)),
        str(sum(row.get("mode") == "quotes" for row in answered)),
        f"{sum(numbers)} of {len(numbers)}",
        _mean(answered, "token_f1"),
        _mean(answered, "citation_recall"),
        _mean(answered, "cited_page"),
        _median(answered, "prompt_tokens", 0),
        _median(answered, "first_token_seconds", 1),
        _median(answered, "seconds", 1),
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def reading_copy(row: Row) -> str:
    """Return one answer beside the expected one."""
    pages = ", ".join(str(place["page"]) for place in row["evidence"])
    cited = ", ".join(f"[{c['number']}] page {c['page']} by {c.get('by', 'model')}" for c in row.get("citations", []))
    answer = row["error"] or row["answer"]
    return f"## {row['question']}\n\nexpected (page {pages}): {row['expected']}\n\nanswer: {answer}\n\ncited: {cited or '-'}\n"


def _mean(rows: Sequence[Row], name: str) -> str:
    values = [row[name] for row in rows if row.get(name) is not None]
    return f"{sum(values) / len(values):.2f}" if values else "-"


def _median(rows: Sequence[Row], name: str, digits: int) -> str:
    values = [row[name] for row in rows if row.get(name) is not None]
    return f"{median(values):.{digits}f}" if values else "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
