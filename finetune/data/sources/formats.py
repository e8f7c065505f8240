"""The shapes that training data comes in: how each is told from its fields, and what record a row of it becomes."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from finetune.data.records import Conversation, Label, Preference, Record, Text
from finetune.errors import InvalidRecord, MalformedRow
from finetune.templates.messages import Message

Values = Mapping[str, Any]
Pairs = Literal["best-worst", "best-random", "all"]

ROLES = {
    "system": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
}  # fmt: skip

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: the file's name, and its 1-based row and line; `group` keeps rows together in a split."""

    source: str
    row: int
    line: int
    group: str = ""

    def fault(self, problem: str, hint: str = "") -> MalformedRow:
        """Make the error of a row that is not of its file's shape."""
        return MalformedRow(self.source, self.line, problem, hint, row=self.row)


@dataclass(frozen=True, slots=True)
class Choices:
    """What of a row is taken: which pairs of a ranked list, and with which seed a random one."""

    pairs: Pairs | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of rows: `matches` tells it from the fields of one row, `build` makes the records of one row."""

    name: str
    task: Literal["sft", "preference", "label"]
    fields: str
    matches: Callable[[Values], bool]
    build: Callable[[Values, Place, Choices], Iterable[Record]]


# -- reading values


def text_field(values: Values, name: str, place: Place, *, default: str | None = None) -> str:
    """Give a text of a row; raises MalformedRow for another type, or when it is missing without a default."""
    value = values.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        found = f"holds {type(value).__name__}" if name in values else f"is missing (fields: {', '.join(values)})"
        raise place.fault(f"`{name}` {found} where a text belongs")
    return value


def number_field(values: Values, name: str, place: Place) -> float:
    """Give a number of a row; texts that hold one are read."""
    value = values.get(name)
    try:
        if isinstance(value, bool) or value is None:
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise place.fault(f"`{name}` holds {value!r} where a number belongs") from None


def message(value: object, place: Place, what: str) -> Message:
    """Read one message in the names of chat (`role`, `content`) or ShareGPT (`from`, `value`)."""
    if not isinstance(value, dict):
        raise place.fault(f"{what} holds {type(value).__name__} where a message belongs")
    role = value.get("role", value.get("from"))
    content = value.get("content", value.get("value"))
    if not isinstance(role, str) or not ({"content", "value"} & value.keys()):
        raise place.fault(f"{what} needs `role` and `content` (or `from` and `value`), found {', '.join(value)}")
    if (
        isinstance(content, list)
        and content
        and all(isinstance(part, dict) and part.get("type") == "text" for part in content)
    ):
        content = "".join(str(part.get("text") or "") for part in content)
    if not isinstance(content, str):
        found = "parts that are not text" if isinstance(content, list) else type(content).__name__
        raise place.fault(f"{what} of {role!r} holds {found} where a text belongs")
    return Message(ROLES.get(role.strip().lower(), role), content, str(value.get("context") or ""))


def messages(values: Values, name: str, place: Place) -> tuple[Message, ...]:
    """Read a list of messages; a text becomes one message of the user."""
    value = values.get(name)
    if isinstance(value, str):
        return (Message("user", value),)
    if not isinstance(value, list):
        found = "is missing" if name not in values else f"holds {type(value).__name__}"
        raise place.fault(f"`{name}` {found} where a list of messages belongs")
    return tuple(message(item, place, f"`{name}` message {n}") for n, item in enumerate(value, start=1))


def answer(values: Values, name: str, place: Place) -> tuple[Message, ...]:
    """Read an answer given as a text, as one message, or as a list of messages."""
    value = values.get(name)
    if isinstance(value, str):
        return (Message("assistant", value),)
    if isinstance(value, dict):
        return (message(value, place, f"`{name}`"),)
    return messages(values, name, place)


def with_system(turns: tuple[Message, ...], system: str | None) -> tuple[Message, ...]:
    """Put a system message before the turns, unless it is empty or they have one."""
    if not system or not system.strip() or (turns and turns[0].role == "system"):
        return turns
    return (Message("system", system), *turns)


def has(*names: str) -> Callable[[Values], bool]:
    """Make a test for rows that hold all these fields."""
    return lambda values: all(name in values for name in names)


def _list_in(values: Values, name: str) -> bool:
    return isinstance(values.get(name), list)


def _where(place: Place) -> dict[str, Any]:
    return {"source": place.source, "row": place.row, "group": place.group}


# -- conversations


def _trimmed(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Drop the user's last words that nobody answered."""
    return turns[:-1] if len(turns) > 1 and turns[-1].role == "user" else turns


def _chat(name: str) -> Callable[[Values, Place, Choices], Iterator[Record]]:
    def build(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
        system = values.get("system") or values.get("system_prompt")
        turns = with_system(messages(values, name, place), system if isinstance(system, str) else None)
        yield Conversation(_trimmed(turns), **_where(place))

    return build


def _alpaca(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    user = Message(
        "user", text_field(values, "instruction", place), text_field(values, "input", place, default="").strip()
    )
    turns = with_system((user,), text_field(values, "system", place, default=""))
    yield Conversation((*turns, Message("assistant", text_field(values, "output", place))), **_where(place))


def _question(
    system: str, prompt: str, reply: str, *, context: str = ""
) -> Callable[[Values, Place, Choices], Iterator[Record]]:
    def build(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
        about = text_field(values, context, place, default="").strip() if context else ""
        user = Message("user", text_field(values, prompt, place), about)
        turns = with_system((user,), text_field(values, system, place, default=""))
        yield Conversation((*turns, Message("assistant", text_field(values, reply, place))), **_where(place))

    return build


def _prompt_completion(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    system = text_field(values, "system", place, default="")
    turns = with_system(messages(values, "prompt", place), system)
    yield Conversation(turns + answer(values, "completion", place), **_where(place))


def _seed_tasks(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    instances = values["instances"]
    if not isinstance(instances, list) or not all(isinstance(i, dict) for i in instances):
        raise place.fault("`instances` needs a list of objects with `input` and `output`")
    instruction = text_field(values, "instruction", place)
    group = f"{place.source}:{place.row}"
    for instance in instances:
        user = Message("user", instruction, text_field(instance, "input", place, default="").strip())
        reply = Message("assistant", text_field(instance, "output", place))
        yield Conversation((user, reply), **{**_where(place), "group": group})


def _text(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    yield Text(text_field(values, "text", place), **_where(place))


def _guanaco(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    text = text_field(values, "text", place)
    turns = transcript(text, place, human="### Human:", assistant="### Assistant:")
    yield Conversation(_trimmed(turns), **_where(place))


def _is_guanaco(values: Values) -> bool:
    text = values.get("text")
    return isinstance(text, str) and text.lstrip().startswith("### Human:") and "### Assistant:" in text


# -- preferences


def transcript(text: str, place: Place, *, human: str = HUMAN, assistant: str = ASSISTANT) -> tuple[Message, ...]:
    """Split a whole transcript at its speakers' marks; raises MalformedRow when it does not begin with one."""
    turns: list[Message] = []
    marks = ((human, "user"), (assistant, "assistant"))
    position = 0
    if not any(text.startswith(mark) for mark, _ in marks):
        text = "\n\n" + text.lstrip() if human.startswith("\n") else text.lstrip()
    if not text.startswith(human):
        raise place.fault(f"a transcript begins with {human.strip()!r}, found {text[:30]!r}")
    while position < len(text):
        mark, role = next((m, r) for m, r in marks if text.startswith(m, position))
        start = position + len(mark)
        ends = [end for m, _ in marks if (end := text.find(m, start)) >= 0]
        position = min(ends, default=len(text))
        said = text[start:position].strip()
        turns.append(Message(role, said))
    return tuple(turns)


def _hh(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    chosen = transcript(text_field(values, "chosen", place), place)
    rejected = transcript(text_field(values, "rejected", place), place)
    if chosen[:-1] != rejected[:-1]:
        raise InvalidRecord("chosen and rejected begin with unequal conversations")
    yield Preference(_merged(chosen[:-1]), chosen[-1:], rejected[-1:], **_where(place))


def _merged(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Join what one speaker of a prompt said twice in a row."""
    merged: list[Message] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Message(turn.role, f"{merged[-1].content}\n\n{turn.content}".strip())
        else:
            merged.append(turn)
    return tuple(merged)


def _is_hh(values: Values) -> bool:
    return all(
        isinstance(values.get(name), str) and values[name].lstrip().startswith("Human:") and ASSISTANT in values[name]
        for name in ("chosen", "rejected")
    )


_PROMPTS = ("prompt", "question", "instruction", "input", "conversations", "messages", "history")
_CHOSEN = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("response_j", "response_k"),
    ("preferred_output", "non_preferred_output"),
)


def _prompt_turns(values: Values, name: str, place: Place) -> tuple[Message, ...]:
    """Read a prompt: messages, a text, a transcript that stops where the answer begins, or an object with `messages`."""
    value = values.get(name)
    if isinstance(value, dict):
        return messages(value, "messages", place)
    if isinstance(value, str) and value.lstrip().startswith("Human:") and value.rstrip().endswith(ASSISTANT):
        return _merged(transcript(value.rstrip(), place)[:-1])
    return messages(values, name, place)


def _refuse_poor(values: Values) -> None:
    """Leave out what the makers of a data set advise to leave out."""
    if values.get("status") == "tie":
        raise InvalidRecord("the raters saw a tie")
    if isinstance(values.get("chosen_score"), int | float) and "status" in values and values["chosen_score"] < 8:
        raise InvalidRecord("the chosen answer scores below 8")
    if values.get("in_gsm8k_train") is True:
        raise InvalidRecord("the question is from GSM8K's training set")
    good, bad = values.get("score_chosen"), values.get("score_rejected")
    if good is not None and good == bad:
        raise InvalidRecord("chosen and rejected have the same score")


def _preference(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    _refuse_poor(values)
    best, worst = next((pair for pair in _CHOSEN if pair[0] in values), _CHOSEN[0])
    chosen, rejected = answer(values, best, place), answer(values, worst, place)
    name = next((name for name in _PROMPTS if values.get(name)), "")
    given = _prompt_turns(values, name, place) if name else ()
    if name == "instruction" and isinstance(values.get("input"), str) and values["input"].strip():
        given = (Message("user", given[0].content, values["input"].strip()),)
    shared = 0
    if len(chosen) > 1 and len(rejected) > 1:
        while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
            shared += 1
    # whole conversations hold their prompt themselves, and the field of that name repeats its first words
    prompt = chosen[:shared] if shared else given
    system = values.get("system") or values.get("system_prompt")
    prompt = with_system(prompt, system if isinstance(system, str) else None)
    if not prompt:
        raise InvalidRecord("chosen and rejected begin with unequal conversations, and there is no prompt")
    yield Preference(prompt, chosen[shared:], rejected[shared:], **_where(place))


def _is_preference(values: Values) -> bool:
    return any(best in values and worst in values for best, worst in _CHOSEN)


def _scored(*fields: str) -> Callable[[Values], bool]:
    return lambda values: _is_preference(values) and has(*fields)(values)


def _shp(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    label = values["labels"]
    if label not in (0, 1):
        raise place.fault(f"`labels` is 1 where A is preferred, else 0, found {label!r}")
    prompt = (Message("user", text_field(values, "history", place)),)
    first, second = answer(values, "human_ref_A", place), answer(values, "human_ref_B", place)
    chosen, rejected = (first, second) if label == 1 else (second, first)
    yield Preference(prompt, chosen, rejected, **{**_where(place), "group": str(values.get("post_id", ""))})


# -- ranked lists

Scored = tuple[float, str]


def ranked_pairs(
    prompt: tuple[Message, ...], answers: list[Scored], place: Place, choices: Choices, default: Pairs
) -> Iterator[Preference]:
    """Make preferences of answers with scores (higher is better): equal scores make no pair."""
    if len(answers) < 2:
        raise InvalidRecord(f"{len(answers)} ranked answer: a pair needs two")
    ordered = sorted(answers, key=lambda scored: -scored[0])
    kind = choices.pairs or default
    best = ordered[0]
    worse = [scored for scored in ordered if scored[0] < best[0]]
    if not worse:
        raise InvalidRecord("all answers have the same rank")
    if kind == "best-worst":
        found = [(best, worse[-1])]
    elif kind == "best-random":
        # seeded by the row, so that neither order nor other rows change the draw
        draw = random.Random(f"{choices.seed}:{place.row}")  # noqa: S311 - no secret is drawn
        found = [(best, draw.choice(worse))]
    else:
        found = [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :] if b[0] < a[0]]
    group = place.group or f"{place.source}:{place.row}"
    for (_, good), (_, bad) in found:
        yield Preference(
            prompt, (Message("assistant", good),), (Message("assistant", bad),),
            source=place.source, row=place.row, group=group,
        )  # fmt: skip


def _ultrafeedback(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    answers = []
    for item in values["completions"]:
        if not isinstance(item, dict):
            raise place.fault("`completions` needs objects with `response` and `annotations`")
        ratings = [
            rating
            for aspect in (item.get("annotations") or {}).values()
            if isinstance(aspect, dict) and (rating := _rating(aspect.get("Rating"))) is not None
        ]
        if ratings:  # the mean of the ratings: `overall_score` has known errors
            answers.append((sum(ratings) / len(ratings), text_field(item, "response", place)))
    prompt = (Message("user", text_field(values, "instruction", place)),)
    yield from ranked_pairs(prompt, answers, place, choices, "best-random")


def _rating(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:  # "N/A"
        return None


_RANKED = ("responses", "answers", "ranked", "outputs", "completions", "output")


def _ranked_field(values: Values) -> str:
    return next((n for n in _RANKED if isinstance(values.get(n), list) and len(values[n]) >= 1), "")


def _ranked(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    name = _ranked_field(values)
    given = values[name]
    scores, ranks = values.get("scores"), values.get("ranks")
    answers: list[Scored] = []
    for position, item in enumerate(given):
        if isinstance(item, str):
            score = -float(position)
            for sign, numbers in ((1, scores), (-1, ranks)):
                if isinstance(numbers, list):
                    if len(numbers) != len(given):
                        raise place.fault(f"`{name}` holds {len(given)} answers and their ranking {len(numbers)}")
                    score = sign * float(numbers[position])
            answers.append((score, item))
        elif isinstance(item, dict):
            answers.append(_ranked_item(item, position, place))
        else:
            raise place.fault(f"`{name}` holds {type(item).__name__} where a text or an object belongs")
    prompt_name = next((n for n in _PROMPTS if values.get(n)), "prompt")
    turns = _prompt_turns(values, prompt_name, place)
    if prompt_name == "instruction" and isinstance(values.get("input"), str):
        turns = (Message("user", turns[0].content, values["input"].strip()),)
    system = values.get("system")
    prompt = with_system(turns, system if isinstance(system, str) else None)
    yield from ranked_pairs(prompt, answers, place, choices, "best-worst")


def _ranked_item(item: Values, position: int, place: Place) -> Scored:
    name = next((n for n in ("answer", "response", "text", "content", "completion") if n in item), "answer")
    score = -float(position)
    if "rank" in item:
        score = -number_field(item, "rank", place)
    elif "score" in item:
        score = number_field(item, "score", place)
    return score, text_field(item, name, place)


def _is_ranked(values: Values) -> bool:
    name = _ranked_field(values)
    if not name or not any(values.get(n) for n in _PROMPTS):
        return False
    items = values[name]
    return all(isinstance(i, str) for i in items) or all(
        isinstance(i, dict) and ({"answer", "response", "text"} & set(i)) for i in items
    )


def _two_answers(
    first: str, second: str, better: Callable[[Values, Place], float]
) -> Callable[[Values, Place, Choices], Iterator[Record]]:
    """Make a builder for rows of two answers and a verdict: `better` is below 0 for the first, above for the second."""

    def build(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
        verdict = better(values, place)
        if verdict == 0:
            raise InvalidRecord("the raters saw a tie")
        best, worst = (first, second) if verdict < 0 else (second, first)
        prompt = _prompt_turns(values, "prompt", place)
        yield Preference(prompt, answer(values, best, place), answer(values, worst, place), **_where(place))

    return build


def _better_response(values: Values, place: Place) -> float:
    better = values["better_response_id"]
    if better not in (0, 1) or isinstance(better, bool):
        raise place.fault(f"`better_response_id` is 0 or 1, found {better!r}")
    return -1.0 if better == 0 else 1.0


def _strength(values: Values, place: Place) -> float:
    return number_field(values, "preference_strength", place)


# -- labels


def _kto_messages(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    turns = messages(values, "messages" if "messages" in values else "conversations", place)
    yield Label(turns[:-1], turns[-1:], _label(values, place), **_where(place))


def _kto(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    system = values.get("system")
    prompt = with_system(messages(values, "prompt", place), system if isinstance(system, str) else None)
    yield Label(prompt, answer(values, "completion", place), _label(values, place), **_where(place))


def _kto_alpaca(values: Values, place: Place, choices: Choices) -> Iterator[Record]:
    for record in _alpaca(values, place, choices):
        if isinstance(record, Conversation):
            yield Label(record.messages[:-1], record.messages[-1:], _label(values, place), **_where(place))


def _label(values: Values, place: Place) -> bool:
    name = "label" if "label" in values else "kto_tag"
    value = values[name]
    known = {"true": True, "1": True, "false": False, "0": False}
    if str(value).lower() not in known:
        raise place.fault(f"`{name}` is true or false, found {value!r}")
    return known[str(value).lower()]


def _is_dolphin(values: Values) -> bool:
    instruction, given = values.get("instruction"), values.get("input")
    return (
        has("instruction", "input", "output")(values)
        and isinstance(instruction, str)
        and isinstance(given, str)
        and bool(given.strip())
        and instruction.startswith("You are a")
    )


# Most special first: a row is of the first shape that matches.
SHAPES: tuple[Shape, ...] = (
    Shape("hh-rlhf", "preference", "chosen, rejected (transcripts)", _is_hh, _hh),
    Shape(
        "shp", "preference", "history, human_ref_A, human_ref_B, labels", has("human_ref_A", "human_ref_B", "labels"), _shp
    ),
    Shape(
        "ultrafeedback", "preference", "instruction, completions[response, annotations]",
        lambda v: _list_in(v, "completions") and any(isinstance(c, dict) and "annotations" in c for c in v["completions"]),
        _ultrafeedback,
    ),
    Shape(
        "ultrafeedback-binarized", "preference", "prompt, chosen, rejected, score_chosen, score_rejected",
        _scored("score_chosen", "score_rejected"), _preference,
    ),
    Shape(
        "sharegpt-preference", "preference", "conversations, chosen, rejected", _scored("conversations"), _preference
    ),
    Shape("orca-dpo", "preference", "system, question, chosen, rejected", _scored("system", "question"), _preference),
    Shape("orca-dpo", "preference", "system, input, chosen, rejected", _scored("system", "input"), _preference),
    Shape("truthy-dpo", "preference", "system, prompt, chosen, rejected", _scored("system", "prompt"), _preference),
    Shape("preference", "preference", "prompt, chosen, rejected", _is_preference, _preference),
    Shape(
        "pku-saferlhf", "preference", "prompt, response_0, response_1, better_response_id",
        has("prompt", "response_0", "response_1", "better_response_id"),
        _two_answers("response_0", "response_1", _better_response),
    ),
    Shape(
        "helpsteer-preference", "preference", "prompt, response_1, response_2, preference_strength",
        has("prompt", "response_1", "response_2", "preference_strength"),
        _two_answers("response_1", "response_2", _strength),
    ),
    Shape("kto", "label", "instruction, input, output, kto_tag", has("instruction", "output", "kto_tag"), _kto_alpaca),
    Shape("kto", "label", "conversations, kto_tag", has("conversations", "kto_tag"), _kto_messages),
    Shape("kto", "label", "messages, kto_tag", has("messages", "kto_tag"), _kto_messages),
    Shape("kto", "label", "messages, label", has("messages", "label"), _kto_messages),
    Shape("kto", "label", "prompt, completion, label", has("prompt", "completion", "label"), _kto),
    Shape("messages", "sft", "messages[role, content]", lambda v: _list_in(v, "messages"), _chat("messages")),
    Shape("sharegpt", "sft", "conversations[from, value]", lambda v: _list_in(v, "conversations"), _chat("conversations")),
    Shape("ranked", "preference", "prompt, responses (best first, or with ranks or scores)", _is_ranked, _ranked),
    Shape("self-instruct", "sft", "instruction, instances[input, output]", has("instruction", "instances"), _seed_tasks),
    Shape(
        "dolphin", "sft", "instruction (system), input (question), output", _is_dolphin,
        _question("instruction", "input", "output"),
    ),
    Shape("alpaca", "sft", "instruction, input, output", has("instruction", "output"), _alpaca),
    Shape(
        "dolly", "sft", "instruction, context, response", has("instruction", "response"),
        _question("system", "instruction", "response", context="context"),
    ),
    Shape(
        "openorca", "sft", "system_prompt, question, response", has("question", "response"),
        _question("system_prompt", "question", "response"),
    ),
    Shape("prompt-completion", "sft", "prompt, completion", has("prompt", "completion"), _prompt_completion),
    Shape(
        "prompt-completion", "sft", "prompt, response", has("prompt", "response"),
        _question("system", "prompt", "response"),
    ),
    Shape("guanaco", "sft", "text (### Human: ... ### Assistant: ...)", _is_guanaco, _guanaco),
    Shape("text", "sft", "text", has("text"), _text),
)  # fmt: skip
