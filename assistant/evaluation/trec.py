"""Rankings as TREC files: `run.txt` and `qrels.txt`, which trec_eval, ir-measures and ranx read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from assistant.evaluation.rankings import PageKey, Ranking
from quire import write_atomically


def write_trec(folder: Path, rankings: Sequence[Ranking], names: Mapping[str, str], tag: str) -> None:
    """Write run.txt and qrels.txt to a folder; `names` has the name of each document id.

    Ids are percent-encoded, because they must not contain blanks. trec_eval ignores the rank and breaks ties by id,
    so scores fall by one from rank to rank.
    """
    run, qrels = [], []
    for ranking in rankings:
        query = _encoded(ranking.question.id)
        for rank, page in enumerate(ranking.pages, 1):
            run.append(f"{query} Q0 {page_id(page, names)} {rank} {len(ranking.pages) - rank + 1} {_encoded(tag)}\n")
        qrels += [f"{query} 0 {page_id(page, names)} 1\n" for page in sorted(ranking.evidence)]
    write_atomically(folder / "run.txt", "".join(run))
    write_atomically(folder / "qrels.txt", "".join(qrels))


def page_id(page: PageKey, names: Mapping[str, str]) -> str:
    """Return `report.pdf#p12`, percent-encoded."""
    return f"{_encoded(names[page[0]])}#p{page[1]}"


def _encoded(text: str) -> str:
    return quote(text, safe="/:") or "-"
