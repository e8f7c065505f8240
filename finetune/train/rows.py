"""The rows of a run: its data read, mixed, split into training and held-out rows, and encoded."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune.config import TrainConfig
from finetune.data.encode import EncodingReport, TokenRow, encode_for
from finetune.data.mix import Share, mix
from finetune.data.records import Record, Task
from finetune.data.sources.loader import load_data
from finetune.data.split import split
from finetune.errors import DataError
from finetune.templates.template import Template
from finetune.train.context import Progress

logger = logging.getLogger(__name__)

LENGTH = "length"  # the column of the training rows that `group_by_length` adds


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded training and held-out rows, and how they came from the data."""

    training: list[TokenRow]
    held_out: list[TokenRow]
    report: EncodingReport
    held_out_report: EncodingReport | None
    shares: list[Share] = field(default_factory=list)  # what each file contributes to a mixture

    def sentences(self) -> list[str]:
        """Return one line for each file of a mixture, for the training rows and for the held-out rows."""
        lines = [share.sentence() for share in self.shares]
        for name, report in (("training", self.report), ("held-out", self.held_out_report)):
            if report is None:
                continue
            line = f"{report.rows:,} {name} rows, {report.tokens:,} tokens, {report.trained_tokens:,} in the loss"
            if report.truncated:
                line += f"; {report.truncated} truncated to max_length"
            for reason, count in report.dropped.items():
                line += f"; {count} dropped ({reason})"
            lines.append(line)
        return lines


def prepare(
    config: TrainConfig,
    template: Template,
    tokenizer: Any,
    records: Sequence[Record] | None = None,
    *,
    progress: Progress = logger.info,
) -> Rows:
    """Return the rows of a run; `records` replaces its data files."""
    shares: list[Share] = []
    if records is not None:
        found = list(records)
    elif config.weights:
        found, shares = _read_mixture(config, progress)
    else:
        found = read_records(config.data, config.task, progress=progress)
    if config.max_rows:
        found = found[: config.max_rows]
    if config.eval_data:
        train_records, held = found, read_records(config.eval_data, config.task, progress=progress)
    else:
        train_records, held = split(found, held_out=config.eval_share, seed=config.seed, limit=config.max_eval_rows)
        if config.eval_share and not held:
            raise DataError(
                "no rows can be held out: they belong to one group, or every group has more than max_eval_rows",
                "give --eval-data FILE, or a larger --max-eval-rows",
            )
    training, report = encode_for(config, train_records, template, tokenizer)
    if not held:
        return Rows(training, [], report, None, shares)
    held_out, held_out_report = encode_for(config, held, template, tokenizer)
    return Rows(training, held_out, report, held_out_report, shares)


def datasets_of(rows: Rows, config: TrainConfig) -> tuple[Any, Any]:
    """Return the training rows and the held-out rows (None without any) as data sets of the library `datasets`."""
    from datasets import Dataset

    training = Dataset.from_list(rows.training)
    if config.group_by_length:
        training = training.add_column(LENGTH, [_length(row) for row in rows.training])
    return training, Dataset.from_list(rows.held_out) if rows.held_out else None


def _length(row: TokenRow) -> int:
    """Return the tokens that a row takes in a batch; of a pair, those of its longer side."""
    if "input_ids" in row:
        return len(row["input_ids"])
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def read_records(names: Sequence[str], task: Task, *, progress: Progress = logger.info) -> list[Record]:
    """Return the records in files or hub sets; prints each detected format and logs the rows that are dropped."""
    found: list[Record] = []
    for name in names:
        source = load_data(name, task=task)
        progress(f"{name}: {source.format}, {source.kept:,} of {source.rows:,} rows")
        for line in source.sentences():
            progress(f"{name}: {line}")
        if source.problems:
            first = "; ".join(f"row {problem.row}: {problem.problem}" for problem in source.problems[:3])
            more = f" and {len(source.problems) - 3} more" if len(source.problems) > 3 else ""
            logger.warning("%s (%s): dropped %s%s", name, source.format, first, more)
        found += source.records
    return found


def _read_mixture(config: TrainConfig, progress: Progress) -> tuple[list[Record], list[Share]]:
    parts = {name: read_records([name], config.task, progress=progress) for name in config.data}
    mixture = mix(parts, dict(zip(config.data, map(float, config.weights), strict=True)), seed=config.seed)
    return mixture.records, mixture.shares
