"""The library: drop PDFs in, watch each on its way, read the report, see what is there, remove it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest import is_link
from quire import QuireError, pluralize
from streamlit_app import state, text
from streamlit_app.state import PageRef, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from ingest import Document
    from streamlit_app.jobs import Job, ReportLine
    from streamlit_app.services import Services
    from streamlit_app.settings import AppConfig

_PER_PAGE = 20  # documents drawn at once: each has buttons, and a thousand of them would take seconds
_LOOK_EVERY = 0.5  # seconds between two looks at a running ingest
_FILES_SHOWN = 12  # bars drawn at once: those that move come first
_STAGES = {"waiting": "waiting", "reading": "reading", "embedding": "embedding", "storing": "storing", "done": "done"}
_SHARE = {
    "waiting": (0.0, 0.0),
    "reading": (0.05, 0.0),
    "embedding": (0.2, 0.75),
    "storing": (0.97, 0.0),
    "done": (1.0, 0.0),
}
_STATES = {
    "added": "Added",
    "replaced": "Replaced",
    "unchanged": "Unchanged",
    "failed": "Failed",
    "locked": "Password needed",
}
_ICONS = {
    "added": ":material/check_circle:",
    "replaced": ":material/sync:",
    "unchanged": ":material/drag_handle:",
    "failed": ":material/error:",
    "locked": ":material/lock:",
}


def draw_library(services: Services, own: Session, documents: list[Document], config: AppConfig) -> None:
    """Draw the library view."""
    import streamlit as st

    _draw_upload(services, own, config)
    if any(job.active for job in services.jobs.of(own.library)):
        st.fragment(_draw_running, run_every=_LOOK_EVERY)(services, own.library)
    for job in services.jobs.of(own.library):
        if not job.active:
            _draw_report(services, own, job)
    _draw_documents(services, own, documents)


# putting in


def _draw_upload(services: Services, own: Session, config: AppConfig) -> None:
    import streamlit as st

    with st.form(f"upload_{own.uploads}", border=True, enter_to_submit=False):
        files = st.file_uploader(
            f"PDF files, up to {config.upload_megabytes} MB each",
            type=["pdf"],
            accept_multiple_files=True,
            key=f"files_{own.uploads}",
            max_upload_size=config.upload_megabytes,
        )
        links = st.text_area(
            "Links to PDFs, one a line",
            key=f"links_{own.uploads}",
            height=68,
            placeholder="https://example.org/report.pdf",
        )
        sent = st.form_submit_button(text.label(f"Put into {own.library}"), type="primary")
    if sent:
        _start(services, own, files or [], links)


def _start(services: Services, own: Session, files: Sequence[UploadedFile], links: str) -> None:
    import streamlit as st

    wanted = [line.strip() for line in links.splitlines() if line.strip()]
    others = [line for line in wanted if not is_link(line)]
    if others:
        st.warning(text.label(f"This is no link: {others[0]}. Links begin with https:// or http://; drop files above."))
        return
    if not files and not wanted:
        st.info("Choose files or paste a link first.")
        return
    try:
        services.jobs.start(services.settings_of(own.library), [(file.name, file) for file in files], wanted)
    except QuireError as exc:
        st.error(text.label(str(exc)))
        return
    own.uploads += 1  # the bytes are on disk now; an uploader of another name lets go of them
    st.rerun()


# on the way


def _draw_running(services: Services, library: str) -> None:
    """Draw the jobs that are not finished; runs again by itself, and the whole page once one has finished."""
    import streamlit as st

    active = [job for job in services.jobs.of(library) if job.active]
    for job in reversed(active):
        _draw_job(services, job)
    key = "jobs_seen"
    before, now = state.value(key, None), tuple(job.id for job in active)
    state.set_value(key, now)
    if before is not None and set(before) - set(now):
        st.rerun()
    if not active:
        st.rerun()


def _draw_job(services: Services, job: Job) -> None:
    import streamlit as st

    with st.container(border=True, key=f"job_{job.id}"):
        total = len(job.files)
        left = f", about {text.time_words(job.seconds_left)} left" if job.seconds_left is not None else ""
        head = (
            "Waiting for the ingest before it"
            if job.status == "waiting"
            else f"{job.documents_done} of {total} done{left}"
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{text.label(head)}**")
            st.button(
                "Stopping …" if job.cancel.is_set() else "Stop",
                key=f"stop_job_{job.id}",
                disabled=job.cancel.is_set(),
                on_click=services.jobs.stop,
                args=(job,),
            )
        st.caption("You may close this tab: the ingest goes on, and its state is shown again when you return.")
        order = {"embedding": 0, "storing": 0, "reading": 1, "waiting": 1, "done": 2}
        files = sorted(job.files.values(), key=lambda file: order.get(file.stage, 1))
        for file in files[:_FILES_SHOWN]:
            start, width = _SHARE.get(file.stage, (0.0, 0.0))
            st.progress(
                min(1.0, start + width * file.fraction),
                text.label(f"{file.name}: {_STAGES.get(file.stage, file.stage)}"),
            )
        if total > _FILES_SHOWN:
            st.caption(f"and {total - _FILES_SHOWN} more")


# the report


def _draw_report(services: Services, own: Session, job: Job) -> None:
    import streamlit as st

    lines = job.lines()
    with st.container(border=True, key=f"report_{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{text.label(_summary(job, lines))}**")
            if st.button("Dismiss", key=f"dismiss_{job.id}", type="tertiary"):
                services.jobs.dismiss(job)
                st.rerun()
        if job.status == "failed":
            st.error(text.label(job.error))
            st.caption(text.label(job.fix))
        if job.report is not None:
            for notice in job.report.notices:
                st.caption(text.label(text.sentence(notice)))
        for line in lines:
            fix = f" {text.label(f'Fix: {line.fix}.')}" if line.fix else ""
            st.markdown(
                f"{_ICONS[line.state]} **{_STATES[line.state]}** {text.label(line.name)}: {text.label(line.text)}.{fix}"
            )
            if line.state == "locked":
                _draw_password(services, own, job, line)


def _summary(job: Job, lines: list[ReportLine]) -> str:
    if job.status == "failed":
        return "The ingest failed"
    if job.status == "stopped":
        return "Stopped. What was stored stays; drop the rest again to go on from there"
    counts = [(_STATES[kind].lower(), sum(line.state == kind for line in lines)) for kind in _STATES]
    took = f" in {text.time_words(job.report.seconds)}" if job.report is not None else ""
    return ", ".join(f"{number} {word}" for word, number in counts if number) + took


def _draw_password(services: Services, own: Session, job: Job, line: ReportLine) -> None:
    import streamlit as st

    with (
        st.form(f"unlock_{job.id}_{line.name}", border=False, clear_on_submit=True),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        password = st.text_input(
            "Password", type="password", key=f"password_{job.id}_{line.name}", placeholder=f"of {line.name}"
        )
        sent = st.form_submit_button("Unlock")
    if sent and password:
        try:
            services.jobs.unlock(job, services.settings_of(own.library), line.name, password)
        except QuireError as exc:
            own.message = str(exc)
        st.rerun()


# what is there


def _draw_documents(services: Services, own: Session, documents: list[Document]) -> None:
    import streamlit as st

    st.markdown(
        f"##### {text.label(own.library)}: {len(documents)} {'document' if len(documents) == 1 else 'documents'}"
    )
    if not documents:
        st.caption("Nothing is in this library yet. Drop PDFs above.")
        return
    if len(documents) > _PER_PAGE // 2:
        wanted = st.text_input("Find", key="find_document", placeholder="part of a name or title").strip().lower()
        documents = [d for d in documents if wanted in d.name.lower() or wanted in d.title.lower()]
    pages = max(1, -(-len(documents) // _PER_PAGE))
    if pages > 1:
        number = st.pagination(pages, key="library_page")
        documents = documents[(number - 1) * _PER_PAGE : number * _PER_PAGE]
    for document in documents:
        _draw_document(services, own, document)


def _draw_document(services: Services, own: Session, document: Document) -> None:
    import streamlit as st

    with st.container(border=True, key=f"document_{document.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            title = f" · {text.label(document.title[:120])}" if document.title else ""
            st.markdown(f"**{text.label(document.name)}**{title}")
            st.button(
                "Open",
                key=f"open_{document.id}",
                type="tertiary",
                on_click=_open,
                args=(own, document),
                help="Show its pages",
            )
            only = own.chosen == (document.id,)
            st.button(
                "Asked alone" if only else "Ask only this",
                key=f"only_{document.id}",
                type="tertiary",
                disabled=only,
                on_click=_ask_only,
                args=(own, document),
            )
            _draw_remove(services, own, document)
        st.caption(text.label(_about(document)))
        for notice in document.notices:
            st.caption(f":material/info: {text.label(text.sentence(notice))}")


def _about(document: Document) -> str:
    pages = f"{document.pages} {'page' if document.pages == 1 else 'pages'}"
    searchable = pluralize(document.chunks, "passage")
    state_words = "ready" if document.chunks else "nothing to search"
    return " · ".join(
        (pages, text.size_words(document.size_bytes), document.added_at[:16].replace("T", " "), searchable, state_words)
    )


def _open(own: Session, document: Document) -> None:
    state.open_page(own, PageRef(document.id, 1, title=document.name))


def _ask_only(own: Session, document: Document) -> None:
    own.chosen = (document.id,)
    state.show(own, "Ask")


def _draw_remove(services: Services, own: Session, document: Document) -> None:
    import streamlit as st

    if own.removing != document.id:
        if st.button("Remove", key=f"remove_{document.id}", type="tertiary"):
            own.removing = document.id
            st.rerun()
        return
    if st.button("Remove for good", key=f"sure_{document.id}", type="primary"):
        own.removing = ""
        try:
            services.remove_document(own.library, document)
            own.message = f"{document.name} was removed."
        except QuireError as exc:
            own.message = str(exc)
        own.chosen = tuple(i for i in own.chosen if i != document.id)
        if own.page is not None and own.page.document_id == document.id:
            own.page = None
        st.rerun()
    if st.button("Keep it", key=f"keep_{document.id}", type="tertiary"):
        own.removing = ""
        st.rerun()
