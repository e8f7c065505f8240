"""Loads a file, a folder or a data set of the hub as records; every row that is dropped is reported."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from finetune.data.records import Label, Task, to_task
from finetune.data.sources.chat_formats import plain_text
from finetune.data.sources.detect import FORMATS, GROUPED_FORMATS, detect_format
from finetune.data.sources.fields import PairOptions, Pairs, has_fields, read_fields
from finetune.data.sources.folders import training_files
from finetune.data.sources.formats import CONVERSATIONS, ROW_FORMATS
from finetune.data.sources.helpsteer import read_helpsteer
from finetune.data.sources.label_formats import labeled
from finetune.data.sources.loaded import LoadedData, join
from finetune.data.sources.marks import Mark, find_mark
from finetune.data.sources.meanings import refuse_unhonored, unread_fields, unread_message_fields
from finetune.data.sources.message_lists import ROLE_KEYS
from finetune.data.sources.names import with_known_names
from finetune.data.sources.oasst import TreeFilter, read_trees
from finetune.data.sources.problem import Problem
from finetune.data.sources.readers import SUFFIXES, file_notices, read_rows
from finetune.data.sources.row import Row
from finetune.data.sources.row_format import Format, first_match
from finetune.errors import InvalidRecord, MalformedRow, SourceUnavailable, UnknownFormat
from quire import UsageError

_SAMPLE_ROWS = 50  # in which a field with a list of messages is recognized
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
    for name, read, notices in _open_source(source, split):
        if strict:
            _require_readable(read, name)
        rows = with_known_names(read, keep=text_column)
        known = "text" if text_column else format
        loaded = LoadedData(known or detect_format(rows, name), rows=len(rows), notices=notices)
        if loaded.format == "oasst":
            shape = "sft" if task in (None, "sft") else "preference"  # labels are made of pairs
            read_trees(rows, name, loaded, task=shape, tree_filter=tree_filter or TreeFilter(), options=options)
        elif loaded.format == "helpsteer":
            read_helpsteer(rows, name, options, loaded)
        else:
            formats = _formats_of(rows, name, loaded, text_column=text_column, given=format, task=task)
            _read_row_by_row(rows, name, formats, options, loaded, every_field=bool(text_column))
            _note_unread_fields(rows, formats, loaded, text_column)
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


def _open_source(source: str | Path, split: str) -> Iterator[tuple[str, list[Row], list[str]]]:
    """Yield name, rows and notices of each file of a source, or of the hub's data set."""
    path = Path(source).expanduser()
    if path.is_dir():
        chosen = training_files(path, split)
        notices = chosen.notices
        for file in chosen.files:
            yield str(file), list(read_rows(file)), notices
            notices = []
        return
    if path.is_file() or _looks_like_a_file(source):
        yield str(path), list(read_rows(path)), file_notices(path)
        return
    from finetune.data.catalog import hub_name, training_split
    from finetune.data.sources.hub_datasets import read_hub_dataset

    name = hub_name(str(source))
    yield name, list(read_hub_dataset(name, split=split or training_split(name))), []


def _require_readable(rows: Sequence[Row], source: str) -> None:
    if bad := next((row for row in rows if row.error), None):
        raise MalformedRow(source, bad.line, bad.error, _HINT, row=bad.number)


def _require_well_formed(loaded: LoadedData) -> None:
    if bad := next((problem for problem in loaded.problems if problem.kind == "malformed"), None):
        raise MalformedRow(bad.source, bad.line, bad.problem, _HINT, row=bad.row)


def _formats_of(
    rows: Sequence[Row], source: str, loaded: LoadedData, *, text_column: str, given: str | None, task: Task | None
) -> tuple[Format, ...]:
    """Return the formats by which rows are read; conversations with marks of wanted answers become `kto`."""
    if text_column:
        return (Format("text", text_column, has_fields(text_column), plain_text(text_column), (text_column,), "text"),)
    formats = tuple(format for format in ROW_FORMATS if format.name == loaded.format) or CONVERSATIONS
    if given not in (None, "kto") or formats[0].kind not in ("conversation", "text"):
        return formats
    reads = {name for format in formats for name in format.reads}
    in_numbers = loaded.format == "prompt-completion" or given == "kto" or task == "label"
    mark = find_mark(rows, reads, numbers_are_marks=in_numbers)
    if mark is None and given == "kto":
        name = next((name for name in ("kto_tag", "label") if any(name in row.values for row in rows)), "label")
        return (labeled(formats, name),)
    if mark is None or (loaded.format == "text" and mark.ambiguous):
        return formats
    if mark.ambiguous:
        _report_ambiguous(mark, source, loaded, task)
    loaded.format = "text" if formats[0].kind == "text" else "kto"
    return (labeled(formats, mark.name),)


def _report_ambiguous(mark: Mark, source: str, loaded: LoadedData, task: Task | None) -> None:
    """Report a label that may mark answers or be a topic; raises UnknownFormat where half of the rows depend on it."""
    found = f"`{mark.name}` has the values {' and '.join(mark.values)}, which may mark answers or be a topic"
    if task == "sft":
        raise UnknownFormat(
            f"{source}: {found}",
            "to mark wanted and unwanted answers, write true and false into `label`; to train on all rows, rename or remove "
            "the field; or convert the file "
            "first: `quire finetune data convert` with --format kto or --format of the conversations",
        )
    loaded.notices.append(f"{found}: read as marks, and refused by sft; name the --format to decide")


def _read_row_by_row(
    rows: Sequence[Row],
    source: str,
    formats: tuple[Format, ...],
    options: PairOptions,
    loaded: LoadedData,
    *,
    every_field: bool,
) -> None:
    """Read each row in the first of the formats that matches it; `every_field` allows fields that are not honored."""
    for row in rows:
        try:
            fields = read_fields(row, source, options)
            format = first_match(formats, row.values)
            if not every_field:
                refuse_unhonored(row.values, format.reads, format.kind)
            records = list(format.build(fields))
        except MalformedRow as exc:
            loaded.problems.append(Problem.malformed(exc))
        except InvalidRecord as exc:
            loaded.problems.append(Problem.invalid(exc, row.number, row.line, source))
        else:
            loaded.records += records
            loaded.kept += bool(records)


def _note_unread_fields(rows: Sequence[Row], formats: tuple[Format, ...], loaded: LoadedData, text_column: str) -> None:
    names = dict.fromkeys(name for shape in {tuple(row.values): None for row in rows} for name in shape)
    read = {name for format in formats for name in format.reads}
    if text_column:
        loaded.unread = [name for name in names if name != text_column]
        return
    loaded.unread = unread_fields(names, read)
    loaded.unread += [f"{name} (of a message)" for name in _unread_in_messages(rows, [n for n in names if n in read])]
    splits = {str(row.values.get("split", "")).strip().lower() for row in rows} if "split" in loaded.unread else set()
    if {"train", "training"} & splits and len(splits) > 1:
        loaded.notices.append(
            f"rows of several splits are in one file, and all of them are read: {', '.join(sorted(splits))}"
        )


def _unread_in_messages(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    shapes: dict[tuple[str, ...], None] = {}
    for name in names:
        if not any(isinstance(row.values.get(name), list) for row in rows[:_SAMPLE_ROWS]):
            continue
        for row in rows:
            value = row.values.get(name)
            shapes |= {tuple(item): None for item in value if isinstance(item, dict)} if isinstance(value, list) else {}
    spoken = (shape for shape in shapes if set(shape) & set(ROLE_KEYS))
    return unread_message_fields(dict.fromkeys(field for shape in spoken for field in shape))


def _convert(loaded: LoadedData, task: Task) -> None:
    if task == "sft":
        loaded.problems += [
            Problem(
                record.row,
                "the answer is marked as unwanted, and sft trains wanted ones",
                "unwanted",
                True,
                record.source,
            )
            for record in loaded.records
            if isinstance(record, Label) and not record.label
        ]
    loaded.records = list(to_task(loaded.records, task))
    if loaded.format not in GROUPED_FORMATS:
        loaded.kept = min(loaded.kept, len({record.row for record in loaded.records}))
