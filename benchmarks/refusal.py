"""Fits the probability that a page holds the answer, and measures what it refuses on documents it was not fitted on.

`python -m benchmarks.refusal [--write] [FOLDER ...]`: a folder holds questions.jsonl and pdfs/, and may hold
unanswerable.jsonl; without any, the two sample sets beside the checkout. The everyday set (benchmarks/everyday.py) is
always there, each document as a library of its own, and all as one. Each question is asked of its document, of
all documents, and of all others, where a refusal is right; and again of two and of six of these pages, since a library
may be small. Fit the ranking first (`python -m benchmarks.ranking`).
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.evaluation.corpus import document_ids, open_corpus
from assistant.evaluation.questions import Question, read_questions
from assistant.evaluation.retrieval_metrics import document_folds
from assistant.retrieval.features import PageEvidence
from assistant.retrieval.ranking import score_pages
from assistant.retrieval.relevance import FEW_WORDS, PAGES, signals
from assistant.retrieval.search import candidates, page_evidence
from assistant.retrieval.weights import WEIGHTS_FILE
from benchmarks.everyday import EverydayQuestion, read_everyday, write_documents
from benchmarks.ranking import FOLDS, SHARED
from ingest import Library, load_config

L2 = 1e-3
BOOKLET = "Northwind_Standard_Benefits_Details.pdf"  # the document of the sample questions that name none
KINDS = {
    "probability": ("coverage", "missing", "ranking", "behind"),
    "probability_of_few_words": ("cosine", "missing", "behind"),
}
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
FEW_PAGES = (2, 6)  # of a small library
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One question asked of some documents: the values of its best pages, best first, and which are evidence."""

    set_name: str
    document: str
    asked_of: str  # single, shared, without (its document) or unanswerable; with the number of pages if there are few
    values: dict[str, list[float]]  # of each page, by name
    evidence: list[bool]
    weight: float

    @property
    def answerable(self) -> bool:
        """Return whether the question's document was among those asked."""
        return self.asked_of.startswith(("single", "shared", "answered"))


def main(arguments: Sequence[str]) -> int:
    """Fit, cross-validate, print what is refused, and write the parameters where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[SHARED / "mixed-dev", SHARED / "financebench-dev"])
    parser.add_argument("--write", action="store_true", help=f"write {WEIGHTS_FILE.name}")
    options = parser.parse_args(arguments)
    cases = [case for folder in options.folders for case in read_cases(folder)] + everyday_cases()
    fitted = {kind: fit(cases, names) for kind, names in KINDS.items()}
    print(json.dumps(fitted, indent=2))
    print_table(cases, cross_validated(cases))
    if options.write:
        stored = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8")) | fitted
        WEIGHTS_FILE.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    return 0


def read_cases(folder: Path) -> list[Case]:
    """Return the cases of a folder's questions."""
    questions = [question for question in read_questions(folder / "questions.jsonl") if question.pages]
    impossible = folder / "unanswerable.jsonl"
    config, _ = load_config()
    with open_corpus(config, [folder / "pdfs"]) as library:
        cases = list(cases_of(library, questions, folder.name))
        if impossible.is_file():
            cases += impossible_cases(library, read_questions(impossible), folder.name)
    sizes = Counter((case.document, case.answerable) for case in cases)
    return [replace(case, weight=1 / np.sqrt(sizes[case.document, case.answerable])) for case in cases]


def everyday_cases() -> list[Case]:
    """Return the cases of the everyday set: each question asked of its document's own library, and of all."""
    questions = read_everyday()
    config, _ = load_config()
    cases: list[Case] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = write_documents(Path(folder))
        for asked, group in [(path.name, [path]) for path in paths] + [("all", paths)]:
            alone = Path(folder) / asked.removesuffix(".pdf")
            alone.mkdir()
            for path in group:
                shutil.copy(path, alone)
            with open_corpus(replace(config, home=alone), [alone]) as library:
                for question in questions:
                    if asked in (question.document, "all"):
                        cases.append(_everyday_case(library, question, "all" if asked == "all" else "own"))
    sizes = Counter((case.document, case.answerable) for case in cases)
    return [replace(case, weight=1 / np.sqrt(sizes[case.document, case.answerable])) for case in cases]


def _everyday_case(library: Library, question: EverydayQuestion, asked: str) -> Case:
    pages, chunks = candidates(library.store, library.embedder, question.question)
    evidence = page_evidence(pages, chunks)
    scores = score_pages(question.question, evidence)
    # the page is not recorded: the first one of the document counts as the one that answers
    first = max(
        (i for i, page in enumerate(pages) if question.answerable and page.best.document == question.document),
        key=lambda i: scores[i],
        default=None,
    )
    asked_of = f"{'answered' if question.answerable else 'unanswered'}, {asked}"
    right = [i == first for i in range(len(pages))]
    return _case("everyday", question.document, asked_of, question.question, evidence, right)


def cases_of(library: Library, questions: Sequence[Question], set_name: str) -> Iterator[Case]:
    """Yield each question asked of its document, of all, and of all others."""
    ids = document_ids(library, questions)
    everything = [document.id for document in library.store.documents()]
    for question in questions:
        own = ids[question.document]
        for asked_of, documents in (
            ("single", [own]),
            ("shared", None),
            ("without", [other for other in everything if other != own]),
        ):
            yield from _cases(library, question, set_name, asked_of, documents, own)


def impossible_cases(library: Library, questions: Sequence[Question], set_name: str) -> Iterator[Case]:
    """Yield each question that the documents do not answer, asked of its document and of all."""
    ids = {document.name: document.id for document in library.store.documents()}
    for question in questions:
        document = question.document or BOOKLET
        yield from _cases(library, question, set_name, "unanswerable", [ids[document]], "")
        yield from _cases(library, question, set_name, "unanswerable (all)", None, "")


def _cases(
    library: Library, question: Question, set_name: str, asked_of: str, documents: list[str] | None, own: str
) -> Iterator[Case]:
    """Yield one question asked of some documents, and of a few of their pages: the evidence or the best, and others."""
    pages, chunks = candidates(library.store, library.embedder, question.question, documents=documents)
    evidence = page_evidence(pages, chunks)
    right = [page.key[0] == own and page.key[1] in question.pages for page in pages]
    document = question.document or BOOKLET
    yield _case(set_name, document, asked_of, question.question, evidence, right)
    first = right.index(True) if any(right) else 0 if asked_of != "single" else None
    others = [i for i in range(len(pages)) if not right[i] and i != first]
    if asked_of == "shared" or first is None or len(others) < max(FEW_PAGES):
        return
    for few in FEW_PAGES:
        chosen = [first, *random.Random(question.id).sample(others, few - 1)]
        few_pages, few_right = [evidence[i] for i in chosen], [right[i] for i in chosen]
        yield _case(set_name, document, f"{asked_of}, {few} pages", question.question, few_pages, few_right)


def _case(
    set_name: str, document: str, asked_of: str, question: str, pages: Sequence[PageEvidence], right: Sequence[bool]
) -> Case:
    scores = score_pages(question, pages)
    best = sorted(range(len(pages)), key=lambda i: -scores[i])[:PAGES]
    if not best:
        return Case(set_name, document, asked_of, {}, [], 1.0)
    found = signals(question, [pages[i] for i in best], [scores[i] for i in best])
    values = {name: [value] * len(best) for name, value in vars(found).items()}
    values["behind"] = [scores[i] - scores[best[0]] for i in best]
    return Case(set_name, document, asked_of, values, [right[i] for i in best], 1.0)


def fit(cases: Sequence[Case], names: Sequence[str]) -> dict[str, float]:
    """Return the parameters of a logistic regression over pages, with a little L2 on values of unit spread.

    The cosine is fitted without the everyday set: that the only page of a library is the right one is no merit of it.
    """
    from scipy.optimize import minimize

    cases = [case for case in cases if case.evidence and not ("cosine" in names and case.set_name == "everyday")]
    values = np.concatenate([_matrix(case, names) for case in cases])
    right = np.concatenate([np.array(case.evidence, dtype=float) for case in cases])
    weight = np.concatenate([np.full(len(case.evidence), case.weight) for case in cases])
    weight /= weight.sum()
    middle, spread = values.mean(axis=0), values.std(axis=0) + 1e-9
    inputs = np.concatenate([(values - middle) / spread, np.ones((len(values), 1))], axis=1)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        logits = inputs @ parameters
        shrunk = np.append(parameters[:-1], 0.0)
        value = (weight * (np.logaddexp(0, logits) - right * logits)).sum() + L2 * shrunk @ shrunk / 2
        return value, inputs.T @ (weight * (1 / (1 + np.exp(-logits)) - right)) + L2 * shrunk

    found = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x
    slopes = found[:-1] / spread
    parameters = dict(zip(names, slopes, strict=True)) | {"constant": found[-1] - slopes @ middle}
    return {name: round(float(value), 4) for name, value in parameters.items()}


def cross_validated(cases: Sequence[Case]) -> list[Floats]:
    """Return the probabilities of the pages of each case, by parameters fitted without its document."""
    names = [f"{case.set_name}/{case.document}" for case in cases]
    folds = document_folds(names, FOLDS)
    fitted = {}
    for fold in range(FOLDS):
        others = [case for case, name in zip(cases, names, strict=True) if folds[name] != fold]
        fitted[fold] = {kind: fit(others, used) for kind, used in KINDS.items()}
    return [_probabilities(case, fitted[folds[name]]) for case, name in zip(cases, names, strict=True)]


def _probabilities(case: Case, fitted: dict[str, dict[str, float]]) -> Floats:
    if not case.evidence:
        return np.zeros(0)
    few = case.values["coverage"][0] < FEW_WORDS
    kind = "probability_of_few_words" if few else "probability"
    slopes = np.array([fitted[kind][name] for name in KINDS[kind]])
    result: Floats = 1 / (1 + np.exp(-(_matrix(case, KINDS[kind]) @ slopes + fitted[kind]["constant"])))
    return result


def _matrix(case: Case, names: Sequence[str]) -> Floats:
    return np.stack([np.array(case.values[name], dtype=float) for name in names], axis=1)


def print_table(cases: Sequence[Case], probabilities: Sequence[Floats]) -> None:
    """Print AUROC, the share refused at several thresholds, and how well the probabilities are calibrated."""
    best: dict[tuple[str, str], list[float]] = {}
    for case, of_pages in zip(cases, probabilities, strict=True):
        best.setdefault((case.set_name, case.asked_of), []).append(float(of_pages[0]) if len(of_pages) else 0.0)
    print(f"\n{'set':18} {'asked of':22} {'n':>4}  refused at " + "  ".join(f"{value:5}" for value in THRESHOLDS))
    for (set_name, asked_of), found in sorted(best.items()):
        shares = "  ".join(f"{np.mean(np.array(found) < value):.3f}" for value in THRESHOLDS)
        print(f"{set_name:18} {asked_of:22} {len(found):4}             {shares}")
    print(f"\n{'set':18} {'to answer':16} {'to refuse':22} AUROC  falsely refused where 90 % are refused")
    for (set_name, asked_of), found in sorted(best.items()):
        kind, few = asked_of.partition(",")[0], asked_of.partition(",")[2]
        for refused in ("without", "unanswerable", "unanswerable (all)", "unanswered"):
            refused = f"{refused},{few}" if few else refused
            fair = (kind == "shared") == ("(all)" in refused) or refused.startswith(("without", "unanswered"))
            if kind in ("single", "shared", "answered") and (set_name, refused) in best and fair:
                right, wrong = np.array(found)[:, None], np.array(best[set_name, refused])
                auroc = (right > wrong).mean() + (right == wrong).mean() / 2
                falsely = (right < np.quantile(wrong, 0.9)).mean()
                print(f"{set_name:18} {asked_of:16} {refused:22} {auroc:.3f}  {falsely:.3f}")
    given, true = np.concatenate(probabilities), np.concatenate([np.array(case.evidence) for case in cases])
    print("\nprobability   pages  mean   evidence")
    for low, high in ((0, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 1.01)):
        inside = (given >= low) & (given < high)
        if inside.any():
            print(
                f"{low:4} to {min(high, 1):4} {inside.sum():6}  {given[inside].mean():.3f}  {true[inside].mean():.3f}"
            )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
