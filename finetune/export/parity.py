"""The gate: does a GGUF file say what the trained model says? Step by step, so that a difference has a name.

Steps, in order: `tokenizer` (same ids for the same text), `template` (same prompt for the same messages), `stop` (same end of
an answer), `rope` and `shape` (the keys that no weight shows), `weights` (probabilities, greedy answers). Every step is
looked at even when an earlier one differs.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.errors import ParityFailed
from finetune.export.engine import TOP, Engine, Spread
from finetune.export.gguf import ARCHITECTURE, Header, pre_tokenizer, read_config, read_header, rope, stops_of
from finetune.export.modelfile import Modelfile
from finetune.templates.languages import to_go
from finetune.templates.messages import Message
from finetune.templates.template import Template

STEPS = ("tokenizer", "template", "stop", "rope", "shape", "weights")

# Texts on which pre-tokenizers part: digits, contractions, blanks, ends of lines, other scripts, emoji, code.
PROBES = (
    "Hello world, it's 2024 and we've 1234567 reasons; don't WE'LL see?",
    "def f(x):\n    return {'a': x[0] ** 2}  # blanks\n\n\n\tindented\ttabs",
    "one\r\ntwo\r\n\r\nthree   four     five\n \n  \n end  ",
    "Größe café naïve Ünïcödé — “quotes” … 3.14159, 1,000,000.00 €",
    "我想在apple工作1314151天 нещо на Български កាន់តែពិសេស ไทย 日本語",
    "🚀 (normal) 😶‍🌫️ emoji ✅ <b>tags</b> {{ braces }} {% if %} $x$ \\n",
)
# Conversations on which templates part.
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
        Message("user", '{"a": [1, 2]} </s> <b>'),
    ),
    (Message("system", ""), Message("user", "No system text.")),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a stored type may part from the trained model; measured, see docs/export.md."""

    mean_kl: float  # nats, mean over positions, of trained against exported
    max_kl: float  # nats, at any one position
    margin: float  # nats; where the trained model's first choice leads by more, the exported one must choose it too
    top1: float  # share of positions with the same first choice
    ended: float  # share of answers that end themselves, of those that do so in the trained model


# F32 to BF16 come from an exact copy of the weights, so their limits are llama.cpp's own arithmetic (16-bit keys and
# values). The others are about four times the largest value measured on the tiny models of docs/export.md.
LIMITS = {
    "F32": Limits(1e-4, 1e-3, 0.05, 0.97, 1.0),
    "F16": Limits(1e-4, 1e-3, 0.05, 0.97, 1.0),
    "BF16": Limits(1e-3, 1e-2, 0.15, 0.95, 1.0),
    "Q8_0": Limits(5e-3, 5e-2, 0.5, 0.93, 0.99),
    "Q4_K_M": Limits(0.25, 8.0, 6.0, 0.75, 0.75),
}
LIMITS["Q4_K_S"] = LIMITS["Q4_K_M"]


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt and what the trained model makes of it."""

    prompt: list[int]
    answer: list[int]  # greedy tokens, the end token not among them
    ended: bool
    first: int  # position in prompt + answer from which `log_probs` tells what is expected next
    log_probs: NDArray[np.float32]  # [positions, vocabulary]


@dataclass(frozen=True, slots=True)
class Reference:
    """The trained model's side of the comparison, computed once for any number of files."""

    model: Path
    template: Template
    tokenizer: Any
    config: dict[str, Any]
    cases: list[Case]


@dataclass(slots=True)
class Parity:
    """What the gate found: figures, and for every step that differs a sentence."""

    kind: str
    positions: int = 0
    mean_kl: float = 0.0
    max_kl: float = 0.0
    top1: float = 0.0
    greedy_equal: int = 0
    ended: int = 0
    ends: int = 0  # answers that the trained model ends itself
    answers: int = 0
    texts: int = 0  # texts and prompts whose tokens were compared
    differences: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Say whether no step differs."""
        return not self.differences

    def differ(self, step: str, sentence: str) -> None:
        """Note a difference; the first of a step is kept."""
        self.differences.setdefault(step, sentence)

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as plain values."""
        return {**asdict(self), "passed": self.passed}


def reference(
    model: Path, template: Template, prompts: Sequence[Sequence[int]], *, max_tokens: int = 32, context: int = 32
) -> Reference:
    """Run the merged model in transformers (fp32) on prompts of token ids and keep what it expects.

    Positions looked at are the last `context` of each prompt and those of its greedy answer.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    network.eval()
    ends = [tokenizer.convert_tokens_to_ids(s) for s in stops_of(template) if s in tokenizer.get_vocab()]
    cases = []
    for prompt in prompts:
        ids = torch.tensor([list(prompt)])
        with torch.no_grad():
            out = network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=max_tokens,
                do_sample=False,
                top_k=None,
                top_p=None,
                temperature=None,
                repetition_penalty=1.0,
                eos_token_id=ends,
                pad_token_id=ends[0],
            )
            ended = int(out[0, -1]) in ends
            first = max(0, len(prompt) - context)
            whole = out[:, :-1] if ended else out
            logits = network(whole).logits[0, first:].float()
            log_probs = torch.log_softmax(logits, dim=-1).numpy()
        answer = whole[0, len(prompt) :].tolist()
        cases.append(Case(list(prompt), answer, ended, first, log_probs))
    return Reference(model, template, tokenizer, read_config(model), cases)


def compare(
    ref: Reference, path: Path, *, kind: str, modelfile: Modelfile | None = None, lora: Path | None = None
) -> Parity:
    """Compare a GGUF file (with a GGUF adapter on it, if given) and its Modelfile with the trained model."""
    found = Parity(kind)
    header = read_header(path)
    check_tokenizer_keys(ref, header, found)
    check_stops(ref, header, modelfile, found)
    if not check_keys(ref, header, found):
        return found
    longest = max((len(c.prompt) + len(c.answer) for c in ref.cases), default=0)
    with Engine(path, context=max(512, longest + 64), lora=lora) as engine:
        check_tokens(ref, engine, found)
        check_template(ref, engine, modelfile, found)
        check_weights(ref, engine, found)
    return found


def require(parity: Parity, what: str) -> None:
    """Raise ParityFailed, naming every step that differs."""
    if parity.passed:
        return
    lines = [f"{step}: {sentence}" for step, sentence in parity.differences.items()]
    raise ParityFailed(
        "\n  - ".join([f"{what} does not say what the trained model says:", *lines]),
        "nothing was handed over; `quire finetune doctor RUN` walks the chain",
        steps=tuple(parity.differences),
    )


# -- steps


def check_tokenizer_keys(ref: Reference, header: Header, found: Parity) -> None:
    """Compare the name of the pre-tokenizer with what the tokenizer's file says."""
    path = ref.model / "tokenizer.json"
    wanted = pre_tokenizer(json.loads(path.read_text(encoding="utf-8")), path)
    has = header.get("tokenizer.ggml.pre")
    if has != wanted:
        found.differ("tokenizer", f"the pre-tokenizer is {has!r}, the model's own is {wanted!r}")
    if header.get("tokenizer.ggml.add_bos_token", True) and not ref.template.start:
        found.differ("tokenizer", "a begin token is put before every prompt; training had none")


def check_stops(ref: Reference, header: Header, modelfile: Modelfile | None, found: Parity) -> None:
    """Compare the end token and the stops with those that answers were trained to end with."""
    end = ref.template.end_token
    tokens = header.get("tokenizer.ggml.tokens")
    number = header.get("tokenizer.ggml.eos_token_id", -1)
    has = tokens[number] if 0 <= number < len(tokens) else None
    if has != end:
        found.differ("stop", f"the file ends answers at {has!r}, the model was trained to end them with {end!r}")
    stops = stops_of(ref.template)
    told: list[tuple[str, tuple[str, ...]]] = []
    in_file = header.get("quire.stops")
    if in_file is not None or modelfile is None:  # Ollama's own quantiser drops keys that it does not know
        told.append(("the file's quire.stops", tuple(in_file or ())))
    if modelfile is not None:
        told.append(("the Modelfile", modelfile.stops))
    for where, given in told:
        missing = [s for s in stops if s not in given]
        if missing:
            found.differ("stop", f"{where} lacks the stop {', '.join(map(repr, missing))}")


def check_keys(ref: Reference, header: Header, found: Parity) -> bool:
    """Compare rotary positions and sizes with the model's config, and say whether the file may be opened.

    llama.cpp ends the process, this one, on sizes that do not fit one another.
    """
    turns, config = rope(ref.config), ref.config
    heads = config["num_attention_heads"]
    size = config["hidden_size"] // heads
    wanted: dict[str, tuple[str, float, float]] = {
        "{arch}.rope.freq_base": ("rope", turns["rope_theta"], 10000.0),
        "{arch}.rope.dimension_count": ("rope", int(turns["partial"] * size), size),
        "{arch}.attention.head_count": ("shape", heads, 0),
        "{arch}.attention.head_count_kv": ("shape", config.get("num_key_value_heads") or heads, heads),
        "{arch}.block_count": ("shape", config["num_hidden_layers"], 0),
        "{arch}.context_length": ("shape", config["max_position_embeddings"], 0),
    }
    architecture = ARCHITECTURE[config["architectures"][0]]
    if header.get("general.architecture") != architecture:
        found.differ(
            "shape", f"the file holds a {header.get('general.architecture')!r}, the model is a {architecture!r}"
        )
        return False
    may_open = True
    for key, (step, value, default) in wanted.items():
        has = float(header.get(key, default))
        if abs(has - value) > 1e-6 * abs(value):
            may_open = may_open and key == "{arch}.rope.freq_base"
            found.differ(step, f"{key.replace('{arch}.', '')} is {has:g}, the model's config says {value:g}")
    return may_open


def check_tokens(ref: Reference, engine: Engine, found: Parity) -> None:
    """Compare token ids of plain texts."""
    for text in PROBES:
        found.texts += 1
        wanted = list(ref.tokenizer(text, add_special_tokens=False)["input_ids"])
        has = engine.tokens(text)
        if has != wanted:
            where = next(
                (i for i, (a, b) in enumerate(zip(has, wanted, strict=False)) if a != b), min(len(has), len(wanted))
            )
            found.differ(
                "tokenizer",
                f"{text[:30]!r} becomes other tokens from the {where + 1}. on: {has[where : where + 3]}, not {wanted[where : where + 3]}",
            )


def check_template(ref: Reference, engine: Engine, modelfile: Modelfile | None, found: Parity) -> None:
    """Compare the prompt that the file's own template renders, and its tokens, with the prompt of training."""
    for messages in CONVERSATIONS:
        found.texts += 1
        wanted = ref.template.render(messages, add_generation_prompt=True)
        has = engine.render([{"role": m.role, "content": m.content} for m in messages])
        if has != wanted:
            found.differ("template", difference(has, wanted))
        elif engine.tokens(has) != ref.template.encode_prompt(ref.tokenizer, messages):
            found.differ("tokenizer", f"the prompt {wanted[:40]!r} becomes other tokens")
    if modelfile is not None and modelfile.template != to_go(ref.template):
        found.differ("template", "the Modelfile's TEMPLATE is not the one that the run was trained with")


def difference(has: str, wanted: str) -> str:
    """Show the first place where two texts part."""
    where = next((i for i, (a, b) in enumerate(zip(has, wanted, strict=False)) if a != b), min(len(has), len(wanted)))
    start = max(0, where - 10)
    return f"rendered {has[start : where + 30]!r} where training had {wanted[start : where + 30]!r}"


def check_weights(ref: Reference, engine: Engine, found: Parity) -> None:
    """Compare probabilities at every position, and greedy answers, within the limits of the stored type."""
    limits = LIMITS[found.kind]
    kls: list[float] = []
    same, lost = 0, 0.0
    for case in ref.cases:
        text = [*case.prompt, *case.answer]
        for row, position in enumerate(range(case.first, len(text))):
            wanted = case.log_probs[row]
            has = engine.spread(text[: position + 1], top=min(TOP, len(wanted)))
            kls.append(divergence(wanted, has))
            choice = int(wanted.argmax())
            same += int(has.ids[0]) == choice
            if int(has.ids[0]) != choice:
                lost = max(lost, float(wanted[choice] - np.partition(wanted, -2)[-2]))
        written = engine.write(case.prompt, max_tokens=len(case.answer) + 8)
        found.answers += 1
        found.greedy_equal += written.ids[: len(case.answer)] == case.answer
        found.ends += case.ended
        found.ended += case.ended and written.ended
    found.positions = len(kls)
    found.mean_kl, found.max_kl = float(np.mean(kls)), float(np.max(kls))
    found.top1 = same / len(kls)
    _judge_weights(found, limits, lost)


def _judge_weights(found: Parity, limits: Limits, lost: float) -> None:
    if not found.mean_kl <= limits.mean_kl or not found.max_kl <= limits.max_kl:
        found.differ(
            "weights",
            f"KL is {found.mean_kl:.2g} on average and {found.max_kl:.2g} at worst;"
            f" {found.kind} may have {limits.mean_kl:g} and {limits.max_kl:g}",
        )
    elif lost > limits.margin:
        found.differ(
            "weights",
            f"another first choice where the trained model leads by {lost:.2g} nats ({limits.margin:g} allowed)",
        )
    elif found.top1 < limits.top1:
        found.differ(
            "weights", f"the first choice agrees at {found.top1:.1%} of positions, {limits.top1:.0%} is needed"
        )
    if found.ends and found.ended / found.ends < limits.ended:
        found.differ(
            "stop", f"{found.ends - found.ended} of {found.ends} answers do not end where the trained model ends them"
        )


def divergence(wanted: NDArray[np.float32], has: Spread) -> float:
    """KL in nats of the trained model's spread against the exported one's, the tokens beyond `has` lumped into one.

    Lumping can only lower it, and by no more than what those tokens weigh: at TOP = 2048, next to nothing.
    """
    logs = wanted[has.ids].astype(np.float64)
    total = float((np.exp(logs) * (logs - has.log_probs)).sum())
    rest = 1.0 - float(np.exp(logs).sum())
    other = 1.0 - float(np.exp(has.log_probs).sum())
    if len(has.ids) < len(wanted) and rest > 1e-9 and other > 1e-12:
        total += rest * float(np.log(rest / other))
    return max(0.0, total)


def compare_served(ref: Reference, next_tokens: Callable[[str], list[tuple[str, float]]], *, kind: str) -> Parity:
    """Compare a model behind a server that tells only the likeliest next tokens, as text, after a raw prompt.

    Positions are those of the trained model's greedy answers, a dozen each; tokens are matched by their text.
    """
    found = Parity(kind)
    kls: list[float] = []
    same, lost = 0, 0.0
    for case in ref.cases:
        found.answers += 1
        equal = True
        for step in range(min(12, len(case.answer) + 1)):
            wanted = case.log_probs[len(case.prompt) - 1 - case.first + step]
            ids = [*case.prompt, *case.answer[:step]]
            told = next_tokens(ref.tokenizer.decode(ids, skip_special_tokens=False))
            choice = int(wanted.argmax())
            if not told:  # a server that ends an answer tells nothing of the end token
                expected = case.ended and step == len(case.answer)
                if not expected:
                    equal, lost = False, max(lost, float(wanted[choice] - np.partition(wanted, -2)[-2]))
                continue
            kls.append(_text_divergence(ref, wanted, told))
            agrees = told[0][0] == ref.tokenizer.decode([choice])
            same += agrees
            equal = equal and agrees
            if not agrees:
                lost = max(lost, float(wanted[choice] - np.partition(wanted, -2)[-2]))
        found.greedy_equal += equal
    if not kls:
        raise ParityFailed("the server tells no log-probabilities", "update Ollama, or let its files be read")
    found.positions = len(kls)
    found.mean_kl, found.max_kl, found.top1 = float(np.mean(kls)), float(np.max(kls)), same / len(kls)
    _judge_weights(found, LIMITS[kind], lost)
    return found


def _text_divergence(ref: Reference, wanted: NDArray[np.float32], told: list[tuple[str, float]]) -> float:
    given = dict(told)
    total, rest = 0.0, 1.0
    for token in np.argsort(-wanted)[: len(told)]:
        log = given.get(ref.tokenizer.decode([int(token)]))
        if log is None:
            continue
        share = float(np.exp(wanted[token]))
        total += share * (float(wanted[token]) - log)
        rest -= share
    other = 1.0 - float(sum(np.exp(list(given.values()))))
    if rest > 1e-6 and other > 1e-6:
        total += rest * float(np.log(rest / other))
    return max(0.0, total)
