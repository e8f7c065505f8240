import asyncio

from langchain_tests.integration_tests import RetrieversIntegrationTests

from assistant.retrieval.retriever import LibraryRetriever
from tests.assistant.helpers import PagesStore, WordEmbedder


class TestLibraryRetriever(RetrieversIntegrationTests):
    """LangChain's own suite for retrievers."""

    @property
    def retriever_constructor(self):
        return LibraryRetriever

    @property
    def retriever_constructor_params(self):
        return {"store": PagesStore(), "embedder": WordEmbedder()}

    @property
    def retriever_query_example(self):
        return "moon diameter, dividends of shareholders, plant and equipment"


def test_a_document_filter_holds_for_one_call_or_for_all():
    retriever = LibraryRetriever(store=PagesStore(), embedder=WordEmbedder(), documents=["id-moon.pdf"])
    assert {d.metadata["document"] for d in retriever.invoke("moon dividends shareholders")} == {"moon.pdf"}
    found = asyncio.run(retriever.ainvoke("moon dividends shareholders", documents=["id-report.pdf"]))
    assert {d.metadata["document"] for d in found} == {"report.pdf"}


def test_each_document_names_its_page_and_place():
    (found,) = LibraryRetriever(store=PagesStore(), embedder=WordEmbedder(), k=1).invoke("diameter of the moon")
    assert found.metadata["page"] == 1
    assert (found.metadata["start"], found.metadata["end"]) == (0, len(found.page_content))
    assert 0 <= found.metadata["score"] <= 1
