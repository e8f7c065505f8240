"""The run under way: what every step of training needs to know about it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig
from finetune.templates.template import Template
from finetune.train.device import is_main_process

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """A run under way: completed settings, folder, template, tokenizer, and the function that prints progress."""

    config: TrainConfig
    folder: Path
    template: Template
    tokenizer: Any
    progress: Progress
    notices: list[str] = field(default_factory=list)  # warnings so far, for the report

    def notice(self, line: str) -> None:
        """Print a warning, and keep it for the report."""
        self.notices.append(line)
        if is_main_process():
            self.progress(f"notice: {line}")
