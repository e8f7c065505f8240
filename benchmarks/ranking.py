"""Fits the weights of the page ranking and measures them on documents they were not fitted on.

`python -m benchmarks.ranking [--write] [FOLDER ...]`: a folder holds questions.jsonl and pdfs/; without any, the two
sample sets beside the checkout. Their PDFs are ingested once, which takes minutes. The fit is a listwise softmax: the
probability that one of the evidence pages is drawn, each document weighing the root of its questions, with a little
L2 on features scaled to their usual spread.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.evaluation.corpus import document_ids, open_corpus
from assistant.evaluation.questions import Question, read_questions
from assistant.evaluation.retrieval_metrics import document_folds
from assistant.retrieval.features import FEATURES, page_features
from assistant.retrieval.search import candidates, page_evidence
from assistant.retrieval.weights import WEIGHTS_FILE, stored_weights
from ingest import Library, load_config

SHARED = Path(__file__).parent.parent.parent / "shared"
SCOPES = ("single", "shared")
# the features that count; with all of them in both places, documents that were not fitted lose (docs/retrieval.md)
ALWAYS = ("cosine", "words", "pairs", "document")
IN_DOUBT = ("cosine", "second", "heading", "table", "amount")
L2 = 3.0
FOLDS = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One question in one scope: features of its candidate pages, and which of them are evidence."""

    set_name: str
    question: Question
    scope: str
    features: Floats  # [pages, ALWAYS + IN_DOUBT], the latter times the doubt
    evidence: NDArray[np.bool_]  # [pages]
    weight: float


def main(arguments: Sequence[str]) -> int:
    """Fit, cross-validate, print the table, and write the weights where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[SHARED / "mixed-dev", SHARED / "financebench-dev"])
    parser.add_argument("--write", action="store_true", help=f"write {WEIGHTS_FILE.name}")
    options = parser.parse_args(arguments)
    missing = [folder for folder in options.folders if not (folder / "questions.jsonl").is_file()]
    if missing:
        print(f"error: {missing[0]} holds no questions.jsonl", file=sys.stderr)
        return 1
    cases = [case for folder in options.folders for case in read_cases(folder)]
    weights = fit(cases)
    print_table(cases, cross_validated(cases), "on documents that were not fitted")
    print_table(cases, [case.features @ weights for case in cases], "fitted on all")
    rounded = [round(float(weight), 4) for weight in weights]
    stored = stored_weights() | {
        "fitted": f"python -m benchmarks.ranking, then benchmarks.refusal: {' and '.join(folder.name for folder in options.folders)}",
        "always": dict(zip(ALWAYS, rounded, strict=False)),
        "in_doubt": dict(zip(IN_DOUBT, rounded[len(ALWAYS) :], strict=True)),
    }
    print(json.dumps(stored, indent=2))
    if options.write:
        WEIGHTS_FILE.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    return 0


def read_cases(folder: Path) -> list[Case]:
    """Return the cases of a set of questions, in every scope."""
    questions = [question for question in read_questions(folder / "questions.jsonl") if question.pages]
    config, _ = load_config()
    with open_corpus(config, [folder / "pdfs"]) as library:
        return cases_of(library, questions, folder.name)


def cases_of(library: Library, questions: Sequence[Question], set_name: str) -> list[Case]:
    """Return the cases of questions about the documents of a library."""
    ids = document_ids(library, questions)
    sizes = Counter(question.document for question in questions)
    cases = []
    for question in questions:
        document_id = ids[question.document]
        for scope in SCOPES:
            documents = [document_id] if scope == "single" else None
            pages, chunks = candidates(library.store, library.embedder, question.question, documents=documents)
            features, doubt = page_features(question.question, page_evidence(pages, chunks))
            evidence = np.array([page.key[0] == document_id and page.key[1] in question.pages for page in pages])
            weight = 1 / np.sqrt(sizes[question.document])
            always, in_doubt = ([FEATURES.index(name) for name in names] for names in (ALWAYS, IN_DOUBT))
            both = np.concatenate([features[:, always], doubt * features[:, in_doubt]], axis=1)
            cases.append(Case(set_name, question, scope, both, evidence, weight))
    return cases


def cross_validated(cases: Sequence[Case]) -> list[Floats]:
    """Return the scores of the pages of each case, by weights fitted without its document."""
    names = [f"{case.set_name}/{case.question.document}" for case in cases]
    folds = document_folds(names, FOLDS)
    fitted = {
        fold: fit([case for case, name in zip(cases, names, strict=True) if folds[name] != fold])
        for fold in range(FOLDS)
    }
    return [case.features @ fitted[folds[name]] for case, name in zip(cases, names, strict=True)]


def fit(cases: Sequence[Case]) -> Floats:
    """Return the weights [ALWAYS + IN_DOUBT] that make the evidence most probable."""
    from scipy.optimize import minimize

    usable = [case for case in cases if case.evidence.any()]
    spread = np.mean([case.features.std(axis=0) for case in usable], axis=0) + 1e-9
    most = max(len(case.evidence) for case in usable)
    features = np.zeros((len(usable), most, len(spread)))
    absent, evidence = np.full((len(usable), most), -1e9), np.zeros((len(usable), most))
    for place, case in enumerate(usable):
        features[place, : len(case.evidence)] = case.features / spread
        absent[place, : len(case.evidence)] = 0.0
        evidence[place, : len(case.evidence)] = case.evidence
    weight = np.array([case.weight for case in usable])
    weight /= weight.sum()

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = features @ weights + absent
        drawn = np.exp(scores - scores.max(axis=1, keepdims=True))
        total, right = drawn.sum(axis=1), (drawn * evidence).sum(axis=1)
        pull = (drawn * evidence / right[:, None] - drawn / total[:, None]) * weight[:, None]
        penalty = L2 / len(usable)
        value = -(weight * np.log(right / total)).sum() + penalty * weights @ weights / 2
        return value, penalty * weights - np.einsum("gp,gpf->f", pull, features)

    found: Floats = minimize(loss, np.zeros(len(spread)), jac=True, method="L-BFGS-B").x
    return found / spread


def rank(scores: Floats, evidence: NDArray[np.bool_]) -> float:
    """Return the rank of the first evidence page, infinite where it is no candidate."""
    if not evidence.any():
        return float("inf")
    return float((scores > scores[evidence].max()).sum() + 1)


def print_table(cases: Sequence[Case], scores: Sequence[Floats], label: str) -> None:
    """Print hit@1/3/5/10 and mean reciprocal rank by set, scope and kind of question."""
    groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for case, of_pages in zip(cases, scores, strict=True):
        found = rank(of_pages, case.evidence)
        for kind in ("all", case.question.question_type):
            groups[case.set_name, case.scope, kind].append(found)
    print(f"\n{label}\n{'set':18} {'scope':7} {'kind':20} {'n':>4}  hit@1  @3    @5    @10   mrr")
    for (set_name, scope, kind), ranks in sorted(groups.items()):
        found = np.array(ranks)
        hits = "  ".join(f"{(found <= k).mean():.3f}" for k in (1, 3, 5, 10))
        print(f"{set_name:18} {scope:7} {kind:20} {len(found):4}  {hits}  {(1 / found).mean():.3f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
