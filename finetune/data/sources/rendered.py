"""Conversations rendered into one text (ChatML, [INST], Alpaca and others), read back into turns."""

import re
from dataclasses import dataclass

from finetune.errors import InvalidRecord
from finetune.templates.messages import Message

_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "instruction": "user", "instruct": "user",
    "assistant": "assistant", "response": "assistant", "output": "assistant", "model": "assistant", "gpt": "assistant",
    "ai": "assistant", "bot": "assistant", "chatbot": "assistant", "inst": "user", "/inst": "assistant", "sys": "system", "input": "context",
    "question": "user", "answer": "assistant",
}  # fmt: skip
_START = re.compile(
    r"(?:\s*(?:<s>|<\|begin_of_text\|>|<bos>|<\|startoftext\|>|<\|endoftext\|>|<｜begin▁of▁sentence｜>|<BOS_TOKEN>))*\s*"
)
_ENDS = re.compile(
    r"(?:\s*(?:<\|im_end\|>|<\|endoftext\|>|<\|eot_id\|>|<\|eot\|>|<\|end_of_text\|>|<\|end\|>|<\|return\|>|</s>"
    r"|<end_of_turn>|<eos>|<s>|<｜end▁of▁sentence｜>|<\|END_OF_TURN_TOKEN\|>))+\s*$"
)


@dataclass(frozen=True, slots=True)
class _Style:
    """How one template marks turns: `turn` finds the mark before a turn, with its role as the first group.

    `tokens` are marks that only a template writes; words such as `User:` are also written by people. `preamble` allows a
    system message without a mark before the first turn.
    """

    name: str
    turn: re.Pattern[str]
    tokens: bool = False
    preamble: bool = False


_STYLES = (
    _Style("ChatML", re.compile(r"<\|im_start\|>\s*(\w+)[ \t]*\n?"), tokens=True),
    _Style("Llama-3", re.compile(r"<\|start_header_id\|>\s*(\w+)\s*<\|end_header_id\|>\s*"), tokens=True),
    _Style("Llama-4", re.compile(r"<\|header_start\|>\s*(\w+)\s*<\|header_end\|>\s*"), tokens=True),
    _Style("Harmony", re.compile(r"<\|start\|>(\w+)(?:<\|channel\|>\w+)?<\|message\|>"), tokens=True),
    _Style("Granite", re.compile(r"<\|start_of_role\|>\s*(\w+)\s*<\|end_of_role\|>"), tokens=True),
    _Style("Command R", re.compile(r"<\|START_OF_TURN_TOKEN\|><\|(SYSTEM|USER|CHATBOT)_TOKEN\|>"), tokens=True),
    _Style("DeepSeek", re.compile(r"<｜(User|Assistant)｜>"), tokens=True, preamble=True),
    _Style("Gemma", re.compile(r"<start_of_turn>\s*(\w+)[ \t]*\n?"), tokens=True),
    _Style("Zephyr", re.compile(r"<\|(system|user|assistant)\|>[ \t]*\n?"), tokens=True),
    _Style("[INST]", re.compile(r"(?:<s>)?\s*\[(/?INST)\]"), tokens=True),
    _Style("Alpaca", re.compile(r"(?:^|\n)[ \t]*###[ \t]*(Instruction|Input|Response|Output|System)[ \t]*:"), preamble=True),
    _Style("Guanaco", re.compile(r"(?:^|\n|(?<=\S))[ \t]*###[ \t]*(Human|User|Assistant|System)[ \t]*:"), preamble=True),
    _Style("Question/Answer", re.compile(r"(?:^|\n)[ \t]*###[ \t]*(Question|Answer)[ \t]*:"), preamble=True),
    _Style("Phi-2", re.compile(r"(?:^|\n)[ \t]*(Instruct|Output):"), preamble=True),
    _Style("Human/Assistant", re.compile(r"(?:^|\n)[ \t]*(Human|Assistant|System):")),
    _Style("User/Assistant", re.compile(r"(?:^|\n)[ \t]*(User|Assistant|System):")),
    _Style("Vicuna", re.compile(r"(?:^|\s|(?<=</s>))(USER|ASSISTANT|SYSTEM):"), preamble=True),
)  # fmt: skip
_MAX_END = 60  # characters at the end of a text in which end tokens are looked for
_MAX_PREAMBLE = 2000  # characters of a system message without a mark
_ALPACA_TASK = "Below is an instruction that describes a task"
_MARKS = re.compile(
    r"<\|\w+\|>|<｜[\w▁]+｜>|<image>|\[\|\w+\|\]|</?(?:user|assistant|human|bot)>"
    r"|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|(?:^|\n)###[ \t]*(?:Instruction|Response|Human|Assistant|Question|Answer)[ \t]*:"
)
_HINTS = ("<|", "<｜", "INST]", "###", "<start_of_turn>", "Instruct:", "Human:", "User:", "USER:")


def leftover_marks(text: str) -> list[str]:
    """Return the template marks in a text that was not read back, each once.

    A text that mentions a single mark is about templates; one that has several, or begins or ends with one, was rendered.
    """
    if "<" not in text and "[" not in text and "###" not in text:
        return []
    found = [mark.strip() for mark in _MARKS.findall(text)]
    end = _ENDS.search(text[-_MAX_END:])
    if end:
        found.append(end[0].strip())
    if len(found) > 1 or end or (found and text.lstrip().startswith(found[0])):
        return list(dict.fromkeys(found))
    return []


def read_conversation(text: str) -> tuple[Message, ...]:
    """Return the turns of a text that is a rendered conversation with an answer; () for any other text.

    Raises InvalidRecord for a text that begins with a template's mark, has others, and cannot be read back.
    """
    return _read(text, "conversation", _STYLES)


def read_rendered_prompt(text: str) -> tuple[Message, ...]:
    """Return the turns of a text that is a rendered prompt, which ends where the answer begins; () for any other text."""
    return _read(text, "prompt", _STYLES)


def read_answer(text: str, *, after_rendered_prompt: bool = False) -> tuple[Message, ...]:
    """Return the turns of an answer that a template's marks surround; () for any other text.

    Marks that are words count after a rendered prompt only: an answer may quote a dialogue.
    """
    styles = _STYLES if after_rendered_prompt else tuple(style for style in _STYLES if style.tokens)
    turns = _read(text, "answer", styles)
    return turns or ((Message("assistant", _ENDS.sub("", text)),) if after_rendered_prompt else ())


def _read(text: str, what: str, styles: tuple[_Style, ...]) -> tuple[Message, ...]:
    if not any(hint in text for hint in _HINTS):
        return ()
    body = text[_START.match(text).end() :]  # type: ignore[union-attr]
    for style in styles:
        marks = list(style.turn.finditer(body))
        if not marks or not (marks[0].start() == 0 or _is_preamble(style, body[: marks[0].start()], marks)):
            continue
        turns = _turns(body, marks)
        problem = _problem(turns, what, tokens=style.tokens)
        if not problem:
            return tuple(turns)
        if style.tokens and len(_MARKS.findall(text)) > 1:
            raise InvalidRecord(f"the text has the marks of {style.name} and cannot be read back: {problem}")
    return ()


def _is_preamble(style: _Style, before: str, marks: list[re.Match[str]]) -> bool:
    """Return whether the text before the first mark is a system message of this style, and not prose that quotes it."""
    if not style.preamble or len(marks) < 2 or len(before) > _MAX_PREAMBLE:
        return False
    roles = [_ROLES[mark[1].lower()] for mark in marks[:3] if _ROLES[mark[1].lower()] != "context"]
    if roles[:2] != ["user", "assistant"]:
        return False
    return before.startswith(_ALPACA_TASK) or "\n\n" not in before.strip()


def _turns(body: str, marks: list[re.Match[str]]) -> list[Message]:
    turns: list[Message] = []
    before = body[: marks[0].start()].strip()
    if before and not before.startswith(_ALPACA_TASK):
        turns.append(Message("system", before))
    for number, mark in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else len(body)
        content = _ENDS.sub("", body[mark.end() : end]).strip()
        role = _ROLES.get(mark[1].lower(), mark[1])
        if role == "context" and turns and turns[-1].role == "user":
            turns[-1] = Message("user", turns[-1].content, content)
            continue
        if role == "user" and (found := re.match(r"<<SYS>>\s*(.*?)\s*<</SYS>>\s*(.*)", content, re.DOTALL)):
            turns.append(Message("system", found[1]))
            content = found[2]
        turns.append(Message(role, content))
    return turns


def _problem(turns: list[Message], what: str, *, tokens: bool) -> str:
    """Return why turns are not a conversation, a prompt or an answer; "" if they are."""
    spoken = turns[1:] if turns[0].role == "system" else list(turns)
    if what == "prompt":
        if spoken and spoken[-1].role == "assistant" and not spoken[-1].content:
            turns.pop()  # the mark before the answer
            spoken.pop()
        elif not tokens:
            return "it does not end where an answer begins"
    if what == "answer" and [turn.role for turn in turns] == ["assistant"]:
        return ""
    for number, turn in enumerate(spoken):
        expected = "assistant" if number % 2 else "user"
        if turn.role != expected:
            return f"turn {number + 1} is {turn.role!r}, expected {expected!r}"
    if not spoken:
        return "it has no turn of the user"
    if spoken[-1].role != ("user" if what == "prompt" else "assistant"):
        return f"it ends with a turn of the {spoken[-1].role}"
    return ""
