"""The cited page: rendered by PDFium, the passage marked at its place, the quoted sentence stronger; by document id, never by path."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING

from ingest import page_rectangles, render_page
from quire import QuireError
from streamlit_app import state, text
from streamlit_app.state import PageRef, Session

if TYPE_CHECKING:
    from ingest import Document
    from streamlit_app.services import Services

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom in fractions of the page as rendered

_SHARPNESS = 2.0  # pixels a point at zoom 1
_PASSAGE = (255, 221, 64, 70)  # red, green, blue, opacity of 255
_QUOTE = (255, 166, 0, 120)
_OPEN_BYTES = 64_000_000  # a PDF up to this size is handed to the browser whole, to be opened at the page


def draw_page(services: Services, own: Session) -> None:
    """Draw the page that the session shows, with turning, zoom and a way to the PDF itself."""
    import streamlit as st

    shown = own.page
    if shown is None:
        return
    with st.container(key="page_panel"):
        document = _document(services, own.library, shown)
        _draw_head(own, shown, document)
        if document is None:
            st.info("This document was removed from the library.")
            _draw_text(shown)
            return
        path = services.copy_of(document)
        if path is None:
            st.info("The PDF itself lies on the machine that put it in; here is the passage's text.")
            _draw_text(shown)
            return
        _draw_tools(services, own, shown, document)
        try:
            _draw_picture(path, own, shown, document)
        except QuireError as exc:
            st.warning(text.label(f"{exc.message}. {exc.hint}"))
            _draw_text(shown)
        _draw_file(path, shown, document)


def marked_page(
    path: Path, page: int, *, passage: tuple[int, int] | None, quote: tuple[int, int] | None, scale: float
) -> bytes:
    """Return a page as a PNG of `scale` pixels a point, ranges of its text marked; raises UnreadablePDF."""
    from PIL import Image, ImageDraw

    picture = Image.open(io.BytesIO(render_page(path, page, scale=scale))).convert("RGBA")
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    for characters, colour in ((passage, _PASSAGE), (quote, _QUOTE)):
        if characters is not None:
            for box in page_rectangles(path, page, *characters):
                pen.rectangle(_pixels(box, picture.size), fill=colour)
    out = io.BytesIO()
    Image.alpha_composite(picture, layer).convert("RGB").save(out, "PNG")
    return out.getvalue()


def _pixels(box: Rectangle, size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    margin = 1.5  # pixels: letters touch the edges of their boxes
    return (left * size[0] - margin, top * size[1] - margin, right * size[0] + margin, bottom * size[1] + margin)


# rendering takes 50 to 300 ms, and every click anywhere draws the page again; 24 pictures are about 20 MB
_kept_page = functools.lru_cache(maxsize=24)(marked_page)


def _document(services: Services, library: str, shown: PageRef) -> Document | None:
    return next((d for d in services.documents(library) if d.id == shown.document_id), None)


def _draw_head(own: Session, shown: PageRef, document: Document | None) -> None:
    import streamlit as st

    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**{text.label(shown.title or (document.name if document else ''))}**", width="content")
        writing = own.generation is not None and not own.generation.done  # then Esc is for Stop
        if st.button("✕ Close", key="page_close", type="tertiary", shortcut=None if writing else "Esc"):
            own.page = None
            st.rerun()


def _draw_tools(services: Services, own: Session, shown: PageRef, document: Document) -> None:
    import streamlit as st

    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="page_tools"):
        st.button(
            "◀",
            key="page_back",
            help="Previous page",
            disabled=shown.page <= 1,
            on_click=state.turn_page,
            args=(own, shown.page - 1),
        )
        st.markdown(
            text.label(f"{text.page_words(shown.page, _label(services, own.library, shown))} of {document.pages}"),
            width="content",
        )
        st.button(
            "▶",
            key="page_next",
            help="Next page",
            disabled=shown.page >= document.pages,
            on_click=state.turn_page,
            args=(own, shown.page + 1),
        )
        st.button("−", key="zoom_out", help="Smaller", on_click=state.zoom, args=(own, -1))
        st.button("+", key="zoom_in", help="Larger", on_click=state.zoom, args=(own, 1))
        if shown.marked_page and shown.page != shown.marked_page:
            st.button(
                "Back to the passage",
                key="page_marked",
                type="tertiary",
                on_click=state.turn_page,
                args=(own, shown.marked_page),
            )


def _label(services: Services, library: str, shown: PageRef) -> str:
    found = services.library(library)
    chunks = found.store.page_chunks([(shown.document_id, shown.page)]) if found else {}
    on_page = chunks.get((shown.document_id, shown.page)) or []
    return on_page[0].page_label if on_page else ""


def _draw_picture(path: Path, own: Session, shown: PageRef, document: Document) -> None:
    import streamlit as st

    marks = shown.page == shown.marked_page
    picture = _kept_page(
        path,
        shown.page,
        passage=shown.passage if marks else None,
        quote=shown.quote if marks else None,
        scale=_SHARPNESS * max(1.0, own.zoom / 1.5),
    )
    # the style sheet makes the picture so many percent of the room beside the conversation; larger ones scroll in it
    with st.container(key=f"page_picture_{round(100 * own.zoom)}"):
        st.image(picture, width="stretch", alt=f"{document.name}, page {shown.page}")


def _draw_text(shown: PageRef) -> None:
    import streamlit as st

    if shown.text:
        st.html(text.plain(shown.text))


def _draw_file(path: Path, shown: PageRef, document: Document) -> None:
    import streamlit as st

    with st.container(horizontal=True):
        if document.size_bytes <= _OPEN_BYTES:
            st.link_button(f"Open the PDF at page {shown.page}", f"{_address(path)}#page={shown.page}")
        st.download_button(
            "Download",
            path.read_bytes,  # read when it is clicked
            file_name=_file_name(document),
            mime="application/pdf",
            on_click="ignore",
            key="page_download",
        )


def _address(path: Path) -> str:
    """Return an address that serves these bytes to this session; it says nothing of where they lie."""
    from streamlit.runtime import exists, get_instance

    if not exists():  # drawn without a server, in tests
        return ""
    return get_instance().media_file_mgr.add(
        _bytes(path, path.stat().st_mtime_ns), "application/pdf", f"pdf-{path.stem}"
    )


@functools.lru_cache(maxsize=2)
def _bytes(path: Path, _changed: int) -> bytes:
    return path.read_bytes()


def _file_name(document: Document) -> str:
    """Return a name to save under: the document's own, without what a file system or a header could stumble over."""
    last = document.name.rsplit("/", 1)[-1]
    kept = "".join(c if c.isprintable() and c not in '\\/:*?"<>|' else "_" for c in last)[:120]
    return kept if kept.lower().endswith(".pdf") else f"{kept}.pdf"
