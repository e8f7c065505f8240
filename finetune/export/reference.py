"""The trained model's answers and log-probabilities, which the parity check compares with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.errors import ExportError, ParityFailed
from finetune.export.gguf import read_config, stops_of
from finetune.export.held_out import held_out_rows
from finetune.export.merge import MAX_MERGE_KL, read_merge_report
from finetune.export.streamed import greedy, head_of, hidden_states, open_streamed, open_trained
from finetune.runs.manifest import read_manifest
from finetune.templates.find import load_template
from finetune.templates.messages import Message
from finetune.templates.template import Template
from finetune.train.device import own_device

MAX_PROMPTS = 12  # each costs a pass of the trained model, and some dozens of llama.cpp
MAX_ANSWER_TOKENS = 32
CONTEXT = 32  # positions at the end of each prompt that are compared

# Conversations that different templates render differently.
CONVERSATIONS: tuple[tuple[Message, ...], ...] = (
    (Message("user", "What does the cow say?"),),
    (Message("system", "Answer in one word."), Message("user", "What does the cow say?")),
    (
        Message("user", "Hello"),
        Message("assistant", "Hello to you."),
        Message("user", 'And "now" what\'s {{ .Next }}?'),
    ),
    (
        Message("system", "Use {{ braces }}, {% tags %} and 'quotes'."),
        Message("user", "  blanks and\nlines\n"),
        Message("assistant", "Yes."),
        Message("user", '{"a": [1, 2]} <b>x</b> 3 < 4'),
    ),
    (Message("system", ""), Message("user", "No system text.")),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt, the trained model's greedy answer, and its log-probabilities."""

    prompt: list[int]
    answer: list[int]  # greedy tokens without the end token
    ended: bool  # with the end token, before the limit of tokens
    first: int  # position in prompt + answer to which the first row of `log_probs` belongs
    log_probs: NDArray[np.float32]  # of the next token, [positions, vocabulary]


@dataclass(frozen=True, slots=True)
class Reference:
    """The trained model on all prompts, computed once and compared with any number of files."""

    model: Path
    template: Template
    tokenizer: Any
    config: dict[str, Any]
    cases: list[Case]


def checked_reference(run: str | Path, merged: Path, *, base_folder: str, progress: Callable[[str], None]) -> Reference:
    """Return the reference on a merged folder after comparing it with base and adapter as they were trained.

    Raises ParityFailed when they diverge: all later steps are compared with the merged model.
    """
    full_precision = read_merge_report(run, merged).get("onto") == "original"
    ref = compute_reference(run, merged)
    progress("comparing the merged model with the trained one")
    kl = merge_divergence(run, ref, full_precision=full_precision, base_folder=base_folder)
    if not kl <= MAX_MERGE_KL:
        raise ParityFailed(
            f"the merged model diverges from the trained model:\n  - merge: KL is {kl:.2g} nats per token;"
            f" the limit is {MAX_MERGE_KL:g}",
            "merge again from the run; `quire finetune doctor RUN` checks every step",
            steps=("merge",),
        )
    return ref


def compute_reference(run: str | Path, merged: Path) -> Reference:
    """Return the reference on a merged folder and the run's own prompts, computed on the run's own device."""
    from transformers import AutoTokenizer

    template = load_template(merged)
    prompts = parity_prompts(run, template, AutoTokenizer.from_pretrained(merged))
    return reference_on(merged, template, prompts, device=own_device(read_manifest(run).device))


def reference_on(
    model: Path,
    template: Template,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int = MAX_ANSWER_TOKENS,
    context: int = CONTEXT,
    device: str = "cpu",
) -> Reference:
    """Run a merged model in transformers on `device`, in fp32 and layer by layer, on prompts of token ids.

    Log-probabilities are kept for the last `context` positions of each prompt and for its greedy answer.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = open_streamed(model, device=device)
    ends = [tokenizer.convert_tokens_to_ids(s) for s in stops_of(template) if s in tokenizer.get_vocab()]
    answers = greedy(network, prompts, ends=ends, max_tokens=max_tokens)
    firsts = [max(0, len(prompt) - context) for prompt in prompts]
    texts = [[*prompt, *answer] for prompt, (answer, _) in zip(prompts, answers, strict=True)]
    cases = [
        Case(list(prompt), answer, ended, first, log_probs)
        for prompt, (answer, ended), first, log_probs in zip(
            prompts, answers, firsts, _log_probs(network, texts, firsts), strict=True
        )
    ]
    return Reference(model, template, tokenizer, read_config(model), cases)


def _log_probs(model: Any, texts: Sequence[Sequence[int]], firsts: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    """Yield for each text the log-probabilities after its tokens from the position `first` on."""
    hidden = hidden_states(model, texts, [range(first, len(t)) for t, first in zip(texts, firsts, strict=True)])
    log_probs = head_of(model)
    for rows in hidden:
        yield log_probs(rows).cpu().numpy()


def merge_divergence(run: str | Path, ref: Reference, *, full_precision: bool, base_folder: str = "") -> float:
    """Return the mean KL in nats of base and adapter against the merged model, at the positions of `ref`.

    `full_precision` is for a QLoRA run that was merged into the full-precision base.
    """
    model = open_trained(run, full_precision=full_precision, base_folder=base_folder)
    texts = [[*case.prompt, *case.answer] for case in ref.cases]
    kls: list[float] = []
    for case, logs in zip(ref.cases, _log_probs(model, texts, [case.first for case in ref.cases]), strict=True):
        if logs.shape != case.log_probs.shape:
            return float("inf")
        kls += (np.exp(logs) * (logs - case.log_probs)).sum(axis=-1).tolist()
    return float(np.mean(kls))


def parity_prompts(run: str | Path, template: Template, tokenizer: Any) -> list[list[int]]:
    """Return prompts as ids: those the run was sampled with, then those of its held-out rows or training rows."""
    manifest = read_manifest(run)
    prompts = [template.encode_prompt(tokenizer, (Message("user", p),)) for p in manifest.config.get("prompts") or ()]
    try:
        rows = held_out_rows(run, manifest)
    except (OSError, ExportError):
        rows = []  # the data has moved; the sampled prompts remain
    for ids, positions, _ in rows:
        prompt = ids[: positions[0] + 1] if positions else []
        if prompt and prompt not in prompts and len(prompts) < MAX_PROMPTS:
            prompts.append(prompt)
    return prompts or [template.encode_prompt(tokenizer, c) for c in CONVERSATIONS[:4]]
