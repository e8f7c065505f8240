"""Formats of labeled answers (KTO): a conversation, and whether its last answer is wanted."""

from collections.abc import Iterator

from finetune.data.records import Conversation, Label, Record, Text
from finetune.data.sources.fields import Fields
from finetune.data.sources.marks import wanted
from finetune.data.sources.row_format import Format, first_match
from finetune.errors import InvalidRecord


def labeled(formats: tuple[Format, ...], mark: str) -> Format:
    """Return the format of rows of these formats in which the field `mark` says whether the answer is wanted."""

    def build(row: Fields) -> Iterator[Record]:
        is_wanted = wanted(row, mark)
        for record in first_match(formats, row.values).build(row):
            if isinstance(record, Conversation):
                yield Label(record.messages[:-1], record.messages[-1:], is_wanted, **row.place.origin())
            elif isinstance(record, Text) and not is_wanted:
                raise InvalidRecord(f"the text is marked as unwanted (`{mark}`)")
            else:
                yield record

    reads = tuple(dict.fromkeys(name for format in formats for name in format.reads))
    return Format("kto", f"{formats[0].fields}, {mark}", lambda values: True, build, (*reads, mark), "label")
