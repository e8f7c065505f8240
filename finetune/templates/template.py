"""A chat template: how messages become the text a model sees, and which of its tokens are trained.

A template is plain data. It never adds a token to a model.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from typing import Any, Literal, NamedTuple

from finetune.errors import TemplateError
from finetune.templates.leading_blank import LeadingBlank, decode_continuing, encode_plain, find_leading_blank
from finetune.templates.messages import Message, check_turns

SLOT = "{content}"
CONTEXT_SLOT = "{context}"


_Before = Literal["nothing", "special", "text"]  # what precedes a piece of text


class Segment(NamedTuple):
    """A piece of rendered text: `scaffold` is the template's, `content` a message's, `end` is the end token.

    `answered` is true of all that the assistant writes, also where it is not trained.
    """

    text: str
    kind: Literal["scaffold", "content", "end"]
    trained: bool
    answered: bool = False


class Encoded(NamedTuple):
    """Token ids and a loss mask of the same length: 1 for each token in the loss, 0 for the others."""

    input_ids: list[int]
    loss_mask: list[int]


@dataclass(frozen=True, slots=True)
class Template:
    """The text around each turn; `{content}` marks a message's place, `{context}` that of its context.

    A prompt is `start`, the system pattern, and for each turn the user pattern followed by `generation_prompt`.
    The model answers with `answer_lead`, the content, `answer_trail` and `end_token`. `after_answer` separates
    turns and is not trained. With `system_in_user`, the system pattern is part of the first user turn, before
    its content, and `start` opens every user turn (Llama-2), or with `start_once` the first one only (Mistral).
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
    start_once: bool = False
    special_tokens: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    user_with_context: str | None = None
    default_system_with_context: str | None = None

    def __post_init__(self) -> None:
        for field, pattern in (("system", self.system), ("user", self.user)):
            if pattern.count(SLOT) != 1:
                raise TemplateError(f"template {self.name!r}: `{field}` needs {SLOT} exactly once, found {pattern!r}")
        with_context = self.user_with_context
        if with_context is not None and not re.search(r"\{content\}.*\{context\}", with_context, re.S):
            raise TemplateError(f"template {self.name!r}: `user_with_context` needs {SLOT}, then {CONTEXT_SLOT}")
        if not self.end_token:
            raise TemplateError(
                f"template {self.name!r} has no end token", "add one: without it, a model does not learn where to stop"
            )

    # -- rendering

    def segments(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> list[Segment]:
        """Return the pieces of text that the messages become, in order.

        Raises InvalidRecord when roles are out of order, or when `add_generation_prompt` follows an answer.
        """
        check_turns(messages, last="user" if add_generation_prompt else "assistant")
        return list(self._segments(messages))

    def _segments(self, messages: Sequence[Message]) -> Iterator[Segment]:
        system, turns = self._split_system(messages)
        for index, message in enumerate(turns):
            if message.role != "user":
                yield from self._answer(message)
                yield from _scaffold(self.after_answer)
                continue
            if index == 0 or self.start_every_turn:
                yield from _scaffold(self.start)
            block = list(_fill(self.system, system)) if index == 0 and system is not None else []
            if not self.system_in_user:
                yield from block
            yield from self._user(message, block if self.system_in_user else [])
            yield from _scaffold(self.generation_prompt)

    @property
    def start_every_turn(self) -> bool:
        """Return whether `start` opens every user turn (Llama-2's `<s>`) or the first one only."""
        return self.system_in_user and not self.start_once

    def _split_system(self, messages: Sequence[Message]) -> tuple[str | None, Sequence[Message]]:
        if messages[0].role == "system":
            return messages[0].content, messages[1:]
        if self.default_system_with_context is not None and messages[0].context:
            return self.default_system_with_context, messages
        return self.default_system, messages

    def _user(self, message: Message, inside: list[Segment]) -> Iterator[Segment]:
        if not message.context or self.user_with_context is None:
            yield from _fill(self.user, message.text, inside)
            return
        before, _, after = self.user_with_context.partition(CONTEXT_SLOT)
        yield from _fill(before, message.content, inside)
        yield Segment(message.context, "content", False)
        yield from _scaffold(after)

    def _answer(self, message: Message) -> Iterator[Segment]:
        if self.answer_lead:
            yield Segment(self.answer_lead, "scaffold", message.trained, True)
        yield Segment(message.content, "content", message.trained, True)
        if self.answer_trail:
            yield Segment(self.answer_trail, "scaffold", message.trained, True)
        yield Segment(self.end_token, "end", message.trained, True)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """Return the text of the messages: a prompt with `add_generation_prompt`, else the training text."""
        return "".join(s.text for s in self.segments(messages, add_generation_prompt=add_generation_prompt))

    # -- tokens

    def encode(self, tokenizer: Any, messages: Sequence[Message]) -> Encoded:
        """Encode a conversation with a loss mask of 1 exactly on the answers and their end tokens.

        Special tokens come from the template only: their text inside a message stays text. Text between two
        special tokens is encoded in one piece, as an inference server does, except for a boundary where
        generation begins: the ids before each answer equal those of `encode_prompt`.
        """
        return self._encode(tokenizer, self.segments(messages))

    def encode_prompt(self, tokenizer: Any, messages: Sequence[Message]) -> list[int]:
        """Encode messages that end with the user's, up to where the model begins to answer."""
        return self._encode(tokenizer, self.segments(messages, add_generation_prompt=True)).input_ids

    def encode_answer(self, tokenizer: Any, answer: Sequence[Message]) -> list[int]:
        """Encode the single answer to a prompt, including its end token; all of it is trained."""
        if len(answer) != 1 or answer[0].role != "assistant":
            raise TemplateError(
                f"an answer is one assistant message, found {[m.role for m in answer]}",
                "move earlier turns into the prompt",
            )
        prompt_end = self.generation_prompt or self.user.partition(SLOT)[2]
        before: _Before = "special" if prompt_end.endswith((*self.special_tokens, self.end_token)) else "text"
        return self._encode(tokenizer, list(self._answer(answer[0])), before=before).input_ids

    def encode_text(self, tokenizer: Any, text: str) -> Encoded:
        """Encode plain text followed by the end token, every token trained."""
        return self._encode(tokenizer, self.text_segments(text), before="nothing")

    def text_segments(self, text: str) -> list[Segment]:
        """Return the pieces of plain text: the text and the end token."""
        return [Segment(text, "content", True), Segment(self.end_token, "end", True)]

    def encode_content(self, tokenizer: Any, text: str) -> list[int]:
        """Encode text that follows a special token, or opens a prompt; special tokens inside it stay text."""
        return self._encode(tokenizer, [Segment(text, "content", False)]).input_ids

    def decode(self, tokenizer: Any, ids: Sequence[int]) -> str:
        """Return the text of a prompt's ids, from which a server reads the same ids."""
        names = {number: name for name, number in self.token_ids(tokenizer).items()}
        blank = self.puts_blank_before_text(find_leading_blank(tokenizer, self.end_token))
        found = []
        for special, group in groupby(ids, key=names.__contains__):
            part = list(group)
            text = "".join(names[i] for i in part) if special else decode_continuing(tokenizer, part)
            found.append(text.removeprefix(" ") if blank and not special else text)
        return "".join(found)

    def _encode(self, tokenizer: Any, segments: Iterable[Segment], *, before: _Before = "special") -> Encoded:
        special_ids = self.token_ids(tokenizer)
        leading = find_leading_blank(tokenizer, self.end_token)
        blanks = {
            "nothing": leading.at_start,
            "special": self.puts_blank_before_text(leading),
            "text": False,
        }
        input_ids: list[int] = []
        loss_mask: list[int] = []
        for piece in _join_pieces(segments, tuple(special_ids)):
            if piece.special:
                ids, before = [special_ids[piece.text]], "special"
            else:
                ids = encode_plain(tokenizer, piece.text, adds_blank=leading.at_start, blank=blanks[before])
                before = "text"
            input_ids += ids
            loss_mask += [int(piece.trained)] * len(ids)
        return Encoded(input_ids, loss_mask)

    def puts_blank_before_text(self, leading: LeadingBlank) -> bool:
        """Return whether text at the start of a prompt or after a special token is encoded with a blank before it.

        llama.cpp has one setting for both places, so a template has one rule: what the tokenizer does after a special
        token; or, where prompts begin with text, what it does there.
        """
        openings = [
            self.start or (self.user if self.system_in_user else opening) for opening in (self.system, self.user)
        ]
        begins_special = all(opening.startswith((*self.special_tokens, self.end_token)) for opening in openings)
        return leading.after_special or (leading.at_start and not begins_special)

    def token_ids(self, tokenizer: Any) -> dict[str, int]:
        """Return the ids of the template's special tokens.

        Raises TemplateError for one that is not a single token of the tokenizer, and where the template writes another
        special token of the tokenizer as text: training would read text where a server reads the token.
        """
        vocabulary = tokenizer.get_added_vocab()
        found = {}
        for token in dict.fromkeys((*self.special_tokens, self.end_token)):
            if token not in vocabulary:
                raise TemplateError(
                    f"template {self.name!r} needs the token {token!r}, which this model's tokenizer does not have",
                    f"quire adds no tokens to a tokenizer; this one's special tokens are {sorted(vocabulary)[:8]}: choose another template"
                    " or another end token",
                )
            found[token] = int(vocabulary[token])
        scaffold = " ".join((self.system, self.user, self.generation_prompt, self.answer_lead, self.after_answer))
        for token in vocabulary:
            if token in scaffold and token not in found and tokenizer.added_tokens_decoder[vocabulary[token]].special:
                raise TemplateError(
                    f"template {self.name!r} writes {token!r} as text, which is a special token of this model",
                    "choose the template of this model's own format",
                )
        return found

    # -- other end tokens, another system message, and JSON

    def with_end_token(self, token: str) -> "Template":
        """Return the template with another end token, for a model that does not know this one.

        The text stays as published, but for the start token of Llama-2, which such a model does not know either.
        """

        def swap(pattern: str) -> str:
            return pattern.replace(self.end_token, token)

        return replace(
            self,
            end_token=token,
            system=swap(self.system),
            user=swap(self.user),
            user_with_context=None if self.user_with_context is None else swap(self.user_with_context),
            start="" if self.start in self.special_tokens else self.start,
            special_tokens=tuple(swap(t) for t in self.special_tokens if t != self.start),
            stop=tuple(dict.fromkeys(swap(s) for s in self.stop)),
        )

    def with_system(self, text: str) -> "Template":
        """Return the template with another default system message, for prompts with and without a context."""
        with_context = None if self.default_system_with_context is None else text
        return replace(self, default_system=text, default_system_with_context=with_context)

    def without_default_system(self) -> "Template":
        """Return the template without a system message where a conversation has none."""
        return replace(self, default_system=None, default_system_with_context=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Template":
        """Read what `to_dict` returned; raises TemplateError for an unknown or missing field."""
        names = {field.name for field in fields(Template)}
        if unknown := sorted(set(values) - names):
            raise TemplateError(f"a template has no field {', '.join(unknown)}", f"its fields are {sorted(names)}")
        values = {k: tuple(v) if k in ("special_tokens", "stop") else v for k, v in values.items()}
        try:
            return Template(**values)
        except TypeError as exc:
            raise TemplateError(f"a stored template is incomplete: {exc}", "train again, or name a template") from exc


def _scaffold(text: str) -> Iterator[Segment]:
    if text:
        yield Segment(text, "scaffold", False)


def _fill(pattern: str, content: str, inside: Iterable[Segment] = ()) -> Iterator[Segment]:
    """Put a message's content into a pattern, and `inside` directly before it."""
    before, _, after = pattern.partition(SLOT)
    yield from _scaffold(before)
    yield from inside
    yield Segment(content, "content", False)
    yield from _scaffold(after)


class _Piece(NamedTuple):
    """What is encoded in one step: a special token, or text without one."""

    text: str
    special: bool
    trained: bool


def _join_pieces(segments: Iterable[Segment], special: tuple[str, ...]) -> Iterator[_Piece]:
    """Split the template's text at special tokens, and join neighboring text of one speaker that is trained alike."""
    splitter = re.compile("(" + "|".join(re.escape(t) for t in sorted(special, key=len, reverse=True)) + ")")
    text, trained, answered = "", False, False
    for segment in segments:
        parts = [segment.text] if segment.kind == "content" else splitter.split(segment.text)
        for position, part in enumerate(parts):
            is_special = position % 2 == 1
            if text and (is_special or (trained, answered) != segment[2:]):
                yield _Piece(text, False, trained)
                text = ""
            if is_special:
                yield _Piece(part, True, segment.trained)
            else:
                text, trained, answered = text + part, segment.trained, segment.answered
    if text:
        yield _Piece(text, False, trained)
