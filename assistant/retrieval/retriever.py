"""The search as a LangChain retriever, for programs built on LangChain."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from assistant.retrieval.search import Passage, search


class LibraryRetriever(BaseRetriever):
    """Finds passages of a library; `k` and `documents` (ids) apply to all calls unless a call gives its own."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    store: Any  # ingest.store.Store
    embedder: Any  # assistant.retrieval.search.QueryEmbedder
    k: int = 6
    documents: list[str] | None = None
    reranker: Any = None  # assistant.retrieval.search.PassageOrder

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        documents: list[str] | None = None,
    ) -> list[Document]:
        passages = search(
            self.store,
            self.embedder,
            query,
            k=self.k if k is None else k,
            documents=self.documents if documents is None else documents,
            reranker=self.reranker,
        )
        return [_document(passage) for passage in passages]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return await asyncio.to_thread(
            self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **options
        )


def _document(passage: Passage) -> Document:
    metadata = {name: value for name, value in passage.as_dict().items() if name != "text"}
    return Document(id=passage.chunk_id, page_content=passage.text, metadata=metadata)
