"""How often an answer without a model contains the expected one: in its first line, and in all quotes.

`python -m benchmarks.quotes [FOLDER ...]`: a folder holds questions.jsonl and pdfs/; without any, the two sample sets
beside the checkout. Each question is asked of its document. Figures must be stated as `quire eval` reads them; for
answers in words, the share of their words counts.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from assistant import Agent, load_config, load_model
from assistant.evaluation.amounts import numeric_match
from assistant.evaluation.corpus import document_ids, open_corpus
from assistant.evaluation.questions import Question, read_questions
from assistant.evaluation.token_overlap import token_recall
from benchmarks.ranking import SHARED
from benchmarks.table import show
from ingest import Library
from ingest import load_config as load_ingest_config


def main(arguments: Sequence[str]) -> None:
    """Print the shares of each set and kind of answer."""
    folders = [Path(name) for name in arguments] or [SHARED / "mixed-dev", SHARED / "financebench-dev"]
    rows = []
    for folder in folders:
        questions = [question for question in read_questions(folder / "questions.jsonl") if question.answer]
        config, _ = load_ingest_config()
        with open_corpus(config, [folder / "pdfs"]) as library:
            rows += [{"set": folder.name, **row} for row in measure(library, questions)]
    show("quotes", "Expected answers in the first line and in all quotes", rows)


def measure(library: Library, questions: Sequence[Question]) -> list[dict[str, object]]:
    """Return one row for figures and one for answers in words."""
    config, _ = load_config()
    agent = Agent(config, load_model("quotes", config), library.store, library.embedder)
    ids = document_ids(library, questions)
    found: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for question in questions:
        answer = agent.ask(question.question, documents=[ids[question.document]])
        first, quotes = answer.text.partition("\n")[0], [citation.quote for citation in answer.citations]
        if numeric_match(question.answer, question.answer, question.question):
            stated = [bool(numeric_match(question.answer, text, question.question)) for text in (first, *quotes)]
            found["figures"].append((stated[0], any(stated), len(first)))
        else:
            shares = (token_recall(question.answer, first), token_recall(question.answer, "\n".join(quotes)))
            found["words"].append((*shares, len(first)))
    return [
        {"answers": kind, "n": len(values), "first line": first, "all quotes": every, "characters": characters}
        for kind, values in found.items()
        for first, every, characters in [map(mean, zip(*values, strict=True))]
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
