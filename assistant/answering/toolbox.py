"""What a model may do by itself in tool mode: search again, read a page, list documents; nothing that changes anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assistant.answering.prompt import CLOSE, OPEN, disarm, passage_text
from assistant.llm.tokens import Count
from assistant.retrieval.search import Passage, whole_page
from quire import pluralize

if TYPE_CHECKING:
    from ingest import Store

Search = Callable[[str, int], list[Passage]]
_PER_SEARCH = 3
_LISTED = 100


def make_tools(
    store: Store,
    search: Search,
    passages: list[Passage],
    *,
    documents: Sequence[str] | None,
    count: Count,
    room: int,
) -> list[Any]:
    """Return the LangChain tools of one answer; what they find is appended to `passages` and gets the next numbers.

    `room` is the number of tokens that all results together may take.
    """
    from langchain_core.tools import tool

    desk = _Desk(passages, count, room)

    @tool
    def search_documents(query: str) -> str:
        """Search the documents for passages about `query`. Returns numbered passages that can be cited."""
        return desk.hand_out(search(query, _PER_SEARCH), "No passage fits this query.")

    @tool
    def read_page(document: str, page: int) -> str:
        """Read one whole page of a document, named as in a source label. Returns a numbered passage that can be cited."""
        found = [
            d for d in store.documents() if document in (d.name, d.id) and (documents is None or d.id in documents)
        ]
        if not found:
            return f"There is no document {document!r}. Use list_documents."
        chunks = store.page_chunks([(found[0].id, page)]).get((found[0].id, page), [])
        if not chunks:
            return (
                f"Page {page} of {found[0].name} holds no text; the document has {pluralize(found[0].pages, 'page')}."
            )
        return desk.hand_out([whole_page(chunks)], "")

    @tool
    def list_documents() -> str:
        """List the documents that can be searched, with their number of pages."""
        known = [d for d in store.documents() if documents is None or d.id in documents]
        lines = [f"{disarm(d.name)} ({pluralize(d.pages, 'page')})" for d in known[:_LISTED]]
        if len(known) > _LISTED:
            lines.append(f"and {len(known) - _LISTED} more")
        return desk.charge("\n".join(lines) or "There are no documents.")

    return [search_documents, read_page, list_documents]


class _Desk:
    """Numbers what tools find and keeps their results within the window."""

    def __init__(self, passages: list[Passage], count: Count, room: int) -> None:
        self.passages, self.count, self.room = passages, count, room

    def hand_out(self, found: Sequence[Passage], nothing: str) -> str:
        parts = []
        for passage in found:
            number = self._number(passage)
            text = passage_text(number, passage)
            cost = self.count(text) + 8
            if cost > self.room:
                continue
            self.room -= cost
            if number > len(self.passages):
                self.passages.append(replace(passage, rank=number))
            parts.append(text)
        if parts:
            return f"{OPEN}\n" + "\n\n".join(parts) + f"\n{CLOSE}"
        return "There is no room for more text: answer from the passages you have." if found else nothing

    def charge(self, text: str) -> str:
        cost = self.count(text) + 8
        if cost > self.room:
            return "There is no room for more text: answer from the passages you have."
        self.room -= cost
        return text

    def _number(self, passage: Passage) -> int:
        for number, known in enumerate(self.passages, 1):
            same = (known.document_id, known.page) == (passage.document_id, passage.page)
            if same and known.start <= passage.start and passage.end <= known.end:
                return number
        return len(self.passages) + 1
