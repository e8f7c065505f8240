"""Detection of a format by the fields of the first rows."""

from collections.abc import Sequence
from typing import Any

from finetune.data.sources import oasst
from finetune.data.sources.fields import has_fields
from finetune.data.sources.formats import ROW_FORMATS
from finetune.data.sources.row import Row
from finetune.errors import UnknownFormat

# formats in which several rows make one record
GROUPED_FORMATS = {
    "oasst": "message trees: prompt{text, role, replies}, or rows of message_id, parent_id, text, role",
    "helpsteer": "prompt, response, helpfulness, correctness; several rows share a prompt",
}
FORMATS: dict[str, str] = {
    **{format.name: format.fields for format in reversed(ROW_FORMATS)},
    "kto": "messages, prompt and completion, or another conversation, with label or kto_tag",
    **GROUPED_FORMATS,
}

_SAMPLE_ROWS = 50
_NOT_FOR_TRAINING = {
    ("question_id", "turns"): "MT-Bench questions: prompts without answers, for `quire finetune compare`",
    ("question_id", "choices"): "MT-Bench reference answers: answers whose questions are in another file",
    ("prompt_template", "system_prompt"): "MT-Bench judge prompts: not conversations",
}


def detect_format(rows: Sequence[Row], source: str) -> str:
    """Return the format of the rows by the fields of the first fifty; raises UnknownFormat."""
    sample = [row.values for row in rows if not row.error][:_SAMPLE_ROWS]
    if not sample:
        first = f": line {rows[0].line}: {rows[0].error}" if rows else ""
        raise UnknownFormat(
            f"{source} has no readable row{first}", "check that it is not empty and has the right file type"
        )
    votes: dict[str, int] = {}
    for values in sample:
        name = _format_of_row(values)
        votes[name] = votes.get(name, 0) + 1
    # An Alpaca instruction sometimes begins like a system message: dolphin only if all rows do. Conversations that were
    # rendered to text, or have a rejected answer, are told row by row.
    for rest, special in (("alpaca", "dolphin"), ("text", "rendered")):
        if rest in votes and special in votes:
            votes[rest] += votes.pop(special)
    best = max(votes, key=lambda name: (votes[name], name != ""))
    if not best:
        raise _unknown_format(sample[0], source)
    if votes[best] * 2 <= len(sample):
        found = ", ".join(
            f"{count} {name or 'of no known format'}" for name, count in sorted(votes.items(), reverse=True)
        )
        raise UnknownFormat(
            f"{source}: no format fits most of the first {len(sample)} rows ({found})",
            f"split the file by format, or name one with --format: {', '.join(FORMATS)}",
        )
    return best


def _format_of_row(values: dict[str, Any]) -> str:
    if oasst.is_tree(values) or oasst.is_message(values):
        return "oasst"
    if has_fields("prompt", "response", "helpfulness", "correctness")(values):
        return "helpsteer"
    return next((format.name for format in ROW_FORMATS if format.matches(values)), "")


def _unknown_format(values: dict[str, Any], source: str) -> UnknownFormat:
    for names, what in _NOT_FOR_TRAINING.items():
        if has_fields(*names)(values):
            return UnknownFormat(f"{source} contains {what}; there is nothing to train on", "name a file with answers")
    for name in ("messages", "conversations"):
        if isinstance(values.get(name), str):
            return UnknownFormat(
                f"{source}: `{name}` holds text, and no list of messages can be read from it: {values[name][:60]!r}",
                "write the messages as a list, or as JSON text",
            )
    found = ", ".join(f"{name!r}{_kind(value)}" for name, value in values.items())
    return UnknownFormat(
        f"{source}: no known format has the fields {found or '(none)'}",
        f"rename the fields to those of a known format: {'; '.join(f'{n} ({f})' for n, f in FORMATS.items())}",
    )


def _kind(value: object) -> str:
    """Return what a value is, in brackets, unless it is text."""
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "" if isinstance(value, str) else f" ({names.get(type(value), 'null')})"
