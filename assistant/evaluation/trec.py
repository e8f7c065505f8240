"""Rankings as TREC files: `run.txt` and `qrels.txt`, which trec_eval, ir-measures and ranx read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assistant.evaluation.page_ids import encoded, page_id
from assistant.evaluation.rankings import Ranking
from quire import write_atomically


def write_trec(folder: Path, rankings: Sequence[Ranking], names: Mapping[str, str], tag: str) -> None:
    """Write run.txt and qrels.txt to a folder; `names` has the name of each document id.

    Ids are percent-encoded, because they must not contain blanks. trec_eval ignores the rank and breaks ties by id,
    so scores fall by one from rank to rank.
    """
    run, qrels = [], []
    for ranking in rankings:
        query = encoded(ranking.question.id)
        for rank, (document, page) in enumerate(ranking.pages, 1):
            score = len(ranking.pages) - rank + 1
            run.append(f"{query} Q0 {page_id(names[document], page)} {rank} {score} {encoded(tag)}\n")
        qrels += [f"{query} 0 {page_id(names[document], page)} 1\n" for document, page in sorted(ranking.evidence)]
    write_atomically(folder / "run.txt", "".join(run))
    write_atomically(folder / "qrels.txt", "".join(qrels))
