"""Records as the model sees them, with the trained text highlighted, for the terminal and as HTML."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.data.records import Conversation, Label, Record, Text, answers_of
from finetune.templates.messages import Message
from finetune.templates.template import Segment, Template

_RESET, _DIM, _TRAINED, _END = "\x1b[0m", "\x1b[2m", "\x1b[32m", "\x1b[30;42m"


@dataclass(frozen=True, slots=True)
class View:
    """One sequence as the model sees it; `tokens` and `trained` count tokens, None without a tokenizer."""

    title: str
    segments: tuple[Segment, ...]
    tokens: int | None
    trained: int | None

    @property
    def caption(self) -> str:
        """Return the title and, if counted, the number of trained tokens."""
        return self.title if self.tokens is None else f"{self.title}: {self.trained} of {self.tokens} tokens trained"

    def to_dict(self) -> dict[str, Any]:
        """Return the view as plain values."""
        segments = [segment._asdict() for segment in self.segments]
        return {"title": self.title, "tokens": self.tokens, "trained": self.trained, "segments": segments}


def views_of(record: Record, template: Template, tokenizer: Any = None) -> list[View]:
    """Return the sequences that a record is trained as: two for a preference, else one."""
    title = f"row {record.row}"
    if isinstance(record, Text):
        encoded = template.encode_text(tokenizer, record.text) if tokenizer else None
        counts = (len(encoded.input_ids), sum(encoded.loss_mask)) if encoded else (None, None)
        return [View(title, tuple(template.text_segments(record.text)), *counts)]
    if isinstance(record, Conversation):
        return [_view(title, record.messages, 0, template, tokenizer)]
    names = ["wanted" if record.label else "unwanted"] if isinstance(record, Label) else ["chosen", "rejected"]
    return [
        _view(f"{title}, {name}", record.prompt + answer, len(record.prompt), template, tokenizer)
        for name, answer in zip(names, answers_of(record), strict=True)
    ]


def _view(title: str, messages: Sequence[Message], start: int, template: Template, tokenizer: Any) -> View:
    """Return the view of messages; answers before position `start` are part of a prompt and not trained."""
    segments = template.segments(messages)
    if start:
        prompt = template.segments(messages[:start], add_generation_prompt=True)
        segments = [s._replace(trained=s.trained and n >= len(prompt)) for n, s in enumerate(segments)]
    if tokenizer is None:
        return View(title, tuple(segments), None, None)
    mask = template.encode(tokenizer, messages).loss_mask
    untrained = len(template.encode_prompt(tokenizer, messages[:start])) if start else 0
    return View(title, tuple(segments), len(mask), sum(mask[untrained:]))


def _visible(text: str) -> str:
    """Escape control characters, so that a row cannot control the terminal; newlines and tabs stay."""
    return "".join(c if c in "\n\t" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def for_terminal(views: Iterable[View], *, color: bool) -> str:
    """Return views as text: trained text in green, the end token on green; without color in ⟦⟧."""
    blocks = []
    for view in views:
        parts = [f"── {view.caption} ──\n"]
        for segment in view.segments:
            text = _visible(segment.text)
            if not color:
                parts.append(f"⟦{text}⟧" if segment.trained else text)
            elif segment.trained:
                parts.append(f"{_END if segment.kind == 'end' else _TRAINED}{text}{_RESET}")
            else:
                parts.append(f"{_DIM}{text}{_RESET}" if segment.kind != "content" else text)
        blocks.append("".join(parts))
    return "\n".join(blocks)


_STYLE = """\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a1a1a;background:#fff}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid #bbb;border-radius:6px;padding:1rem}
.scaffold,.end{color:#595959}.content{color:#1a1a1a}
.trained{background:#c9efd0;color:#0b3d17}.end.trained{background:#0b5d1e;color:#fff;font-weight:bold}
"""


def as_html(views: Iterable[View], *, title: str) -> str:
    """Return views as one HTML page without scripts or links, with all text of the data escaped."""
    blocks = []
    for view in views:
        spans = "".join(
            f'<span class="{segment.kind}{" trained" if segment.trained else ""}">{html.escape(segment.text)}</span>'
            for segment in view.segments
        )
        blocks.append(f"<h2>{html.escape(view.caption)}</h2>\n<pre>{spans}</pre>")
    name = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>\n'
        f"<style>\n{_STYLE}</style></head>\n<body><h1>{name}</h1>\n"
        '<p><span class="content trained">Trained text</span>, <span class="end trained">end token</span>, '
        '<span class="scaffold">the template\'s own text</span>.</p>\n' + "\n".join(blocks) + "\n</body></html>\n"
    )
