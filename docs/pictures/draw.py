"""Draws docs/pictures/flow.svg and rooms.svg, boxes and arrows: python docs/pictures/draw.py."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Picture:
    """Boxes (x, y, title, lines) and arrows (from, to) in pixels; every box has the same size."""

    label: str  # what a screen reader says
    size: tuple[int, int]
    box: tuple[int, int]
    boxes: tuple[tuple[int, int, str, tuple[str, ...]], ...]
    arrows: tuple[tuple[tuple[int, int], tuple[int, int]], ...]


FLOW = Picture(
    "PDFs become a library; a question becomes an answer with a quote, a document and a page",
    size=(644, 450),
    box=(184, 84),
    boxes=(
        (20, 40, "PDFs", ("files, folders, links",)),
        (220, 40, "ingest", ("read, split, embed", "each passage keeps its page")),
        (440, 40, "library", ("SQLite on your machine,", "or Weaviate for a team")),
        (20, 190, "question", ("terminal, chat, web page",)),
        (220, 190, "assistant", ("search by words and meaning,", "refuse, or answer from passages")),
        (440, 190, "answer", ("[1] the quoted sentence,", "document and page")),
        (220, 340, "finetune", ("SFT, DPO, merge, GGUF,", "checked against the model")),
        (440, 340, "feedback", ("thumbs and better answers",)),
    ),
    arrows=(
        ((204, 82), (218, 82)), ((404, 82), (438, 82)), ((532, 124), (400, 188)), ((204, 232), (218, 232)),
        ((404, 232), (438, 232)), ((532, 274), (532, 338)), ((440, 382), (406, 382)), ((312, 340), (312, 276)),
    ),
)  # fmt: skip

ROOMS = Picture(
    "The folders of each package in the order of the work, and what passes from one to the next",
    size=(1016, 464),
    box=(176, 84),
    boxes=(
        (20, 40, "ingest/files", ("paths, links, uploads", "-> a stored PDF")),
        (220, 40, "ingest/pdf", ("reads pages", "-> Page")),
        (420, 40, "ingest/text", ("words, sentences", "-> Chunk")),
        (620, 40, "ingest/embed", ("MiniLM or a server", "-> vectors")),
        (820, 40, "ingest/store", ("SQLite or Weaviate", "-> Hit")),
        (820, 190, "assistant/retrieval", ("search, page ranking", "-> Passage")),
        (620, 190, "assistant/answering", ("prompt, budget, citations", "-> Answer")),
        (420, 190, "cli, streamlit_app", ("show the answer,", "start long work")),
        (220, 190, "conversations", ("history, thumbs, edits", "-> Feedback")),
        (20, 340, "finetune/data", ("records, templates", "-> rows")),
        (220, 340, "finetune/train", ("SFT, DPO", "-> a run folder")),
        (420, 340, "finetune/export", ("merge, GGUF, parity check", "-> an Ollama tag")),
        (620, 340, "assistant/llm", ("Ollama, GGUF, OpenAI,", "transformers")),
        (820, 340, "assistant/evaluation", ("questions, metrics", "-> reports")),
    ),
    arrows=(
        ((196, 82), (218, 82)), ((396, 82), (418, 82)), ((596, 82), (618, 82)), ((796, 82), (818, 82)),
        ((908, 124), (908, 188)), ((820, 232), (798, 232)), ((620, 232), (598, 232)), ((420, 232), (398, 232)),
        ((240, 274), (150, 338)), ((196, 382), (218, 382)), ((396, 382), (418, 382)), ((596, 382), (618, 382)),
        ((708, 340), (708, 276)), ((908, 274), (908, 338)),
    ),
)  # fmt: skip

PICTURES = {"flow.svg": FLOW, "rooms.svg": ROOMS}


def draw(picture: Picture) -> str:
    """Return a picture as SVG; it has its own background, so that it is readable in dark and light themes."""
    (width, height), (box_width, box_height) = picture.size, picture.box
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' "
        f"aria-label='{escape(picture.label)}'>",
        "<defs><marker id='a' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0 0 8 4 0 8z' fill='#555'/></marker></defs>",
        f"<rect width='{width}' height='{height}' rx='8' fill='#fff'/>",
    ]
    for (x1, y1), (x2, y2) in picture.arrows:
        parts.append(
            f"<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='#555' stroke-width='1.5' marker-end='url(#a)'/>"
        )
    for x, y, title, lines in picture.boxes:
        parts.append(
            f"<rect x='{x}' y='{y}' width='{box_width}' height='{box_height}' rx='6' fill='#f3f3f0' stroke='#999'/>"
        )
        parts.append(f"<text x='{x + 12}' y='{y + 27}' {FONT} font-size='14' font-weight='bold'>{escape(title)}</text>")
        for row, line in enumerate(lines):
            at = y + 50 + 17 * row
            text = escape(line.replace("->", "→"))
            parts.append(f"<text x='{x + 12}' y='{at}' {FONT} font-size='11.5' fill='#333'>{text}</text>")
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    for name, picture in PICTURES.items():
        (FOLDER / name).write_text(draw(picture), encoding="utf-8")
