"""How a model chooses its tokens: greedily, or at random within limits."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from quire import UsageError


class Control(NamedTuple):
    """One sampling control: its range, and what it does."""

    minimum: float
    maximum: float
    help: str


# The flags of the commands and the check in Sampling use these ranges.
CONTROLS = {
    "temperature": Control(0.0, 2.0, "randomness; 0 always takes the most likely token"),
    "top_p": Control(0.01, 1.0, "sample from the most likely tokens up to this total probability; 1 is off"),
    "top_k": Control(0, 1000, "sample from this many of the most likely tokens; 0 is off"),
    "min_p": Control(0.0, 1.0, "sample from tokens with at least this share of the top one's probability; 0 is off"),
    "repetition_penalty": Control(1.0, 2.0, "lowers the odds of tokens of the prompt and the answer; 1 is off"),
    "seed": Control(-1, 2**31 - 1, "a fixed seed repeats the answer; -1 takes a new one each time"),
}
_LIMITS = ("top_p", "top_k", "min_p")  # they choose among candidates, of which greedy decoding has one


@dataclass(frozen=True, slots=True)
class Sampling:
    """The controls of one answer; the default is greedy. Raises UsageError for a value out of range."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = -1

    def __post_init__(self) -> None:
        for name, control in CONTROLS.items():
            value = getattr(self, name)
            if not control.minimum <= value <= control.maximum:  # also for nan
                raise UsageError(
                    f"{name} is {value}", f"use a value from {control.minimum:.10g} to {control.maximum:.10g}"
                )

    @property
    def ineffective(self) -> list[str]:
        """Return the controls that are set and have no effect, because the temperature is 0."""
        if self.temperature:
            return []
        return [name for name in _LIMITS if getattr(self, name) != getattr(GREEDY, name)]

    def options(self) -> dict[str, Any]:
        """Return the arguments of transformers' `generate`; every control is given, so the model's defaults never apply."""
        sampled = self.temperature > 0
        return {
            "do_sample": sampled,
            "temperature": self.temperature if sampled else None,
            "top_p": self.top_p if sampled and self.top_p < 1 else None,
            "top_k": self.top_k if sampled and self.top_k else None,
            "min_p": self.min_p if sampled and self.min_p else None,
            "repetition_penalty": self.repetition_penalty,
        }


GREEDY = Sampling()
