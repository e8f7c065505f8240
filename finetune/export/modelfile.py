"""The settings of a model in Ollama: template, stops, context, sampling and system prompt."""

from dataclasses import dataclass, field
from typing import Any

from finetune.export.gguf import stops_of
from finetune.templates.jinja_and_go import to_go
from finetune.templates.template import Template
from quire import UsageError

CONTEXT = 4096  # tokens; enough for a question with its passages, and Ollama's default on a CPU
MIN_CONTEXT = 256  # tokens; Ollama silently drops the beginning of a longer prompt
# Greedy: an assistant that cites should repeat its answer. Ollama's defaults, 0.8 with a penalty of 1.1, make many
# tuned models look worse than they are.
SAMPLING: dict[str, float] = {"temperature": 0.0, "repeat_penalty": 1.0}


@dataclass(frozen=True, slots=True)
class Modelfile:
    """The settings of one model in Ollama."""

    template: str  # Go
    stops: tuple[str, ...]
    num_ctx: int = CONTEXT  # tokens
    num_predict: int = 1024  # tokens; a limit for answers that never end
    system: str = ""
    sampling: dict[str, float] = field(default_factory=lambda: dict(SAMPLING))

    def parameters(self) -> dict[str, Any]:
        """Return the parameters in the form of Ollama's API."""
        return {
            "num_ctx": self.num_ctx,
            "num_predict": self.num_predict,
            **self.sampling,
            "stop": list(self.stops),
        }

    def to_text(self, weights: str) -> str:
        """Return the text of a Modelfile with `FROM weights`, for `ollama create`.

        Raises UsageError for a system prompt that Ollama would truncate.
        """
        check_system(self.system)
        lines = [f"FROM {weights}", f'TEMPLATE """{self.template}"""']
        for name, value in self.parameters().items():
            values = value if isinstance(value, list) else [value]
            lines += [f"PARAMETER {name} {_quoted(one) if isinstance(one, str) else one}" for one in values]
        if self.system:
            lines.append(f'SYSTEM """{self.system}"""')
        return "\n".join(lines) + "\n"


def check_system(system: str) -> None:
    """Raise UsageError for a system prompt that Ollama would truncate when it reads a Modelfile."""
    if any(line.rstrip().endswith('"""') for line in system.splitlines()[:-1]):
        raise UsageError(
            'a line of the system prompt ends with """, and Ollama would end the prompt there', "reword that line"
        )


def _quoted(text: str) -> str:
    if "\n" in text:
        return f'"""{text}"""'
    return f'"{text}"'  # Ollama reads to the last quote of the line and has no escapes


def check_context(num_ctx: int) -> None:
    """Raise UsageError for a context too small for a question."""
    if num_ctx < MIN_CONTEXT:
        raise UsageError(f"a context of {num_ctx} tokens is too small", f"use --num-ctx {MIN_CONTEXT} or more")


def modelfile_for(template: Template, *, context_length: int, num_ctx: int = CONTEXT, system: str = "") -> Modelfile:
    """Return the settings that follow from the template of training.

    `context_length` is the model's own limit in tokens, which caps `num_ctx`.
    """
    check_context(num_ctx)
    return Modelfile(to_go(template), stops_of(template), min(num_ctx, context_length), system=system)
