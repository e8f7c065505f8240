"""What a run would do: its rows, tokens, steps, memory and one row as trained; no weights are loaded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from finetune.config import TrainConfig, build
from finetune.data.encode import IGNORED, TokenRow
from finetune.data.records import Record
from finetune.data.show import View, for_terminal
from finetune.errors import ModelUnavailable
from finetune.runs.manifest import require_free
from finetune.templates.find import describe_end
from finetune.templates.own import describe_difference
from finetune.templates.template import Segment, Template
from finetune.train.bases import export_notice, require_full_weights
from finetune.train.cards import detect_card, host_card
from finetune.train.complete import complete
from finetune.train.context import Progress
from finetune.train.device import check_machine, process_count
from finetune.train.load import check_targets, load_tokenizer, template_of
from finetune.train.plan import Plan, make_plan
from finetune.train.rows import Rows, prepare


@dataclass(frozen=True, slots=True)
class DryRun:
    """A run as it would start: completed settings, template, rows, optimizer steps, memory, and a row as trained."""

    config: TrainConfig
    template: Template
    rows: Rows
    sequences: int  # training rows, or with packing the sequences that hold them
    steps: int
    plan: Plan | None  # None for a model of unknown shape
    views: list[View]

    @property
    def fits(self) -> bool:
        """Return whether the planned memory fits; True where it is not known."""
        return self.plan is None or self.plan.fits

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as `--dry-run --json` prints them."""
        held_out = self.rows.held_out_report
        return {
            "run": self.config.name,
            "stage": self.config.stage,
            "model": self.config.model,
            "template": self.template.name,
            "end_token": self.template.end_token,
            "rows": self.rows.report.to_dict(),
            "held_out_rows": held_out.to_dict() if held_out else None,
            "sequences": self.sequences,
            "steps": self.steps,
            "memory_gb": round(self.plan.memory_gb, 3) if self.plan else None,
            "fits": self.fits,
            "card": self.plan.card.name if self.plan else None,
            "row": [view.to_dict() for view in self.views],
            "settings": self.config.to_dict(),
        }


def dry_run(
    config: TrainConfig, *, progress: Progress, records: Sequence[Record] | None = None, resume: bool = False
) -> DryRun:
    """Return what a run with completed settings would do; `records` replaces its data files.

    Raises what `train` raises before it loads weights.
    """
    require_free(config.name, resume=resume)
    check_machine(config)
    check_targets(config)
    base = require_full_weights(config)
    tokenizer = load_tokenizer(config.model, config.revision)
    template = template_of(config, tokenizer)
    progress(describe_end(template))
    for line in filter(None, (export_notice(base, config.model), describe_difference(template, tokenizer))):
        progress(f"notice: {line}")
    rows = prepare(config, template, tokenizer, records, progress=progress)
    sequences = _packed(rows.training, config.max_length) if config.packing else len(rows.training)
    try:
        plan = make_plan(config, card=host_card() if config.device == "cpu" else detect_card())
    except ModelUnavailable:
        plan = None
    views = _views(rows.training[0], template, tokenizer)
    return DryRun(config, template, rows, sequences, count_steps(config, sequences), plan, views)


def continued(config: TrainConfig, parent: TrainConfig) -> TrainConfig:
    """Return the completed settings of a run whose parent is not trained yet, given the parent's completed settings."""
    decided = ("model", "revision", "method", "rank", "alpha", "targets", "rslora")
    values = {name: getattr(parent, name) for name in decided}
    values |= {"parent": "", "template": config.template or parent.template, "system": config.system or parent.system}
    return replace(complete(build(config.to_dict(), values)), reference=config.reference)


def count_steps(config: TrainConfig, sequences: int) -> int:
    """Return the optimizer steps of a run on so many rows or packed sequences, as transformers counts them."""
    if config.max_steps:
        return config.max_steps
    batches = math.ceil(sequences / (config.batch_size * process_count()))
    return math.ceil(config.epochs * math.ceil(batches / config.accumulation))


def _packed(rows: Sequence[TokenRow], max_length: int) -> int:
    """Return the number of sequences that TRL packs the rows into."""
    from datasets import Dataset
    from trl import pack_dataset

    return len(pack_dataset(Dataset.from_list(list(rows)), max_length, "bfd"))


def _views(row: TokenRow, template: Template, tokenizer: Any) -> list[View]:
    """Return the sequences of one token row as text, read back from its tokens and labels."""
    if "labels" in row:
        trained = [label != IGNORED for label in row["labels"]]
        return [_view("the first row", row["input_ids"], trained, template, tokenizer)]
    answers = {"chosen": "chosen_ids", "rejected": "rejected_ids", "answer": "completion_ids"}
    prompt = row["prompt_ids"]
    return [
        _view(f"the first row, {name}", prompt + row[key], [False] * len(prompt) + [True] * len(row[key]), template,
              tokenizer)
        for name, key in answers.items()
        if key in row
    ]  # fmt: skip


def _view(title: str, ids: Sequence[int], trained: Sequence[bool], template: Template, tokenizer: Any) -> View:
    end = tokenizer.convert_tokens_to_ids(template.end_token)
    marked = [(token, in_loss, in_loss and token == end) for token, in_loss in zip(ids, trained, strict=True)]
    segments = []
    for (in_loss, is_end), group in groupby(marked, key=lambda item: item[1:]):
        text = tokenizer.decode([token for token, *_ in group], skip_special_tokens=False)
        segments.append(Segment(text, "end" if is_end else "content" if in_loss else "scaffold", in_loss))
    return View(title, tuple(segments), len(ids), sum(trained))


def render(found: DryRun, *, color: bool) -> str:
    """Return a dry run as text."""
    config, plan = found.config, found.plan
    packed = f", packed into {found.sequences:,} sequences" if config.packing else ""
    lines = [
        f"{config.name}: {config.stage} of {config.model} with {config.method}",
        f"template {found.template.name}, end token {found.template.end_token}",
        *found.rows.sentences(),
        f"{found.steps:,} steps of {config.batch_size * config.accumulation * process_count()} rows{packed}, "
        f"at a learning rate of {config.learning_rate:g}",
    ]
    if plan is None:
        lines.append("memory is not known for this model")
    else:
        fits = "fits" if plan.fits else "does not fit; `quire finetune plan` names settings that do"
        lines.append(f"{plan.memory_gb:.1f} GB at the peak; {plan.card.name}, {plan.card.memory_gb:.0f} GB: {fits}")
    return "\n".join([*lines, for_terminal(found.views, color=color).rstrip("\n")])
