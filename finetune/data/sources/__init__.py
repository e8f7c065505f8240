"""Training data by shape: a file, a folder or a name of the hub becomes records, and every row left out is named."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from finetune.data.records import Record, Task, to_task
from finetune.data.sources import oasst
from finetune.data.sources.formats import SHAPES, Choices, Pairs, Place, Shape, message, number_field, ranked_pairs
from finetune.data.sources.oasst import TreeFilter
from finetune.data.sources.problem import Problem
from finetune.data.sources.readers import SUFFIXES, Row, read_rows
from finetune.errors import InvalidRecord, MalformedRow, SourceUnavailable, UnknownFormat
from quire import UsageError

__all__ = ["FORMATS", "Loaded", "Problem", "TreeFilter", "detect", "join", "load", "require"]

GROUPED = {
    "oasst": "message trees: prompt{text, role, replies}, or rows of message_id, parent_id, text, role",
    "helpsteer": "prompt, response, helpfulness, correctness; several rows share a prompt",
}
FORMATS: dict[str, str] = {**{shape.name: shape.fields for shape in reversed(SHAPES)}, **GROUPED}
_SAMPLE = 50

_NO_TRAINING = {
    ("question_id", "turns"): "MT-Bench questions: prompts without answers, for `quire finetune compare`",
    ("question_id", "choices"): "MT-Bench reference answers: answers whose questions are in another file",
    ("prompt_template", "system_prompt"): "MT-Bench judge prompts: no conversation",
}


@dataclass(slots=True)
class Loaded:
    """What a source gave: the format, how many rows were read and how many of them are in `records`, and problems."""

    format: str
    rows: int = 0
    kept: int = 0
    problems: list[Problem] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    trees: int = 0


def load(
    source: str | Path,
    *,
    format: str | None = None,
    task: Task | None = None,
    pairs: Pairs | None = None,
    tree_filter: TreeFilter | None = None,
    seed: int = 0,
    split: str = "train",
    strict: bool = True,
) -> Loaded:
    """Load a file, a folder of files, a catalogue name or a hub name (`owner/name`) as records.

    `format` None detects the shape. `task` None keeps what the shape naturally is; `sft`, `preference` or `label`
    converts. `strict` raises at the first malformed row, naming file and line; without it such rows are problems.
    Rows of the right shape that say nothing trainable (an empty answer, two equal answers) are always problems, and
    are left out. Raises UnknownFormat, MalformedRow, SourceUnavailable.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"there is no format {format!r}", f"choose one of {', '.join(sorted(FORMATS))}")
    parts = []
    for name, rows in _open(source, split):
        part = _load_rows(list(rows), name, format, task, Choices(pairs, seed), tree_filter or TreeFilter(), strict)
        parts.append(part)
    if not parts:
        raise SourceUnavailable(f"{source} holds no file of {', '.join(SUFFIXES)}", "name a file")
    return parts[0] if len(parts) == 1 else join(parts)


def detect(rows: Iterable[Row], source: str = "the data") -> str:
    """Name the format of rows by the fields of the first fifty; raises UnknownFormat."""
    rows = list(rows)
    sample = [row.values for row in islice((r for r in rows if not r.fault), _SAMPLE)]
    if not sample:
        first = f": line {rows[0].line}: {rows[0].fault}" if rows else ""
        raise UnknownFormat(f"{source} holds no row that can be read{first}", "is it empty, or of another file type?")
    votes: dict[str, int] = {}
    for values in sample:
        name = _detect_one(values)
        votes[name] = votes.get(name, 0) + 1
    # a system prompt may look like a task now and then: dolphin only where all rows look so
    if "alpaca" in votes and "dolphin" in votes:
        votes["alpaca"] += votes.pop("dolphin")
    best = max(votes, key=lambda name: (votes[name], name != ""))
    if not best:
        raise _unknown(sample[0], source)
    if votes[best] * 2 <= len(sample):
        fits = ", ".join(f"{count} {name or 'no known format'}" for name, count in sorted(votes.items(), reverse=True))
        raise UnknownFormat(
            f"{source}: no format fits most of the first {len(sample)} rows ({fits})",
            f"split the file by shape, or name one with --format: {', '.join(FORMATS)}",
        )
    return best


def _detect_one(values: dict[str, Any]) -> str:
    if oasst.is_tree(values) or oasst.is_message(values):
        return "oasst"
    if all(name in values for name in ("prompt", "response", "helpfulness", "correctness")):
        return "helpsteer"
    return next((shape.name for shape in SHAPES if shape.matches(values)), "")


def _unknown(values: dict[str, Any], source: str) -> UnknownFormat:
    for names, what in _NO_TRAINING.items():
        if all(name in values for name in names):
            return UnknownFormat(f"{source} holds {what}; there is nothing to train on", "name a file of answers")
    return UnknownFormat(
        f"{source}: no known format has the fields {', '.join(map(repr, values)) or '(none)'}",
        f"rename the fields to those of a known format: {'; '.join(f'{n} ({f})' for n, f in FORMATS.items())}",
    )


def require(source: str | Path) -> None:
    """Raise SourceUnavailable where a source looks like a file and there is none; a name of the hub passes."""
    path = Path(source).expanduser()
    if _looks_like_a_file(source) and not path.exists():
        read_rows(path)


def _looks_like_a_file(source: str | Path) -> bool:
    return Path(source).suffix.lower() in (*SUFFIXES, ".gz") or str(source).startswith((".", "/", "~"))


def _open(source: str | Path, split: str) -> Iterator[tuple[str, Iterator[Row]]]:
    path = Path(source).expanduser()
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and any(suffix.lower() in SUFFIXES for suffix in file.suffixes):
                yield str(file), read_rows(file)
        return
    if path.is_file() or _looks_like_a_file(source):
        yield str(path), read_rows(path)
        return
    from finetune.data.catalogue import hub_name
    from finetune.data.sources.hub import read_hub

    name = hub_name(str(source))
    yield name, read_hub(name, split=split)


def _load_rows(
    rows: list[Row], source: str, format: str | None, task: Task | None, choices: Choices,
    tree_filter: TreeFilter, strict: bool,
) -> Loaded:  # fmt: skip
    if strict and (bad := next((row for row in rows if row.fault), None)):
        raise MalformedRow(source, bad.line, bad.fault, "mend the row; `quire finetune data check` lists all",
                           row=bad.number)  # fmt: skip
    loaded = Loaded(format or detect(rows, source), rows=len(rows))
    if loaded.format == "oasst":
        harvest = oasst.harvest(rows, source, task=task or "sft", tree_filter=tree_filter, choices=choices)
        loaded.records, loaded.problems = harvest.records, harvest.problems
        loaded.kept, loaded.trees = len(harvest.used_rows), harvest.trees
    elif loaded.format == "helpsteer":
        _helpsteer(rows, source, choices, loaded)
    else:
        _by_row(rows, source, choices, loaded)
    if strict and (bad_problem := next((p for p in loaded.problems if p.kind == "malformed"), None)):
        raise MalformedRow(source, bad_problem.line, bad_problem.problem,
                           "mend the row; `quire finetune data check` lists all", row=bad_problem.row)  # fmt: skip
    if task is not None:
        loaded.records = list(to_task(loaded.records, task))
        if loaded.format != "oasst":
            loaded.kept = min(loaded.kept, len({record.row for record in loaded.records})) if (
                loaded.format != "helpsteer") else loaded.kept  # fmt: skip
    return loaded


def _by_row(rows: list[Row], source: str, choices: Choices, loaded: Loaded) -> None:
    shapes = [shape for shape in SHAPES if shape.name == loaded.format]
    for row in rows:
        place = Place(source, row.number, row.line)
        try:
            if row.fault:
                raise place.fault(row.fault)
            found = list(_shape_of(row, shapes).build(row.values, place, choices))
        except MalformedRow as exc:
            loaded.problems.append(Problem.of(exc, dropped=True))
        except InvalidRecord as exc:
            loaded.problems.append(Problem(row.number, exc.message, _kind(exc.message), True, source, row.line))
        else:
            loaded.records += found
            loaded.kept += bool(found)


def _shape_of(row: Row, shapes: list[Shape]) -> Shape:
    return next((shape for shape in shapes if shape.matches(row.values)), shapes[0])


def _kind(reason: str) -> str:
    kinds = {"empty": "empty", "equal": "equal answers", "wrong role": "wrong roles", "unequal": "unequal beginning"}
    words = {"unequal": "unequal beginning", **kinds}
    return next((kind for word, kind in words.items() if word in reason), "left out")


def _helpsteer(rows: list[Row], source: str, choices: Choices, loaded: Loaded) -> None:
    groups: dict[str, list[tuple[Row, float, str]]] = {}
    for row in rows:
        place = Place(source, row.number, row.line)
        try:
            if row.fault:
                raise place.fault(row.fault)
            prompt, reply = row.values.get("prompt"), row.values.get("response")
            if not isinstance(prompt, str) or not isinstance(reply, str):
                raise place.fault("`prompt` and `response` must be texts")
            mean = (number_field(row.values, "helpfulness", place) + number_field(row.values, "correctness", place)) / 2
            groups.setdefault(prompt, []).append((row, mean, reply))
        except MalformedRow as exc:
            loaded.problems.append(Problem.of(exc, dropped=True))
    for prompt, members in groups.items():
        first = members[0][0]
        place = Place(source, first.number, first.line)
        turns = (message({"role": "user", "content": prompt}, place, "`prompt`"),)
        try:
            found = list(
                ranked_pairs(turns, [(mean, reply) for _, mean, reply in members], place, choices, "best-worst")
            )
        except InvalidRecord as exc:
            loaded.problems += [
                Problem(row.number, exc.message, _kind(exc.message), True, source, row.line) for row, *_ in members
            ]
            continue
        loaded.records += found
        loaded.kept += len(members)


def join(parts: list[Loaded]) -> Loaded:
    """Put what several sources gave into one, in their order."""
    formats = dict.fromkeys(part.format for part in parts)
    whole = replace(parts[0], format=" + ".join(formats), problems=[], records=[], rows=0, kept=0, trees=0)
    for part in parts:
        whole.rows += part.rows
        whole.kept += part.kept
        whole.trees += part.trees
        whole.problems += part.problems
        whole.records += part.records
    return whole
