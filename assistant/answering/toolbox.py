"""The tools that a model may call while it answers: search again, read a page, list documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assistant.answering.control_marks import disarm
from assistant.answering.prompt import CLOSE, OPEN, passage_text
from assistant.llm.tokens import Count
from assistant.retrieval.search import Passage, whole_page
from quire import pluralize

if TYPE_CHECKING:
    from ingest import Store

Search = Callable[[str, int], list[Passage]]

_PASSAGES_PER_SEARCH = 3
_MAX_LISTED = 100
_TOKENS_PER_RESULT = 8  # tokens that a chat template adds to one tool result
_NO_ROOM = "There is no room for more text: answer from the passages you have."


def make_tools(store: Store, search: Search, budget: EvidenceBudget, *, documents: Sequence[str] | None) -> list[Any]:
    """Return the LangChain tools of one answer; `documents` are the ids that they may read, None means all."""
    from langchain_core.tools import tool

    @tool
    def search_documents(query: str) -> str:
        """Search the documents for passages about `query`. Returns numbered passages that can be cited."""
        return budget.add(search(query, _PASSAGES_PER_SEARCH)) or "No passage fits this query."

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
        return budget.add([whole_page(chunks)])

    @tool
    def list_documents() -> str:
        """List the documents that can be searched, with their number of pages."""
        known = [d for d in store.documents() if documents is None or d.id in documents]
        lines = [f"{disarm(d.name)} ({pluralize(d.pages, 'page')})" for d in known[:_MAX_LISTED]]
        if len(known) > _MAX_LISTED:
            lines.append(f"and {len(known) - _MAX_LISTED} more")
        text = "\n".join(lines) or "There are no documents."
        return text if budget.spend(text) else _NO_ROOM

    return [search_documents, read_page, list_documents]


class EvidenceBudget:
    """The numbered passages of one answer, and the tokens that are left for what its tools return."""

    def __init__(self, passages: Sequence[Passage], count: Count, room: int) -> None:
        self.passages = list(passages)
        self._count, self._room = count, room

    def add(self, found: Sequence[Passage]) -> str:
        """Number the passages that fit the room, and return them as the model reads them; "" if nothing was found."""
        parts = []
        for passage in found:
            number = self._number(passage)
            text = passage_text(number, passage)
            if not self.spend(text):
                continue
            if number > len(self.passages):
                self.passages.append(replace(passage, rank=number))
            parts.append(text)
        if parts:
            return f"{OPEN}\n" + "\n\n".join(parts) + f"\n{CLOSE}"
        return _NO_ROOM if found else ""

    def spend(self, text: str) -> bool:
        """Take the tokens of a text from the room; returns whether it fits."""
        cost = self._count(text) + _TOKENS_PER_RESULT
        if cost > self._room:
            return False
        self._room -= cost
        return True

    def _number(self, passage: Passage) -> int:
        """Return the number of the passage that contains this one, or the next free number."""
        for number, known in enumerate(self.passages, 1):
            same_page = (known.document_id, known.page) == (passage.document_id, passage.page)
            if same_page and known.start <= passage.start and passage.end <= known.end:
                return number
        return len(self.passages) + 1
