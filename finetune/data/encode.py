"""Records as the token rows that trainers take, with counts of what was truncated and dropped.

The loss mask comes from our template; trainers tokenize nothing.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune.config import TrainConfig
from finetune.data.records import Conversation, Label, Preference, Record, Text
from finetune.errors import DataError
from finetune.templates.chat_template import AnswerTemplate
from finetune.templates.template import Template

IGNORED = -100  # label of a token that is not in the loss

TokenRow = dict[str, Any]


@dataclass(slots=True)
class EncodingReport:
    """How many records became rows, how many were truncated to `max_length`, and why others were dropped."""

    records: int = 0
    rows: int = 0
    truncated: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def add(self, *, tokens: int, trained: int) -> None:
        """Count one row."""
        self.rows += 1
        self.tokens += tokens
        self.trained_tokens += trained

    def drop(self, reason: str) -> None:
        """Count one record that became no row."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the counts under the keys of `report.json`."""
        return {
            "records": self.records,
            "rows": self.rows,
            "cut": self.truncated,
            "tokens": self.tokens,
            "trained_tokens": self.trained_tokens,
            "left_out": self.dropped,
        }


def encode_conversations(
    records: Iterable[Record], template: Template, tokenizer: Any, *, max_length: int
) -> tuple[list[TokenRow], EncodingReport]:
    """Encode conversations and texts for SFT: `input_ids` and `labels`, truncated at the end."""
    report = EncodingReport()
    rows: list[TokenRow] = []
    for record in records:
        report.records += 1
        if isinstance(record, Text):
            encoded = template.encode_text(tokenizer, record.text)
        elif isinstance(record, Conversation):
            encoded = template.encode(tokenizer, record.messages)
        else:
            raise DataError(f"{record.source}, row {record.row}: not a conversation", "convert pairs with task sft")
        ids, mask = encoded.input_ids[:max_length], encoded.loss_mask[:max_length]
        report.truncated += len(encoded.input_ids) > max_length
        if not any(mask[1:]):  # the first token is never predicted
            report.drop("no trained token within max_length")
            continue
        labels = [token if trained else IGNORED for token, trained in zip(ids, mask, strict=True)]
        rows.append({"input_ids": ids, "labels": labels})
        report.add(tokens=len(ids), trained=sum(mask))
    return rows, report


def encode_pairs(
    records: Iterable[Record], template: AnswerTemplate, tokenizer: Any, *, max_length: int
) -> tuple[list[TokenRow], EncodingReport]:
    """Encode preferences: `prompt_ids`, `chosen_ids` and `rejected_ids`, with answers truncated to fit."""
    report = EncodingReport()
    rows: list[TokenRow] = []
    for record in records:
        report.records += 1
        if not isinstance(record, Preference):
            raise DataError(f"{record.source}, row {record.row}: not a pair", "preference losses need pairs")
        if len(record.chosen) != 1 or len(record.rejected) != 1:
            report.drop("an answer of several turns")
            continue
        prompt = template.encode_prompt(tokenizer, record.prompt)
        answers = [template.encode_answer(tokenizer, answer) for answer in (record.chosen, record.rejected)]
        room = max_length - len(prompt)
        if room < 1:
            report.drop("the prompt alone fills max_length")
            continue
        report.truncated += any(len(answer) > room for answer in answers)
        chosen, rejected = (answer[:room] for answer in answers)
        if chosen == rejected:
            report.drop("both answers are equal within max_length")
            continue
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
        trained = len(chosen) + len(rejected)
        report.add(tokens=2 * len(prompt) + trained, trained=trained)
    return rows, report


def encode_labels(
    records: Iterable[Record], template: Template, tokenizer: Any, *, max_length: int, seed: int = 0
) -> tuple[list[TokenRow], EncodingReport]:
    """Encode labeled answers for KTO: `prompt_ids`, `completion_ids`, `label` and `KL_completion_ids`.

    `KL_completion_ids` is the answer of the next row of another prompt: the mismatched pairs estimate the KL to the
    reference (Ethayarajh et al., arXiv:2402.01306, section 4.1). The rows are shuffled by `seed`, since TRL trains them in
    order, and files often have both answers to a prompt side by side. Raises DataError where all rows have one prompt.
    """
    report = EncodingReport()
    rows: list[TokenRow] = []
    for record in records:
        report.records += 1
        if not isinstance(record, Label):
            raise DataError(f"{record.source}, row {record.row}: not a labeled answer", "KTO needs labels")
        prompt = template.encode_prompt(tokenizer, record.prompt)
        answer = template.encode_answer(tokenizer, record.completion)
        room = max_length - len(prompt)
        if room < 1:
            report.drop("the prompt alone fills max_length")
            continue
        report.truncated += len(answer) > room
        answer = answer[:room]
        rows.append({"prompt_ids": prompt, "completion_ids": answer, "label": record.label})
        report.add(tokens=len(prompt) + len(answer), trained=len(answer))
    random.Random(seed).shuffle(rows)  # noqa: S311 - not a secret
    _add_mismatched_answers(rows, max_length)
    return rows, report


def _add_mismatched_answers(rows: list[TokenRow], max_length: int) -> None:
    """Give each row the answer of the next row of another prompt, truncated to fit after its own prompt."""
    if rows and all(row["prompt_ids"] == rows[0]["prompt_ids"] for row in rows):
        raise DataError(
            f"KTO compares answers to different prompts, and all {len(rows)} rows have one prompt",
            "add rows of other prompts; for held-out rows, raise --eval-share",
        )
    for index, row in enumerate(rows):
        prompt = row["prompt_ids"]
        following = (rows[(index + step) % len(rows)] for step in range(1, len(rows)))
        other = next(candidate for candidate in following if candidate["prompt_ids"] != prompt)
        row["KL_completion_ids"] = other["completion_ids"][: max_length - len(prompt)]


def encode_for(
    config: TrainConfig, records: Iterable[Record], template: Template, tokenizer: Any
) -> tuple[list[TokenRow], EncodingReport]:
    """Encode records for the loss of a run; raises DataError if no row is left."""
    length = config.max_length
    if config.kind == "sft":
        rows, report = encode_conversations(records, template, tokenizer, max_length=length)
    elif config.kind == "unpaired":
        rows, report = encode_labels(records, template, tokenizer, max_length=length, seed=config.seed)
    else:
        rows, report = encode_pairs(records, template, tokenizer, max_length=length)
    if not rows:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in report.dropped.items()) or "no records"
        raise DataError(
            f"no row is left to train on ({reasons})",
            "raise --max-length, or inspect the rows with `quire finetune data show`",
        )
    return rows, report


def hash_rows(rows: Sequence[TokenRow]) -> str:
    """Return a SHA-256 of token rows, which depends on their content and order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()
