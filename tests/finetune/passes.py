"""Counts the forward passes of the tiny models, wherever in a test they are loaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MODELS = ("Qwen2ForCausalLM", "PhiForCausalLM")


@contextmanager
def forward_passes(after: Callable[[int], None] = lambda number: None) -> Iterator[list[int]]:
    """Collect the number of tokens of each forward pass inside the `with`; `after` is called with its number, from 1."""
    from torch.nn.modules.module import register_module_forward_hook

    lengths: list[int] = []

    def count(module: Any, args: Any, arguments: dict[str, Any], output: Any) -> None:
        if type(module).__name__ in MODELS:
            lengths.append((args[0] if args else arguments["input_ids"]).shape[1])
            after(len(lengths))

    hook = register_module_forward_hook(count, with_kwargs=True)
    try:
        yield lengths
    finally:
        hook.remove()
