"""Loads a file, a folder or a data set of the hub as records; every row that is dropped is reported."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from finetune.data.records import Task, to_task
from finetune.data.sources.chat_formats import plain_text
from finetune.data.sources.detect import FORMATS, GROUPED_FORMATS, detect_format
from finetune.data.sources.fields import PairOptions, Pairs, has_fields, read_fields
from finetune.data.sources.formats import ROW_FORMATS, Format
from finetune.data.sources.helpsteer import read_helpsteer
from finetune.data.sources.loaded import LoadedData, join
from finetune.data.sources.oasst import TreeFilter, read_trees
from finetune.data.sources.problem import Problem
from finetune.data.sources.readers import SUFFIXES, Row, data_files, read_rows
from finetune.errors import InvalidRecord, MalformedRow, SourceUnavailable
from quire import UsageError

_HINT = "correct the row; `quire finetune data check` lists all malformed rows"


def load_data(
    source: str | Path,
    *,
    format: str | None = None,
    task: Task | None = None,
    pairs: Pairs | None = None,
    tree_filter: TreeFilter | None = None,
    seed: int = 0,
    split: str = "",
    text_column: str = "",
    strict: bool = True,
) -> LoadedData:
    """Load a file, a folder of files, a catalog name or a hub name (`owner/name`) as records.

    `format` None detects it; `text_column` names a column that is read as plain text instead. `task` None keeps the
    records that the format has; `sft`, `preference` or `label` converts them. An empty `split` of a data set of the
    hub is the training split that the catalog names, else `train`. `strict` raises MalformedRow at the first malformed
    row; without it such rows are problems. Rows with nothing to train on (an empty answer, two equal answers) are
    always dropped and always problems. Also raises UnknownFormat and SourceUnavailable.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"there is no format {format!r}", f"choose one of {', '.join(sorted(FORMATS))}")
    if text_column and format not in (None, "text"):
        raise UsageError(
            f"a text column and format {format} exclude each other", "a column of text is read in the format `text`"
        )
    options = PairOptions(pairs, seed)
    parts = []
    for name, rows in _open_source(source, split):
        if strict:
            _require_readable(rows, name)
        known = "text" if text_column else format
        loaded = LoadedData(known or detect_format(rows, name), rows=len(rows))
        if loaded.format == "oasst":
            shape = "sft" if task in (None, "sft") else "preference"  # labels are made of pairs
            read_trees(rows, name, loaded, task=shape, tree_filter=tree_filter or TreeFilter(), options=options)
        elif loaded.format == "helpsteer":
            read_helpsteer(rows, name, options, loaded)
        else:
            formats = [_column_format(text_column)] if text_column else _formats_named(loaded.format)
            _read_row_by_row(rows, name, formats, options, loaded)
        if strict:
            _require_well_formed(loaded)
        if task is not None:
            _convert(loaded, task)
        parts.append(loaded)
    if not parts:
        raise SourceUnavailable(f"{source} has no file of type {', '.join(SUFFIXES)}", "name a file")
    return parts[0] if len(parts) == 1 else join(parts)


def require_source(source: str | Path) -> None:
    """Raise SourceUnavailable if a source looks like a file that does not exist; hub names pass."""
    path = Path(source).expanduser()
    if _looks_like_a_file(source) and not path.exists():
        read_rows(path)


def _looks_like_a_file(source: str | Path) -> bool:
    return Path(source).suffix.lower() in (*SUFFIXES, ".gz") or str(source).startswith((".", "/", "~"))


def _open_source(source: str | Path, split: str) -> Iterator[tuple[str, list[Row]]]:
    """Yield the name and the rows of each file of a source, or of the hub's data set."""
    path = Path(source).expanduser()
    if path.is_dir():
        for file in data_files(path):
            yield str(file), list(read_rows(file))
        return
    if path.is_file() or _looks_like_a_file(source):
        yield str(path), list(read_rows(path))
        return
    from finetune.data.catalog import hub_name, training_split
    from finetune.data.sources.hub_datasets import read_hub_dataset

    name = hub_name(str(source))
    yield name, list(read_hub_dataset(name, split=split or training_split(name)))


def _require_readable(rows: Sequence[Row], source: str) -> None:
    if bad := next((row for row in rows if row.error), None):
        raise MalformedRow(source, bad.line, bad.error, _HINT, row=bad.number)


def _require_well_formed(loaded: LoadedData) -> None:
    if bad := next((problem for problem in loaded.problems if problem.kind == "malformed"), None):
        raise MalformedRow(bad.source, bad.line, bad.problem, _HINT, row=bad.row)


def _formats_named(name: str) -> list[Format]:
    return [format for format in ROW_FORMATS if format.name == name]


def _column_format(name: str) -> Format:
    return Format("text", name, has_fields(name), plain_text(name))


def _read_row_by_row(
    rows: Sequence[Row], source: str, formats: Sequence[Format], options: PairOptions, loaded: LoadedData
) -> None:
    for row in rows:
        try:
            fields = read_fields(row, source, options)
            format = next((format for format in formats if format.matches(row.values)), formats[0])
            records = list(format.build(fields))
        except MalformedRow as exc:
            loaded.problems.append(Problem.malformed(exc))
        except InvalidRecord as exc:
            loaded.problems.append(Problem.invalid(exc, row.number, row.line, source))
        else:
            loaded.records += records
            loaded.kept += bool(records)


def _convert(loaded: LoadedData, task: Task) -> None:
    loaded.records = list(to_task(loaded.records, task))
    if loaded.format not in GROUPED_FORMATS:
        loaded.kept = min(loaded.kept, len({record.row for record in loaded.records}))
