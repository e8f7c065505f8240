"""The parity check: compares an exported model's answers with the trained model's, step by step.

Steps: `tokenizer` (same ids for the same text), `template` (same prompt for the same messages), `stop` (answers end at the
same place), `rope` and `shape` (keys that describe the model), `weights` (log-probabilities, greedy answers). All steps
run, also after one has failed.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.errors import ParityFailed
from finetune.export.gguf import ARCHITECTURE, context_length, stops_of
from finetune.export.gguf_header import Header, read_header
from finetune.export.limits import CHECKED, NO_OVERRIDES, Overrides, limits_of
from finetune.export.llama_cpp import TOP, Engine, NextTokenLogProbs
from finetune.export.modelfile import Modelfile
from finetune.export.reference import CONVERSATIONS, Reference
from finetune.export.rotary import head_size, rope
from finetune.export.token_parity import PROBES, TokenParity, first_difference
from finetune.export.vocabulary import pre_tokenizer
from finetune.templates.jinja_and_go import to_go
from finetune.templates.leading_blank import decode_continuing

STEPS = ("tokenizer", "template", "stop", "rope", "shape", "weights")
MAX_SERVED_STEPS = 12  # positions of an answer that are compared through a server, one request each


@dataclass(slots=True)
class Parity:
    """The result of a parity check: figures, and one sentence for every step that differs."""

    kind: str
    provisional: bool = True  # whether the limits were not checked on real weights of this kind and architecture
    positions: int = 0
    mean_kl: float = 0.0
    max_kl: float = 0.0
    top1: float = 0.0
    greedy_equal: int = 0
    ended: int = 0
    ends: int = 0  # answers that the trained model ends itself
    answers: int = 0
    texts: int = 0  # texts and prompts that were compared
    differences: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)  # seldom texts that are read differently, with the consequence
    limits: dict[str, float] = field(default_factory=dict)  # those that replace ours, by TYPE.NAME

    @property
    def passed(self) -> bool:
        """Whether no step differs."""
        return not self.differences

    def add_difference(self, step: str, sentence: str) -> None:
        """Record a difference; only the first of a step is kept."""
        self.differences.setdefault(step, sentence)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {**asdict(self), "passed": self.passed}


def compare(
    ref: Reference,
    path: Path,
    *,
    kind: str,
    modelfile: Modelfile | None = None,
    lora: Path | None = None,
    limits: Overrides = NO_OVERRIDES,
) -> Parity:
    """Compare a GGUF file, and its Modelfile and a GGUF adapter on top if given, with the trained model."""
    found = Parity(kind, limits=dict(limits))
    header = read_header(path)
    found.provisional = (kind, ARCHITECTURE[ref.config["architectures"][0]]) not in CHECKED
    check_tokenizer_keys(ref, header, found)
    check_stops(ref, header, modelfile, found)
    if not check_keys(ref, header, found):
        return found
    longest = max((len(c.prompt) + len(c.answer) for c in ref.cases), default=0)
    with Engine(path, context=max(512, longest + 64), lora=lora) as engine:
        tokens = check_tokens(ref, engine, found)
        check_template(ref, engine, tokens, modelfile, found)
        check_weights(ref, engine, found)
    return found


def require_parity(parity: Parity, name: str) -> None:
    """Raise ParityFailed, with every step that differs, unless the check passed; `name` is what was compared."""
    if parity.passed:
        return
    lines = [f"{step}: {sentence}" for step, sentence in parity.differences.items()]
    raise ParityFailed(
        "\n  - ".join([f"{name} diverges from the trained model:", *lines]),
        "nothing was exported; `quire finetune doctor RUN` checks every step"
        + ("; --limit raises a limit of `weights`" if "weights" in parity.differences else ""),
        steps=tuple(parity.differences),
    )


# -- steps


def check_tokenizer_keys(ref: Reference, header: Header, found: Parity) -> None:
    """Compare the pre-tokenizer's name and the begin token with the model's own tokenizer."""
    path = ref.model / "tokenizer.json"
    expected = pre_tokenizer(json.loads(path.read_text(encoding="utf-8")), path)
    actual = header.get("tokenizer.ggml.pre")
    if actual != expected:
        found.add_difference("tokenizer", f"the pre-tokenizer is {actual!r}, the model's own is {expected!r}")
    if header.get("tokenizer.ggml.add_bos_token", True) and not ref.template.start:
        found.add_difference("tokenizer", "the file adds a begin token to every prompt, and training did not")


def check_stops(ref: Reference, header: Header, modelfile: Modelfile | None, found: Parity) -> None:
    """Compare the end token and the stops of file and Modelfile with those of training."""
    end = ref.template.end_token
    tokens = header.get("tokenizer.ggml.tokens")
    number = header.get("tokenizer.ggml.eos_token_id", -1)
    actual = tokens[number] if 0 <= number < len(tokens) else None
    if actual != end:
        found.add_difference("stop", f"the file's end token is {actual!r}, the model was trained with {end!r}")
    places: list[tuple[str, tuple[str, ...]]] = []
    in_file = header.get("quire.stops")
    if in_file is not None or modelfile is None:  # Ollama's own quantizer drops keys that it does not know
        places.append(("the file's quire.stops", tuple(in_file or ())))
    if modelfile is not None:
        places.append(("the Modelfile", modelfile.stops))
    for place, stops in places:
        missing = [s for s in stops_of(ref.template) if s not in stops]
        if missing:
            found.add_difference("stop", f"{place} lacks the stop {', '.join(map(repr, missing))}")


def check_keys(ref: Reference, header: Header, found: Parity) -> bool:
    """Compare RoPE and shape with the model's config; return whether llama.cpp may open the file.

    llama.cpp ends its process, which is this one, on shapes that contradict each other.
    """
    positions, config = rope(ref.config), ref.config
    heads = config["num_attention_heads"]
    size, even = head_size(config), config["hidden_size"] // heads
    wanted: dict[str, tuple[str, float, float]] = {  # key: step, expected value, default
        "{arch}.rope.freq_base": ("rope", positions["rope_theta"], 10000.0),
        "{arch}.rope.dimension_count": ("rope", int(positions["partial"] * size), size),
        "{arch}.attention.head_count": ("shape", heads, 0),
        "{arch}.attention.head_count_kv": ("shape", config.get("num_key_value_heads") or heads, heads),
        "{arch}.block_count": ("shape", config["num_hidden_layers"], 0),
        "{arch}.context_length": ("shape", context_length(config), 0),
        "{arch}.attention.key_length": ("shape", size, even),
        "{arch}.attention.value_length": ("shape", size, even),
    }
    architecture = ARCHITECTURE[config["architectures"][0]]
    if header.get("general.architecture") != architecture:
        found.add_difference(
            "shape",
            f"the file's architecture is {header.get('general.architecture')!r}, the model's is {architecture!r}",
        )
        return False
    may_open = True
    for key, (step, expected, default) in wanted.items():
        actual = float(header.get(key, default))
        if abs(actual - expected) > 1e-6 * abs(expected):
            may_open = may_open and key == "{arch}.rope.freq_base"
            found.add_difference(
                step, f"{key.replace('{arch}.', '')} is {actual:g}, in the model's config {expected:g}"
            )
    return may_open


def check_tokens(ref: Reference, engine: Engine, found: Parity) -> TokenParity:
    """Compare the token ids of ordinary texts and of the run's own prompts; seldom texts that differ are notices."""
    tokens = TokenParity(ref.template, ref.tokenizer, engine.tokens)
    found.texts += len(PROBES) + len(ref.cases)
    for sentence in (*tokens.differences(), *(tokens.prompt_difference(case.prompt) for case in ref.cases)):
        if sentence:
            found.add_difference("tokenizer", sentence)
    found.notices += tokens.notices()
    return tokens


def check_template(
    ref: Reference, engine: Engine, tokens: TokenParity, modelfile: Modelfile | None, found: Parity
) -> None:
    """Compare the prompts that the file's own template renders, and their tokens, with those of training."""
    for messages in CONVERSATIONS:
        found.texts += 1
        expected = ref.template.render(messages, add_generation_prompt=True)
        actual = engine.render([{"role": m.role, "content": m.content} for m in messages])
        if actual != expected:
            found.add_difference("template", difference(actual, expected))
            continue
        ids, read = ref.template.encode_prompt(ref.tokenizer, messages), engine.tokens(actual)
        if read != ids:
            found.add_difference("tokenizer", f"the prompt {expected[:40]!r}...: {tokens.describe(ids, read)}")
    if modelfile is not None and modelfile.template != to_go(ref.template):
        found.add_difference("template", "the Modelfile's TEMPLATE is not the one that the run was trained with")


def difference(actual: str, expected: str) -> str:
    """Return a sentence with the first place where two rendered prompts differ."""
    at = first_difference(actual, expected)
    start = max(0, at - 10)
    return f"rendered {actual[start : at + 30]!r} where training had {expected[start : at + 30]!r}"


def check_weights(ref: Reference, engine: Engine, found: Parity) -> None:
    """Compare log-probabilities at every position, and greedy answers, within the limits of the stored type."""
    kls: list[float] = []
    same, lost = 0, 0.0
    for case in ref.cases:
        text = [*case.prompt, *case.answer]
        for row, position in enumerate(range(case.first, len(text))):
            expected = case.log_probs[row]
            actual = engine.next_token_log_probs(text[: position + 1], top=min(TOP, len(expected)))
            kls.append(divergence(expected, actual))
            agrees = int(actual.ids[0]) == int(expected.argmax())
            same += agrees
            if not agrees:
                lost = max(lost, _lead(expected))
        written = engine.generate(case.prompt, max_tokens=len(case.answer) + 8)
        found.answers += 1
        found.greedy_equal += written.ids[: len(case.answer)] == case.answer
        found.ends += case.ended
        found.ended += case.ended and written.ended
    _apply_limits(found, kls, same, lost)


def _lead(log_probs: NDArray[np.float32]) -> float:
    """Return by how many nats the first choice leads the second."""
    second, first = np.partition(log_probs, -2)[-2:]
    return float(first - second)


def _apply_limits(found: Parity, kls: list[float], same: int, lost: float) -> None:
    """Enter the figures of `weights` and compare them with the limits; `lost` is the largest lead that was overturned."""
    limits = limits_of(found.kind, found.limits)
    found.positions = len(kls)
    found.mean_kl, found.max_kl, found.top1 = float(np.mean(kls)), float(np.max(kls)), same / len(kls)
    if not found.mean_kl <= limits.mean_kl or not found.max_kl <= limits.max_kl:
        found.add_difference(
            "weights",
            f"KL is {found.mean_kl:.2g} on average and {found.max_kl:.2g} at worst;"
            f" the limits of {found.kind} are {limits.mean_kl:g} and {limits.max_kl:g}",
        )
    elif lost > limits.margin:
        found.add_difference(
            "weights",
            f"the first choice differs where the trained model's leads by {lost:.2g} nats; the limit is {limits.margin:g}",
        )
    elif found.top1 < limits.top1:
        found.add_difference(
            "weights", f"the first choice is the same at {found.top1:.1%} of positions; the limit is {limits.top1:.0%}"
        )
    if found.ends and found.ended / found.ends < limits.ended:
        found.add_difference(
            "stop", f"{found.ends - found.ended} of {found.ends} answers do not end where the trained model ends them"
        )


def divergence(expected: NDArray[np.float32], actual: NextTokenLogProbs) -> float:
    """Return the KL in nats of the trained model against the exported one, all tokens missing in `actual` as one.

    Treating them as one can only lower the KL, by at most their probability: next to nothing at TOP = 2048.
    """
    logs = expected[actual.ids].astype(np.float64)
    total = float((np.exp(logs) * (logs - actual.log_probs)).sum())
    rest = 1.0 - float(np.exp(logs).sum())
    other = 1.0 - float(np.exp(actual.log_probs).sum())
    if len(actual.ids) < len(expected) and rest > 1e-9 and other > 1e-12:
        total += rest * float(np.log(rest / other))
    return max(0.0, total)


# -- through a server


def compare_served(
    ref: Reference,
    next_tokens: Callable[[str], list[tuple[str, float]]],
    *,
    kind: str,
    limits: Overrides = NO_OVERRIDES,
) -> Parity:
    """Compare a model behind a server that returns only the most likely next tokens, as text, after a raw prompt.

    The positions are the first dozen of each greedy answer of the trained model; tokens are matched by their text.
    """
    found = Parity(kind, limits=dict(limits))
    kls: list[float] = []
    same, lost = 0, 0.0
    for case in ref.cases:
        found.answers += 1
        equal = True
        for step in range(min(MAX_SERVED_STEPS, len(case.answer) + 1)):
            expected = case.log_probs[len(case.prompt) - 1 - case.first + step]
            ids = [*case.prompt, *case.answer[:step]]
            served = next_tokens(ref.template.decode(ref.tokenizer, ids))
            if not served and case.ended and step == len(case.answer):
                continue  # a server that ends an answer returns no end token
            agrees = bool(served) and served[0][0] == decode_continuing(ref.tokenizer, [int(expected.argmax())])
            if served:
                kls.append(_text_divergence(ref, expected, served))
                same += agrees
            if not agrees:
                equal, lost = False, max(lost, _lead(expected))
        found.greedy_equal += equal
    if not kls:
        raise ParityFailed("the server returns no log-probabilities", "update Ollama, or make its files readable")
    _apply_limits(found, kls, same, lost)
    return found


def _text_divergence(ref: Reference, expected: NDArray[np.float32], served: list[tuple[str, float]]) -> float:
    log_probs = dict(served)
    total, rest = 0.0, 1.0
    for token in np.argsort(-expected)[: len(served)]:
        log = log_probs.get(decode_continuing(ref.tokenizer, [int(token)]))
        if log is None:
            continue
        probability = float(np.exp(expected[token]))
        total += probability * (float(expected[token]) - log)
        rest -= probability
    other = 1.0 - float(sum(np.exp(list(log_probs.values()))))
    if rest > 1e-6 and other > 1e-6:
        total += rest * float(np.log(rest / other))
    return max(0.0, total)
