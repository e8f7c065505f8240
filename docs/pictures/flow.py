"""Draws docs/pictures/flow.svg, how a question becomes a cited answer: python docs/pictures/flow.py."""

from __future__ import annotations

from html import escape
from pathlib import Path

OUT = Path(__file__).with_name("flow.svg")
BOXES = (  # x, y, title, lines
    (20, 40, "PDFs", ("files, folders, links",)),
    (220, 40, "ingest", ("read, split, embed", "each passage keeps its page")),
    (440, 40, "library", ("SQLite on your machine,", "or Weaviate for a team")),
    (20, 190, "question", ("terminal, chat, web page",)),
    (220, 190, "assistant", ("search by words and meaning,", "refuse, or answer from passages")),
    (440, 190, "answer", ("[1] the quoted sentence,", "document and page")),
    (220, 340, "finetune", ("SFT, DPO, merge, GGUF,", "proven equal")),
    (440, 340, "feedback", ("thumbs and better answers",)),
)
WIDTH, HEIGHT = 184, 84
ARROWS = (  # from, to, in pixels
    ((204, 82), (218, 82)), ((404, 82), (438, 82)), ((532, 124), (400, 188)), ((204, 232), (218, 232)),
    ((404, 232), (438, 232)), ((532, 274), (532, 338)), ((440, 382), (406, 382)), ((312, 340), (312, 276)),
)  # fmt: skip
FONT = "font-family='Helvetica, Arial, sans-serif'"


def draw() -> str:
    """Return the picture as SVG; it has its own background, so that it reads in dark and light."""
    parts = [
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 644 450' role='img' "
        "aria-label='PDFs become a library; a question becomes an answer with a quote, a document and a page'>",
        "<defs><marker id='a' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0 0 8 4 0 8z' fill='#555'/></marker></defs>",
        "<rect width='644' height='450' rx='8' fill='#fff'/>",
    ]
    for (x1, y1), (x2, y2) in ARROWS:
        parts.append(
            f"<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='#555' stroke-width='1.5' marker-end='url(#a)'/>"
        )
    for x, y, title, lines in BOXES:
        parts.append(f"<rect x='{x}' y='{y}' width='{WIDTH}' height='{HEIGHT}' rx='6' fill='#f3f3f0' stroke='#999'/>")
        parts.append(f"<text x='{x + 12}' y='{y + 27}' {FONT} font-size='16' font-weight='bold'>{escape(title)}</text>")
        for row, line in enumerate(lines):
            at = y + 50 + 17 * row
            parts.append(f"<text x='{x + 12}' y='{at}' {FONT} font-size='11.5' fill='#333'>{escape(line)}</text>")
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    OUT.write_text(draw(), encoding="utf-8")
