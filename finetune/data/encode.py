"""Turns records into token rows that trainers take: ids and labels, pairs, or labelled answers; counts what is cut or left out.

The loss mask is our template's; no trainer tokenises anything.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from finetune.config import TrainConfig
from finetune.data.records import Conversation, Label, Preference, Record, Text
from finetune.errors import DataError
from finetune.templates.template import Template

IGNORED = -100  # label of a token that the loss does not count


@dataclass(slots=True)
class RowReport:
    """How many records became rows, how many were cut at the longest length, and why others were left out."""

    records: int = 0
    rows: int = 0
    cut: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        """Count one record that became no row."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """Give the counts as plain values."""
        return asdict(self)


Row = dict[str, Any]


def encode_rows(
    records: Iterable[Record], template: Template, tokenizer: Any, *, max_length: int
) -> tuple[list[Row], RowReport]:
    """Encode conversations and texts for SFT: `input_ids` and `labels`, the end of long rows cut."""
    report = RowReport()
    rows: list[Row] = []
    for record in records:
        report.records += 1
        if isinstance(record, Text):
            encoded = template.encode_text(tokenizer, record.text)
        elif isinstance(record, Conversation):
            encoded = template.encode(tokenizer, record.messages)
        else:
            raise DataError(f"{record.source}, row {record.row}: not a conversation", "convert pairs with task sft")
        ids, mask = encoded.input_ids[:max_length], encoded.loss_mask[:max_length]
        report.cut += len(encoded.input_ids) > max_length
        if not any(mask[1:]):  # the first token is never predicted
            report.leave_out("no trained token within max_length")
            continue
        labels = [token if trained else IGNORED for token, trained in zip(ids, mask, strict=True)]
        rows.append({"input_ids": ids, "labels": labels})
        report.rows += 1
        report.tokens += len(ids)
        report.trained_tokens += sum(mask)
    return rows, report


def encode_pairs(
    records: Iterable[Record], template: Template, tokenizer: Any, *, max_length: int
) -> tuple[list[Row], RowReport]:
    """Encode preferences: `prompt_ids`, `chosen_ids` and `rejected_ids`, answers cut so that a row fits."""
    report = RowReport()
    rows: list[Row] = []
    for record in records:
        report.records += 1
        if not isinstance(record, Preference):
            raise DataError(f"{record.source}, row {record.row}: not a pair", "preference losses need pairs")
        if len(record.chosen) != 1 or len(record.rejected) != 1:
            report.leave_out("an answer of several turns")
            continue
        prompt = template.encode_prompt(tokenizer, record.prompt)
        answers = [template.encode_answer(tokenizer, answer) for answer in (record.chosen, record.rejected)]
        room = max_length - len(prompt)
        if room < 1:
            report.leave_out("the prompt alone fills max_length")
            continue
        report.cut += any(len(answer) > room for answer in answers)
        chosen, rejected = (answer[:room] for answer in answers)
        if chosen == rejected:
            report.leave_out("both answers are equal within max_length")
            continue
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
        report.rows += 1
        report.tokens += 2 * len(prompt) + len(chosen) + len(rejected)
        report.trained_tokens += len(chosen) + len(rejected)
    return rows, report


def encode_labels(
    records: Iterable[Record], template: Template, tokenizer: Any, *, max_length: int, batch_size: int
) -> tuple[list[Row], RowReport]:
    """Encode labelled answers for KTO: `prompt_ids`, `completion_ids`, `label` and `KL_completion_ids`.

    The last is another row's answer: within each batch answers move on by one, and the mismatched pairs estimate the
    KL to the reference (Ethayarajh et al., arXiv:2402.01306, section 4.1).
    """
    report = RowReport()
    rows: list[Row] = []
    for record in records:
        report.records += 1
        if not isinstance(record, Label):
            raise DataError(f"{record.source}, row {record.row}: not a labelled answer", "KTO needs labels")
        prompt = template.encode_prompt(tokenizer, record.prompt)
        answer = template.encode_answer(tokenizer, record.completion)
        room = max_length - len(prompt)
        if room < 1:
            report.leave_out("the prompt alone fills max_length")
            continue
        report.cut += len(answer) > room
        rows.append({"prompt_ids": prompt, "completion_ids": answer[:room], "label": record.label})
        report.rows += 1
        report.tokens += len(prompt) + len(answer[:room])
        report.trained_tokens += len(answer[:room])
    if len(rows) % batch_size == 1 and len(rows) > 1:  # a batch of one would be mismatched with itself
        rows.pop()
        report.leave_out("alone in the last batch")
        report.rows -= 1
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        for index, row in enumerate(batch):
            row["KL_completion_ids"] = batch[index - 1]["completion_ids"]
    return rows, report


def encode_for(
    config: TrainConfig, records: Iterable[Record], template: Template, tokenizer: Any
) -> tuple[list[Row], RowReport]:
    """Encode records as the run's loss takes them; raises DataError when nothing is left."""
    length = config.max_length
    if config.family == "sft":
        rows, report = encode_rows(records, template, tokenizer, max_length=length)
    elif config.family == "label":
        rows, report = encode_labels(records, template, tokenizer, max_length=length, batch_size=config.batch_size)
    else:
        rows, report = encode_pairs(records, template, tokenizer, max_length=length)
    if not rows:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in report.left_out.items()) or "no records"
        raise DataError(
            f"nothing is left to train on ({reasons})", "raise --max-length, or look with `quire finetune data show`"
        )
    return rows, report


def hash_rows(rows: Sequence[Row]) -> str:
    """Give a SHA-256 of token rows: equal rows in equal order, equal hash."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()
