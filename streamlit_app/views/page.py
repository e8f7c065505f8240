"""The cited page beside the conversation: turning, zoom, and opening the PDF itself."""

from __future__ import annotations

import functools
from pathlib import Path

import streamlit as st

from ingest import Document, page_tables
from quire import QuireError
from streamlit_app import text
from streamlit_app.libraries import Libraries
from streamlit_app.marked_page import marked_page
from streamlit_app.state import Session, ShownPage

_PIXELS_PER_POINT = 2.0  # at zoom 1
_MAX_OPEN_BYTES = 64_000_000  # the largest PDF that is given to the browser whole, to open it at the page

# rendering takes 50 to 300 ms, and every click on the page draws it again; 24 images take about 20 MB
_cached_page = functools.lru_cache(maxsize=24)(marked_page)
_cached_rows = functools.lru_cache(maxsize=24)(page_tables)


def draw_page(libraries: Libraries, session: Session) -> None:
    """Draw the page that the session shows, if any."""
    shown = session.page
    if shown is None:
        return
    document = next((d for d in libraries.documents(session.library) if d.id == shown.document_id), None)
    with st.container(key="page_panel"):
        _draw_head(session, shown, document)
        if document is None:
            st.info("This document was removed from the library.")
            _draw_text(shown)
            return
        path = libraries.stored_pdf(document)
        if path is None:
            st.info("The PDF is on the machine that added it. This is the text of the passage.")
            _draw_text(shown)
            return
        label = libraries.page_label(session.library, shown.document_id, shown.page)
        _draw_tools(session, shown, text.page_words(shown.page, label), document.pages)
        try:
            _draw_image(path, session, shown, document)
            _draw_table(path, shown)
        except QuireError as exc:
            st.warning(text.label(f"{exc.message}. {exc.hint}"))
            _draw_text(shown)
        _draw_file(path, shown, document)


def _draw_head(session: Session, shown: ShownPage, document: Document | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**{text.label(shown.title or (document.name if document else ''))}**", width="content")
        # while an answer is generated, Esc belongs to Stop
        if st.button("✕ Close", key="page_close", type="tertiary", shortcut=None if session.busy else "Esc"):
            session.page = None
            st.rerun()


def _draw_tools(session: Session, shown: ShownPage, page_words: str, pages: int) -> None:
    turn = session.turn_page
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="page_tools"):
        st.button(
            "◀", key="page_back", help="Previous page", disabled=shown.page <= 1, on_click=turn, args=(shown.page - 1,)
        )
        st.markdown(text.label(f"{page_words} of {pages}"), width="content")
        st.button(
            "▶", key="page_next", help="Next page", disabled=shown.page >= pages, on_click=turn, args=(shown.page + 1,)
        )
        st.button("−", key="zoom_out", help="Zoom out", on_click=session.change_zoom, args=(-1,))
        st.button("+", key="zoom_in", help="Zoom in", on_click=session.change_zoom, args=(1,))
        if shown.marked_page and shown.page != shown.marked_page:
            st.button(
                "Back to the passage", key="page_marked", type="tertiary", on_click=turn, args=(shown.marked_page,)
            )


def _draw_image(path: Path, session: Session, shown: ShownPage, document: Document) -> None:
    marked = shown.page == shown.marked_page
    image = _cached_page(
        path,
        shown.page,
        passage=shown.passage if marked else None,
        quote=shown.quote if marked else None,
        scale=_PIXELS_PER_POINT * max(1.0, session.zoom / 1.5),
    )
    # the style sheet sets the width in percent of the panel; a wider image scrolls in it
    with st.container(key=f"page_picture_{round(100 * session.zoom)}"):
        st.image(image, width="stretch", alt=f"{document.name}, page {shown.page}")


def _draw_table(path: Path, shown: ShownPage) -> None:
    """Draw the rows of a table that the quote cites, with the heads above their figures."""
    if shown.quote is None or shown.page != shown.marked_page:
        return
    start, end = shown.quote
    rows = [row for row in _cached_rows(path, shown.page) if row.start < end and row.end > start]
    if rows:
        st.html(text.table(rows))


def _draw_text(shown: ShownPage) -> None:
    if shown.text:
        st.html(text.plain(shown.text))


def _draw_file(path: Path, shown: ShownPage, document: Document) -> None:
    with st.container(horizontal=True):
        if document.size_bytes <= _MAX_OPEN_BYTES:
            st.link_button(f"Open the PDF at page {shown.page}", f"{_pdf_url(path)}#page={shown.page}")
        st.download_button(
            "Download",
            path.read_bytes,  # read when it is clicked
            file_name=_download_name(document),
            mime="application/pdf",
            on_click="ignore",
            key="page_download",
        )


def _pdf_url(path: Path) -> str:
    """Return a URL that serves the PDF to this session and does not contain its path."""
    from streamlit.runtime import exists, get_instance

    if not exists():  # drawn without a server, in tests
        return ""
    media_files = get_instance().media_file_mgr
    return media_files.add(_read(path, path.stat().st_mtime_ns), "application/pdf", f"pdf-{path.stem}")


@functools.lru_cache(maxsize=2)
def _read(path: Path, _modified: int) -> bytes:
    return path.read_bytes()


def _download_name(document: Document) -> str:
    """Return the document's name without folders and without characters that file systems or headers reject."""
    name = document.name.rsplit("/", 1)[-1]
    safe = "".join(c if c.isprintable() and c not in '\\/:*?"<>|' else "_" for c in name)[:120]
    return safe if safe.lower().endswith(".pdf") else f"{safe}.pdf"
