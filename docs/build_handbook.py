"""Builds the handbook PDF from docs/handbook/*.md: python docs/build_handbook.py OUT.pdf; same text, same bytes."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF, FontFace
from fpdf.enums import TableBordersLayout
from fpdf.outline import OutlineSection

FOLDER = Path(__file__).parent / "handbook"
TITLE = "The quire handbook"
DATE = datetime(2026, 11, 21, tzinfo=UTC)  # fixed, so that the same text gives the same bytes; updated for each edition
TEXT, CODE = "Helvetica", "Courier"  # standard fonts, so that no font file is needed
SIZE = 10.0  # points
LINE = 5.2  # mm between lines of text
MARGIN = 22.0  # mm
INK, GREY, SHADE = (25, 25, 30), (110, 110, 115), (243, 243, 240)
CHAPTER_SPACE = 85.0  # mm; a chapter begins on a new page if less is left
CONTENTS_LINES = 40  # entries on one page of the contents


@dataclass(frozen=True)
class Block:
    """One piece of a chapter: `kind` is h1, h2, h3, text, bullet, number, code or table."""

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


class Handbook(FPDF):
    """A4 pages with a running header (chapter) and footer (printed page label)."""

    def __init__(self) -> None:
        super().__init__(format="A4")
        self.chapter = ""  # title in the running header
        self.contents_pages = 0
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.set_auto_page_break(True, margin=MARGIN)
        self.set_creation_date(DATE)
        self.set_title(TITLE)
        self.set_subject("Asking PDFs on your own machine: installing, asking, checking, training, settings")
        self.set_lang("en")

    def header(self) -> None:
        if self.page == 1:
            return
        self.set_y(11)
        self.set_font(TEXT, size=8)
        self.set_text_color(*GREY)
        self.cell(0, 4, TITLE)
        self.set_x(MARGIN)
        in_contents = self.page <= 1 + self.contents_pages
        self.cell(0, 4, "Contents" if in_contents else self.chapter, align="R")
        self.set_y(MARGIN)

    def footer(self) -> None:
        if self.page == 1:
            return
        self.set_y(-14)
        self.set_font(TEXT, size=8)
        self.set_text_color(*GREY)
        self.cell(0, 4, self.get_page_label(), align="C")


def build(out: Path, folder: Path = FOLDER) -> int:
    """Write the handbook and return its number of pages; raises ValueError for a line of code that is too wide."""
    chapters = [parse(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.md"))]
    if not chapters:
        raise ValueError(f"{folder} holds no chapter")
    pdf = Handbook()
    _title_page(pdf)
    entries = sum(block.kind in ("h1", "h2") for chapter in chapters for block in chapter)
    pdf.contents_pages = -(-entries // CONTENTS_LINES)
    pdf.chapter = _numbered(1, chapters[0])  # the placeholder also begins the page of the first chapter
    pdf.add_page()
    pdf.insert_toc_placeholder(_contents, pages=pdf.contents_pages, reset_page_indices=False)
    for number, chapter in enumerate(chapters, 1):
        _chapter(pdf, number, chapter)
    out.parent.mkdir(parents=True, exist_ok=True)
    pdf.output(str(out))
    return len(pdf.pages)


def parse(markdown: str) -> list[Block]:
    """Return the blocks of a chapter; knows headings, paragraphs, lists, fenced code and tables."""
    blocks: list[Block] = []
    lines = markdown.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = next(i for i in range(at + 1, len(lines)) if lines[i].startswith("```"))
            blocks.append(Block("code", "\n".join(lines[at + 1 : end])))
            at = end + 1
        elif line.startswith("|"):
            end = next((i for i in range(at, len(lines)) if not lines[i].startswith("|")), len(lines))
            rows = [tuple(cell.strip() for cell in _cells(row)) for row in lines[at:end]]
            blocks.append(Block("table", rows=(rows[0], *rows[2:])))  # rows[1] is the dashes
            at = end
        elif match := re.match(r"(#{1,3}) (.*)", line):
            blocks.append(Block(f"h{len(match[1])}", match[2]))
            at += 1
        elif match := re.match(r"(- |\d+\. )(.*)", line):
            text, at = _joined(lines, at)
            blocks.append(Block("bullet" if match[1] == "- " else "number", text))
        elif line.strip():
            text, at = _joined(lines, at)
            blocks.append(Block("text", text))
        else:
            at += 1
    return blocks


def _cells(row: str) -> list[str]:
    return [cell.replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip()[1:-1])]


def _joined(lines: list[str], at: int) -> tuple[str, int]:
    """Join a paragraph's or list item's lines; it ends at a blank line or where another block begins."""
    parts = [lines[at].strip()]
    at += 1
    while at < len(lines) and lines[at].strip() and not re.match(r"- |\d+\. |#|\||```", lines[at]):
        parts.append(lines[at].strip())
        at += 1
    return " ".join(parts), at


def _title_page(pdf: Handbook) -> None:
    pdf.add_page(label_style="r")
    pdf.set_y(95)
    pdf.set_text_color(*INK)
    pdf.set_font(TEXT, "B", 30)
    pdf.cell(0, 14, TITLE, new_x="LMARGIN", new_y="NEXT")
    pdf.set_font(TEXT, size=13)
    pdf.multi_cell(0, 7, "Ask your PDFs, check the answer on the page,\nteach the model that answers.")
    pdf.ln(6)
    pdf.set_text_color(*GREY)
    pdf.set_font(TEXT, size=SIZE)
    pdf.cell(0, 6, f"Edition of {DATE:%d %B %Y}. Apache License 2.0.")


def _contents(pdf: FPDF, outline: list[OutlineSection]) -> None:
    pdf.set_text_color(*INK)
    pdf.set_font(TEXT, "B", 18)
    pdf.set_xy(MARGIN, MARGIN)
    pdf.cell(0, 12, "Contents", new_x="LMARGIN", new_y="NEXT")
    for position, section in enumerate(section for section in outline if section.level < 2):
        if position and position % CONTENTS_LINES == 0:
            pdf.add_page()  # as many pages as `build` reserved
        if section.level == 0:
            pdf.ln(1.2)
        pdf.set_font(TEXT, "B" if section.level == 0 else "", SIZE if section.level == 0 else SIZE - 1)
        link = pdf.add_link(page=section.page_number)
        indent = 6 * section.level
        pdf.set_x(MARGIN + indent)
        pdf.cell(pdf.epw - indent - 14, 4.9, section.name, link=link)
        label = pdf.pages[section.page_number].get_label()
        pdf.cell(14, 4.9, label, align="R", link=link, new_x="LMARGIN", new_y="NEXT")


def _chapter(pdf: Handbook, number: int, blocks: list[Block]) -> None:
    title = _numbered(number, blocks)
    if number == 1:  # the placeholder of the contents has already begun this page
        pdf.set_page_label(label_style="D", label_start=1)
        pdf.set_y(MARGIN)
    elif pdf.will_page_break(CHAPTER_SPACE):
        pdf.chapter = title
        pdf.add_page()
    else:
        pdf.ln(9)
    pdf.chapter = title
    count = section = 0
    for block in blocks:
        count = count + 1 if block.kind == "number" else 0
        if block.kind == "h1":
            pdf.start_section(title, level=0)
            _heading(pdf, title, 20, 5)
        elif block.kind == "h2":
            section += 1
            _keep_together(pdf, 30)
            pdf.ln(3)
            pdf.start_section(f"{number}.{section}  {block.text}", level=1)
            _heading(pdf, f"{number}.{section}  {block.text}", 13, 2)
        elif block.kind == "h3":
            _keep_together(pdf, 24)
            pdf.ln(1.5)
            pdf.start_section(block.text, level=2)
            _heading(pdf, block.text, 10.5, 1)
        elif block.kind == "code":
            _code(pdf, block.text)
        elif block.kind == "table":
            _table(pdf, block.rows)
        elif block.kind == "bullet":
            _item(pdf, "", re.sub(r"^- ", "", block.text))
        elif block.kind == "number":
            _item(pdf, f"{count}.", re.sub(r"^\d+\. ", "", block.text))
        else:
            _text(pdf, block.text)
            pdf.ln(LINE + 2)


def _numbered(number: int, chapter: list[Block]) -> str:
    return f"{number}  {chapter[0].text}"


def _heading(pdf: Handbook, text: str, size: float, after: float) -> None:
    pdf.set_text_color(*INK)
    pdf.set_font(TEXT, "B", size)
    pdf.multi_cell(0, size * 0.5, text, align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(after)


def _keep_together(pdf: Handbook, height: float) -> None:
    if pdf.will_page_break(height):
        pdf.add_page()


def _text(pdf: Handbook, text: str) -> None:
    """Write running text with **bold** and `code`."""
    pdf.set_text_color(*INK)
    for part in re.split(r"(\*\*[^*]+\*\*|`[^`]+`)", text):
        if part.startswith("**"):
            pdf.set_font(TEXT, "B", SIZE)
            pdf.write(LINE, part[2:-2])
        elif part.startswith("`"):
            pdf.set_font(CODE, size=SIZE)
            # `write` would break a word at the end of the line, in the middle of the word
            if " " not in part and pdf.get_x() + pdf.get_string_width(part[1:-1]) > pdf.w - pdf.r_margin:
                pdf.ln(LINE)
            pdf.write(LINE, part[1:-1])
        elif part:
            pdf.set_font(TEXT, size=SIZE)
            pdf.write(LINE, part)


def _item(pdf: Handbook, mark: str, text: str) -> None:
    _keep_together(pdf, 2 * LINE)
    pdf.set_font(TEXT, size=SIZE)
    pdf.set_text_color(*INK)
    if mark:
        pdf.set_x(MARGIN + 1.5)
        pdf.cell(6, LINE, mark)
    else:  # the encoding of the standard fonts has no bullet
        pdf.set_fill_color(*INK)
        pdf.ellipse(MARGIN + 2.5, pdf.get_y() + LINE / 2 - 0.5, 1.1, 1.1, style="F")
    pdf.set_left_margin(MARGIN + 7.5)
    pdf.set_x(MARGIN + 7.5)
    _text(pdf, text)
    pdf.set_left_margin(MARGIN)
    pdf.ln(LINE + 1)


def _code(pdf: Handbook, code: str) -> None:
    lines = code.split("\n")
    _keep_together(pdf, min(len(lines), 12) * 4.4 + 6)
    pdf.set_font(CODE, size=8.5)
    pdf.set_text_color(*INK)
    pdf.set_fill_color(*SHADE)
    widest = max(pdf.get_string_width(line) for line in lines)
    if widest > pdf.epw - 6:
        raise ValueError(f"a line of code is too wide for the page: {max(lines, key=len)!r}")
    for line in ["", *lines, ""]:
        pdf.cell(0, 4.4 if line or len(lines) == 1 else 3.2, f"  {line}", fill=True, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(3)


def _table(pdf: Handbook, rows: tuple[tuple[str, ...], ...]) -> None:
    pdf.set_font(TEXT, size=8.5)
    pdf.set_text_color(*INK)
    pdf.set_draw_color(200, 200, 200)
    pdf.set_fill_color(255, 255, 255)  # the body of a table uses the last fill color
    _keep_together(pdf, 24)
    with pdf.table(
        col_widths=_widths(rows),
        text_align="LEFT",
        v_align="TOP",
        line_height=4.3,
        padding=(1.1, 1.5),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(emphasis="BOLD", fill_color=SHADE),
    ) as table:
        for row in rows:
            line = table.row()
            for text in row:
                is_code = re.fullmatch(r"`[^`]+`", text) is not None
                plain = text.replace("`", "").replace("**", "")
                line.cell(plain, style=FontFace(family=CODE, size_pt=8) if is_code else None)
    pdf.ln(4)


def _widths(rows: tuple[tuple[str, ...], ...]) -> tuple[int, ...]:
    """Return relative column widths by the longest cell, within bounds, and at least that of the longest word."""
    widths = []
    for column in zip(*rows, strict=True):
        word = max(len(w) for cell in column for w in cell.split() or [""])
        widths.append(max(min(max(map(len, column)), 60), word + 2, 9))
    return tuple(widths)


def main(argv: list[str]) -> int:
    """Build the handbook at the given path; return 2 for wrong usage."""
    if len(argv) != 1 or argv[0].startswith("-"):
        print("usage: python docs/build_handbook.py OUT.pdf", file=sys.stderr)
        return 2
    pages = build(Path(argv[0]))
    print(f"{argv[0]}: {pages} pages", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
