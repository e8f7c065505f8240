"""What Ollama is told beside the weights: TEMPLATE, stops, context, sampling and system prompt, as Modelfile and as request."""

from dataclasses import dataclass, field
from typing import Any

from finetune.export.gguf import stops_of
from finetune.templates.languages import to_go
from finetune.templates.template import Template
from quire import UsageError

CONTEXT = 4096  # tokens; enough for a question with its passages, and Ollama's own choice on a processor
LEAST_CONTEXT = 256  # Ollama drops the beginning of what does not fit, without a word
# Greedy by default: an assistant that cites should say the same twice, and 0.8 with a 1.1 penalty is what people
# complain of ("worse in Ollama").
SAMPLING: dict[str, float] = {"temperature": 0.0, "repeat_penalty": 1.0}


@dataclass(frozen=True, slots=True)
class Modelfile:
    """The settings of one tag."""

    template: str  # Go
    stops: tuple[str, ...]
    num_ctx: int = CONTEXT  # tokens
    num_predict: int = 1024  # tokens; an answer that never ends must end
    system: str = ""
    sampling: dict[str, float] = field(default_factory=lambda: dict(SAMPLING))

    def parameters(self) -> dict[str, Any]:
        """Give the parameters as Ollama's API takes them."""
        return {
            "num_ctx": self.num_ctx,
            "num_predict": self.num_predict,
            **self.sampling,
            "stop": list(self.stops),
        }

    def to_text(self, weights: str) -> str:
        """Write a Modelfile whose FROM is `weights`, for people who create the tag by hand.

        Raises UsageError for a system prompt that Ollama's own reader would cut.
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
    """Raise UsageError for a system prompt that Ollama's reader of Modelfiles would cut."""
    if any(line.rstrip().endswith('"""') for line in system.splitlines()[:-1]):
        raise UsageError(
            'a line of the system prompt ends with """, where Ollama stops reading a Modelfile', "write it another way"
        )


def _quoted(text: str) -> str:
    if "\n" in text:
        return f'"""{text}"""'
    return f'"{text}"'  # Ollama takes what stands between the outer two, and knows no backslash


def check_context(num_ctx: int) -> None:
    """Raise UsageError for a context that holds no question."""
    if num_ctx < LEAST_CONTEXT:
        raise UsageError(f"a context of {num_ctx} tokens holds no question", f"use {LEAST_CONTEXT} or more: --num-ctx")


def modelfile_for(template: Template, *, context_length: int, num_ctx: int = CONTEXT, system: str = "") -> Modelfile:
    """Derive the settings of a tag from the template that the run was trained with.

    `context_length` is the longest text that the model was made for; `num_ctx` never goes beyond it.
    """
    check_context(num_ctx)
    return Modelfile(to_go(template), stops_of(template), min(num_ctx, context_length), system=system)
