"""How turns become the text that a model sees, and which of its tokens are trained: one plain-data template
per model kind.

A template renders text, encodes it with a loss mask, and writes itself as Jinja (GGUF, transformers) and as
Go (Ollama); it is stored beside the adapter. No template adds a token to a model.

Decisions:
- `chatml` is Qwen2.5-Instruct's own scheme with its default system sentence, so that an untuned model and
  other tools see the same text. The trained span is the answer and `<|im_end|>`; the newline after it is not
  trained.
- `chatml-base` is for Qwen2.5 base models: the same scheme, but every turn ends with `<|endoftext|>`,
  because the rows of `<|im_end|>` were never trained there and an adapter that leaves the embeddings alone
  cannot learn to stop on it.
- `phi-2` ends an answer with `<|endoftext|>` and a newline (not trained); the blank after `Output:` is part
  of the answer, since `" word"` is one token and a prompt that ends in a blank would be a text the model
  never saw.
- Alpaca, Guanaco, Zephyr and Llama-2 are written as their authors published them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from finetune.data.records import Message, check_turns
from finetune.errors import TemplateError

FILE_NAME = "template.json"
SLOT = "{content}"
CONTEXT_SLOT = "{context}"


class Segment(NamedTuple):
    """A stretch of rendered text: `scaffold` is the template's own, `content` came from a message, `end` is
    the end token.
    """

    text: str
    kind: Literal["scaffold", "content", "end"]
    trained: bool


class Encoded(NamedTuple):
    """Token ids of a conversation, and 1 for every token that the loss counts, 0 for the others; equal
    lengths.
    """

    input_ids: list[int]
    loss_mask: list[int]


@dataclass(frozen=True, slots=True)
class Template:
    """Patterns around the content of each turn; `{content}` marks its place, `{context}` that of Alpaca's
    input.

    A prompt is `start`, the system turn, and for every turn the user pattern followed by
    `generation_prompt`; the model answers with `answer_lead`, the content and `end_token`; `after_answer`
    stands between turns, untrained. With `system_in_user`, the system pattern stands inside the first user
    turn, before its content (Llama-2).
    """

    name: str
    system: str
    user: str
    generation_prompt: str
    end_token: str
    answer_lead: str = ""
    answer_trail: str = ""
    after_answer: str = ""
    start: str = ""
    default_system: str | None = None
    system_in_user: bool = False
    special_tokens: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    user_with_context: str | None = None
    default_system_with_context: str | None = None

    def __post_init__(self) -> None:
        for field, pattern in (("system", self.system), ("user", self.user)):
            if pattern.count(SLOT) != 1:
                raise TemplateError(f"template {self.name!r}: `{field}` needs {SLOT} exactly once, found {pattern!r}")
        if self.user_with_context is not None and not re.search(
            r"\{content\}.*\{context\}", self.user_with_context, re.S
        ):
            raise TemplateError(f"template {self.name!r}: `user_with_context` needs {SLOT}, then {CONTEXT_SLOT}")
        if not self.end_token:
            raise TemplateError(
                f"template {self.name!r} has no end token", "without one a model is never taught to stop"
            )

    # -- rendering

    def segments(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> list[Segment]:
        """List the stretches of text that the messages become, in order.

        Raises InvalidRecord when roles are out of order, or when `add_generation_prompt` follows an answer.
        """
        check_turns(messages, last="user" if add_generation_prompt else "assistant")
        return list(self._segments(messages))

    def _segments(self, messages: Sequence[Message]) -> Iterator[Segment]:
        system, turns = self._split_system(messages)
        for index, message in enumerate(turns):
            if message.role == "user":
                if index == 0 or self.start_every_turn:
                    yield from _scaffold(self.start)
                inside: list[Segment] = []
                if index == 0 and system is not None:
                    block = list(_fill(self.system, SLOT, system))
                    if self.system_in_user:
                        inside = block
                    else:
                        yield from block
                yield from self._user(message, inside)
                yield from _scaffold(self.generation_prompt)
            else:
                yield from self._answer(message)
                yield from _scaffold(self.after_answer)

    @property
    def start_every_turn(self) -> bool:
        """Tell whether `start` opens every user turn (Llama-2's `<s>`), which is so when the system stands
        inside it.
        """
        return self.system_in_user

    def _split_system(self, messages: Sequence[Message]) -> tuple[str | None, Sequence[Message]]:
        if messages[0].role == "system":
            return messages[0].content, messages[1:]
        if self.default_system_with_context is not None and messages[0].context:
            return self.default_system_with_context, messages
        return self.default_system, messages

    def _user(self, message: Message, inside: list[Segment]) -> Iterator[Segment]:
        if message.context and self.user_with_context is not None:
            before, _, rest = self.user_with_context.partition(SLOT)
            between, _, after = rest.partition(CONTEXT_SLOT)
            yield from _scaffold(before)
            yield from inside
            yield Segment(message.content, "content", False)
            yield from _scaffold(between)
            yield Segment(message.context, "content", False)
            yield from _scaffold(after)
            return
        before, _, after = self.user.partition(SLOT)
        yield from _scaffold(before)
        yield from inside
        yield Segment(message.text, "content", False)
        yield from _scaffold(after)

    def _answer(self, message: Message) -> Iterator[Segment]:
        if self.answer_lead:
            yield Segment(self.answer_lead, "scaffold", True)
        yield Segment(message.content, "content", True)
        if self.answer_trail:
            yield Segment(self.answer_trail, "scaffold", True)
        yield Segment(self.end_token, "end", True)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """Give the text that the messages become: a prompt with `add_generation_prompt`, else the training
        text.
        """
        return "".join(s.text for s in self.segments(messages, add_generation_prompt=add_generation_prompt))

    # -- tokens

    def encode(self, tokenizer: Any, messages: Sequence[Message]) -> Encoded:
        """Encode a conversation with a loss mask of 1 exactly on the answers' tokens and their end tokens.

        Special tokens come from the template alone: the same text inside a message stays text. Whatever
        stands between two special tokens is encoded in one go, as an inference server does, save that a cut
        is made where generation begins; so the ids before each answer equal those of `encode_prompt` at that
        point.
        """
        return self._encode(tokenizer, self.segments(messages))

    def encode_prompt(self, tokenizer: Any, messages: Sequence[Message]) -> list[int]:
        """Encode messages that end with the user's, up to where the model begins to answer."""
        return self._encode(tokenizer, self.segments(messages, add_generation_prompt=True)).input_ids

    def encode_answer(self, tokenizer: Any, answer: Sequence[Message]) -> list[int]:
        """Encode the one answer that follows a prompt, its end token included: all of it is trained."""
        if len(answer) != 1 or answer[0].role != "assistant":
            raise TemplateError(
                f"an answer is one assistant message, found {[m.role for m in answer]}",
                "put earlier turns into the prompt",
            )
        return self._encode(tokenizer, list(self._answer(answer[0]))).input_ids

    def encode_text(self, tokenizer: Any, text: str) -> Encoded:
        """Encode plain text followed by the end token, every token trained."""
        return self._encode(tokenizer, [Segment(text, "content", True), Segment(self.end_token, "end", True)])

    def _encode(self, tokenizer: Any, segments: Iterable[Segment]) -> Encoded:
        known = self.token_ids(tokenizer)
        input_ids: list[int] = []
        loss_mask: list[int] = []
        for piece, trained in _runs(segments, tuple(known)):
            ids = [known[piece]] if isinstance(piece, str) else _plain_ids(tokenizer, piece[0])
            input_ids += ids
            loss_mask += [int(trained)] * len(ids)
        return Encoded(input_ids, loss_mask)

    def token_ids(self, tokenizer: Any) -> dict[str, int]:
        """Look up the template's special tokens.

        Raises TemplateError for one that the tokenizer does not hold as a single token.
        """
        vocabulary = tokenizer.get_added_vocab()
        found = {}
        for token in dict.fromkeys((*self.special_tokens, self.end_token)):
            if token not in vocabulary:
                raise TemplateError(
                    f"template {self.name!r} needs the token {token!r}, which this model's tokenizer does not have",
                    f"no token is ever added; its special tokens are {sorted(vocabulary)[:8]}: choose another template"
                    f" ({', '.join(NAMES)}) or another end token",
                )
            found[token] = int(vocabulary[token])
        return found

    # -- other template languages

    def to_jinja(self, *, generation_markers: bool = False) -> str:
        """Write the template as a chat template for transformers and GGUF files.

        `generation_markers` puts `{% generation %}` around what is trained, for trainers that ask for it;
        other readers of Jinja do not know that tag.
        """
        from finetune.templates.languages import jinja

        return jinja(self, generation_markers=generation_markers)

    def to_go(self) -> str:
        """Write the template as an Ollama TEMPLATE (Go), which needs no SYSTEM line for the default system
        text.
        """
        from finetune.templates.languages import go

        return go(self)

    # -- storage

    def with_end_token(self, token: str) -> "Template":
        """Give the same template with another end token, for a model that never saw this one."""

        def swap(pattern: str) -> str:
            return pattern.replace(self.end_token, token)

        return replace(
            self,
            end_token=token,
            system=swap(self.system),
            user=swap(self.user),
            start="" if self.start in self.special_tokens else self.start,
            special_tokens=(token,) if self.start else tuple(swap(t) for t in self.special_tokens),
            stop=tuple(dict.fromkeys(swap(s) for s in self.stop)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the template as plain values for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Template":
        """Read back what `to_dict` gave; an unknown or missing key raises TemplateError."""
        names = {field.name for field in fields(Template)}
        if unknown := sorted(set(values) - names):
            raise TemplateError(f"a template holds no {unknown}", f"its fields are {sorted(names)}")
        values = {k: tuple(v) if k in ("special_tokens", "stop") else v for k, v in values.items()}
        try:
            return Template(**values)
        except TypeError as exc:
            raise TemplateError(f"a stored template is incomplete: {exc}", "train again, or name a template") from exc

    def save(self, folder: Path) -> Path:
        """Write `template.json` into a folder and give its path."""
        path = folder / FILE_NAME
        path.write_text(json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return path


def _scaffold(text: str) -> Iterator[Segment]:
    if text:
        yield Segment(text, "scaffold", False)


def _fill(pattern: str, slot: str, content: str) -> Iterator[Segment]:
    before, _, after = pattern.partition(slot)
    yield from _scaffold(before)
    yield Segment(content, "content", False)
    yield from _scaffold(after)


def _runs(segments: Iterable[Segment], special: tuple[str, ...]) -> Iterator[tuple[str | tuple[str], bool]]:
    """Join segments into runs to encode: a `str` is a special token, a 1-tuple holds text without any."""
    splitter = re.compile("(" + "|".join(re.escape(t) for t in sorted(special, key=len, reverse=True)) + ")")
    pending, pending_trained = "", False
    for segment in segments:
        pieces = [segment.text] if segment.kind == "content" else splitter.split(segment.text)
        for position, piece in enumerate(pieces):
            is_special = segment.kind != "content" and position % 2 == 1
            if pending and (is_special or pending_trained != segment.trained):
                yield (pending,), pending_trained
                pending = ""
            if is_special:
                yield piece, segment.trained
            else:
                pending, pending_trained = pending + piece, segment.trained
    if pending:
        yield (pending,), pending_trained


def _plain_ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
_ALPACA_TASK = "Below is an instruction that describes a task"
_ALPACA_CLOSE = "Write a response that appropriately completes the request."

_TEMPLATES = {
    template.name: template
    for template in (
        Template(
            name="chatml",
            system="<|im_start|>system\n{content}<|im_end|>\n",
            user="<|im_start|>user\n{content}<|im_end|>\n",
            generation_prompt="<|im_start|>assistant\n",
            end_token="<|im_end|>",  # noqa: S106 - a token of text, no secret
            after_answer="\n",
            default_system=QWEN_SYSTEM,
            special_tokens=("<|im_start|>", "<|im_end|>"),
            stop=("<|im_end|>", "<|endoftext|>"),
        ),
        Template(
            name="chatml-base",
            system="<|im_start|>system\n{content}<|endoftext|>\n",
            user="<|im_start|>user\n{content}<|endoftext|>\n",
            generation_prompt="<|im_start|>assistant\n",
            end_token="<|endoftext|>",  # noqa: S106
            after_answer="\n",
            default_system=None,
            special_tokens=("<|im_start|>", "<|endoftext|>"),
            stop=("<|endoftext|>", "<|im_start|>"),
        ),
        Template(
            name="phi-2",
            system="{content}\n",
            user="Instruct: {content}\n",
            generation_prompt="Output:",
            answer_lead=" ",
            end_token="<|endoftext|>",  # noqa: S106
            after_answer="\n",
            special_tokens=("<|endoftext|>",),
            stop=("<|endoftext|>", "\nInstruct:"),
        ),
        Template(
            name="alpaca",
            system="{content}\n\n",
            user="### Instruction:\n{content}\n\n",
            user_with_context="### Instruction:\n{content}\n\n### Input:\n{context}\n\n",
            generation_prompt="### Response:",
            end_token="</s>",  # noqa: S106
            after_answer="\n\n",
            default_system=f"{_ALPACA_TASK}. {_ALPACA_CLOSE}",
            default_system_with_context=f"{_ALPACA_TASK}, paired with an input that provides further context. {_ALPACA_CLOSE}",
            special_tokens=("</s>",),
            stop=("</s>", "\n### Instruction:"),
        ),
        Template(
            name="llama-2",
            start="<s>",
            system="<<SYS>>\n{content}\n<</SYS>>\n\n",
            system_in_user=True,
            user="[INST] {content} [/INST]",
            generation_prompt="",
            answer_lead=" ",
            answer_trail=" ",
            end_token="</s>",  # noqa: S106
            special_tokens=("<s>", "</s>"),
            stop=("</s>", "[INST]"),
        ),
        Template(
            name="zephyr",
            system="<|system|>\n{content}</s>\n",
            user="<|user|>\n{content}</s>\n",
            generation_prompt="<|assistant|>\n",
            end_token="</s>",  # noqa: S106
            after_answer="\n",
            special_tokens=("</s>",),
            stop=("</s>", "<|user|>"),
        ),
        Template(
            name="guanaco",
            system="{content}\n",
            user="### Human: {content}",
            generation_prompt="### Assistant:",
            answer_lead=" ",
            end_token="</s>",  # noqa: S106
            special_tokens=("</s>",),
            stop=("</s>", "### Human:"),
        ),
    )
}
NAMES = tuple(_TEMPLATES)


def named(name: str, *, end_token: str | None = None) -> Template:
    """Give the template of that name, with another end token if one is named."""
    if name not in _TEMPLATES:
        raise TemplateError(f"there is no template {name!r}", f"choose one of {', '.join(NAMES)}")
    template = _TEMPLATES[name]
    return template.with_end_token(end_token) if end_token else template


def load(folder: Path) -> Template:
    """Read the `template.json` that lies beside an adapter or a model."""
    path = folder / FILE_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise TemplateError(f"{folder} holds no {FILE_NAME}", "name a template with --template") from exc
    except (OSError, ValueError) as exc:
        raise TemplateError(f"{path} cannot be read: {exc}", "name a template with --template") from exc
    if not isinstance(values, dict):
        raise TemplateError(f"{path} holds no template", "name a template with --template")
    return Template.from_dict(values)


def for_model(model: Any) -> Template:
    """Choose the template of a model, given by name, by folder or by its configuration (object or dict).

    A folder's own `template.json` wins. A Qwen2 model is taken for an instruct model when its end token is
    `<|im_end|>` or, where no tokenizer is at hand, when its name says so. Raises TemplateError when nothing
    fits.
    """
    if isinstance(model, str | Path):
        folder = Path(model).expanduser()
        if folder.is_dir():
            return _for_folder(folder)
        return _for_kind(_kind_of_name(str(model)), str(model), end_token=None)
    values = model if isinstance(model, dict) else model.to_dict()
    name = str(values.get("_name_or_path") or getattr(model, "_name_or_path", "") or values.get("name") or "")
    if name and Path(name).expanduser().is_dir():
        return _for_folder(Path(name).expanduser())
    return _for_kind(str(values.get("model_type", "")), name, end_token=None)


def _for_folder(folder: Path) -> Template:
    if (folder / FILE_NAME).exists():
        return load(folder)
    config = _read_json(folder / "config.json")
    end = _read_json(folder / "tokenizer_config.json").get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    return _for_kind(str(config.get("model_type", "")), folder.name, end_token=end)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise TemplateError(f"{path} cannot be read: {exc}", "name a template with --template") from exc
    return values if isinstance(values, dict) else {}


def _kind_of_name(name: str) -> str:
    tail = name.rsplit("/", 1)[-1].lower()
    for pattern, kind in ((r"^qwen2(\.5)?\b|^qwen2\.5", "qwen2"), (r"^phi-?2\b|^phi-?1", "phi"), (r"zephyr", "zephyr"),
                          (r"llama-?2", "llama-2"), (r"alpaca", "alpaca"), (r"guanaco", "guanaco")):  # fmt: skip
        if re.search(pattern, tail):
            return kind
    return ""


def _for_kind(kind: str, name: str, *, end_token: str | None) -> Template:
    if kind == "qwen2":
        instruct = end_token == "<|im_end|>" if end_token else bool(re.search(r"instruct|chat", name, re.I))  # noqa: S105
        return _TEMPLATES["chatml" if instruct else "chatml-base"]
    if kind == "phi":
        return _TEMPLATES["phi-2"]
    if kind in _TEMPLATES:
        return _TEMPLATES[kind]
    raise TemplateError(
        f"no template is known for {name or 'this model'!r} (model type {kind or 'unknown'!r})",
        f"name one with --template: {', '.join(NAMES)}",
    )
