"""The library: adding files and links, the progress and report of each ingest, and the documents."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ingest import Document, is_link
from quire import QuireError, pluralize
from streamlit_app import state, text
from streamlit_app.jobs import FileState, Job, ReportLine
from streamlit_app.services import Services
from streamlit_app.settings import AppConfig
from streamlit_app.state import Session, ShownPage
from streamlit_app.views.errors import draw_error

_DOCUMENTS_PER_PAGE = 20  # each has buttons: drawing a thousand would take seconds
_REDRAW_SECONDS = 0.5  # how often a running ingest is drawn
_MAX_BARS = 12
_STAGES = {
    "recognizing": "reading by OCR",
    "embedding": "indexing",
    "storing": "saving",
}  # where the page says it in other words
# of a file: where a stage begins on its bar, and how far it reaches
_PROGRESS = {
    "reading": (0.05, 0.0),
    "recognizing": (0.05, 0.15),
    "embedding": (0.2, 0.75),
    "storing": (0.97, 0.0),
    "done": (1.0, 0.0),
}
_OUTCOMES = {
    "added": (":material/check_circle:", "Added"),
    "replaced": (":material/sync:", "Replaced"),
    "unchanged": (":material/drag_handle:", "Unchanged"),
    "failed": (":material/error:", "Failed"),
    "locked": (":material/lock:", "Password needed"),
}


def draw_library(services: Services, session: Session, documents: list[Document], config: AppConfig) -> None:
    """Draw the library view."""
    _draw_upload(services, session, config)
    jobs = services.jobs.of(session.library)
    if any(job.active for job in jobs):
        st.fragment(_draw_running, run_every=_REDRAW_SECONDS)(services, session.library)
    for job in jobs:
        if not job.active:
            _draw_report(services, session, job)
    _draw_documents(services, session, documents)


# adding


def _draw_upload(services: Services, session: Session, config: AppConfig) -> None:
    with st.form(f"upload_{session.uploads}", border=True, enter_to_submit=False):
        files = st.file_uploader(
            f"PDF files, up to {config.upload_megabytes} MB each",
            type=["pdf"],
            accept_multiple_files=True,
            key=f"files_{session.uploads}",
            max_upload_size=config.upload_megabytes,
        )
        links = st.text_area(
            "Links to PDFs, one per line",
            key=f"links_{session.uploads}",
            height=68,
            placeholder="https://example.org/report.pdf",
        )
        sent = st.form_submit_button(text.label(f"Add to {session.library}"), type="primary")
    if sent:
        _start(services, session, files or [], [line.strip() for line in links.splitlines() if line.strip()])


def _start(services: Services, session: Session, files: Sequence[UploadedFile], links: list[str]) -> None:
    wrong = next((link for link in links if not is_link(link)), None)
    if wrong is not None:
        st.warning(text.label(f"Not a link: {wrong}. Links start with https:// or http://."))
        return
    if not files and not links:
        st.info("Choose files or paste a link first.")
        return
    config = services.libraries.config_for(session.library)
    try:
        services.jobs.start(config, [(file.name, file) for file in files], links)
    except QuireError as exc:
        draw_error(exc)
        return
    session.uploads += 1  # the files are on disk now; a picker with a new key frees their memory
    st.rerun()


# progress


def _draw_running(services: Services, library: str) -> None:
    """Draw the unfinished jobs; a fragment that runs by itself, and runs the whole page when one has finished."""
    active = [job for job in services.jobs.of(library) if job.active]
    for job in reversed(active):
        _draw_job(services, job)
    key = "jobs_seen"
    before, now = state.value(key, ()), tuple(job.id for job in active)
    state.set_value(key, now)
    if not active or set(before) - set(now):
        st.rerun()


def _draw_job(services: Services, job: Job) -> None:
    total = len(job.files)
    left = f", about {text.time_words(job.seconds_left)} left" if job.seconds_left is not None else ""
    waiting = job.status == "waiting"
    head = "Waiting for another ingest to finish" if waiting else f"{job.documents_done} of {total} done{left}"
    with st.container(border=True, key=f"job_{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{text.label(head)}**")
            st.button(
                "Stopping …" if job.cancel.is_set() else "Stop",
                key=f"stop_job_{job.id}",
                disabled=job.cancel.is_set(),
                on_click=services.jobs.stop,
                args=(job,),
            )
        st.caption("You can close this tab: the ingest continues, and its progress is here when you come back.")
        order = {"recognizing": 0, "embedding": 0, "storing": 0, "done": 2}  # those that move come first
        files = sorted(job.files.values(), key=lambda file: order.get(file.stage, 1))
        for file in files[:_MAX_BARS]:
            _draw_bar(file)
        if total > _MAX_BARS:
            st.caption(f"and {total - _MAX_BARS} more")


def _draw_bar(file: FileState) -> None:
    start, reach = _PROGRESS.get(file.stage, (0.0, 0.0))
    stage = _STAGES.get(file.stage, file.stage)
    st.progress(min(1.0, start + reach * file.fraction), text.label(f"{file.name}: {stage}"))


# report


def _draw_report(services: Services, session: Session, job: Job) -> None:
    lines = job.lines()
    with st.container(border=True, key=f"report_{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{text.label(_summary(job, lines))}**")
            if st.button("Dismiss", key=f"dismiss_{job.id}", type="tertiary"):
                services.jobs.dismiss(job)
                st.rerun()
        if job.failure is not None:
            draw_error(job.failure)
        if job.report is not None:
            for notice in job.report.notices:
                st.caption(text.label(text.sentence(notice)))
        for line in lines:
            icon, outcome = _OUTCOMES[line.state]
            hint = f" {text.label(f'Fix: {line.hint}.')}" if line.hint else ""
            st.markdown(f"{icon} **{outcome}** {text.label(line.name)}: {text.label(line.text)}.{hint}")
            if line.state == "locked":
                _draw_password(services, session, job, line)


def _summary(job: Job, lines: list[ReportLine]) -> str:
    if job.status == "failed":
        return "The ingest failed"
    if job.status == "stopped":
        return "Stopped. Everything stored so far is kept; add the same files again to continue"
    counts = [(sum(line.state == kind for line in lines), words.lower()) for kind, (_, words) in _OUTCOMES.items()]
    took = f" in {text.time_words(job.report.seconds)}" if job.report is not None else ""
    return ", ".join(f"{number} {words}" for number, words in counts if number) + took


def _draw_password(services: Services, session: Session, job: Job, line: ReportLine) -> None:
    with (
        st.form(f"unlock_{job.id}_{line.name}", border=False, clear_on_submit=True),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        password = st.text_input(
            "Password", type="password", key=f"password_{job.id}_{line.name}", placeholder=f"Password of {line.name}"
        )
        sent = st.form_submit_button("Unlock")
    if sent and password:
        config = services.libraries.config_for(session.library)
        session.attempt(lambda: services.jobs.unlock(job, config, line.name, password))
        st.rerun()


# documents


def _draw_documents(services: Services, session: Session, documents: list[Document]) -> None:
    st.markdown(f"##### {text.label(session.library)}: {pluralize(len(documents), 'document')}")
    if not documents:
        st.caption("This library is empty. Add PDF files above.")
        return
    if len(documents) > _DOCUMENTS_PER_PAGE // 2:
        wanted = st.text_input("Search", key="find_document", placeholder="Name or title").strip().lower()
        documents = [d for d in documents if wanted in d.name.lower() or wanted in d.title.lower()]
    pages = -(-len(documents) // _DOCUMENTS_PER_PAGE)
    if pages > 1:
        number = st.pagination(pages, key="library_page")
        documents = documents[(number - 1) * _DOCUMENTS_PER_PAGE : number * _DOCUMENTS_PER_PAGE]
    for document in documents:
        _draw_document(services, session, document)


def _draw_document(services: Services, session: Session, document: Document) -> None:
    with st.container(border=True, key=f"document_{document.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            title = f" · {text.label(document.title[:120])}" if document.title else ""
            st.markdown(f"**{text.label(document.name)}**{title}")
            st.button(
                "Open",
                key=f"open_{document.id}",
                type="tertiary",
                on_click=session.open_page,
                args=(ShownPage(document.id, 1, title=document.name),),
                help="Show its pages",
            )
            only = session.chosen == (document.id,)
            st.button(
                "Asking only this" if only else "Ask only this",
                key=f"only_{document.id}",
                type="tertiary",
                disabled=only,
                on_click=session.ask_only,
                args=(document.id,),
            )
            _draw_remove(services, session, document)
        st.caption(text.label(_about(document)))
        for notice in document.notices:
            st.caption(f":material/info: {text.label(text.sentence(notice))}")


def _about(document: Document) -> str:
    return " · ".join(
        (
            pluralize(document.pages, "page"),
            text.size_words(document.size_bytes),
            document.added_at[:16].replace("T", " "),
            pluralize(document.chunks, "passage"),
            "ready" if document.chunks else "no text to search",
        )
    )


def _draw_remove(services: Services, session: Session, document: Document) -> None:
    if session.confirming != document.id:
        if st.button("Remove", key=f"remove_{document.id}", type="tertiary"):
            session.confirming = document.id
            st.rerun()
        return
    if st.button("Remove permanently", key=f"sure_{document.id}", type="primary"):
        session.confirming = ""
        if session.attempt(lambda: services.libraries.remove_document(session.library, document)):
            session.message = f"Removed {document.name}."
        session.forget_document(document.id)
        st.rerun()
    if st.button("Cancel", key=f"keep_{document.id}", type="tertiary"):
        session.confirming = ""
        st.rerun()
