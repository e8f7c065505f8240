"""The reranker, with a model whose order is known: it counts the words that a passage shares with the question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from assistant.cli.doctor import _reranker
from assistant.config import AssistantConfig
from assistant.retrieval.reranker import Reranker, load_reranker
from assistant.retrieval.search import RERANKED, search
from ingest.errors import EmbedderUnavailable
from tests.assistant.helpers import PagesStore, WordEmbedder
from tests.ingest.embed.tiny import save_matching_reranker

QUESTION = "gold silver copper"
# the ranking prefers the page that is about nothing else; the reranker counts, and likes repetition
PAGES = {
    ("a.pdf", 1): "gold silver copper",
    ("a.pdf", 2): "gold gold gold gold and much more about other things that nobody asked for",
    ("a.pdf", 3): "copper pipes and silver spoons in a long text about a kitchen",
    ("a.pdf", 4): "copper pipes in a long text about a kitchen and its walls",
}


@pytest.fixture
def config(tmp_path: Path) -> AssistantConfig:
    save_matching_reranker(tmp_path / "model", QUESTION.split())
    return AssistantConfig(home=tmp_path, reranker=str(tmp_path / "model"))


def test_pages_come_in_the_order_of_the_model_and_scores_stay_at_their_places(config: AssistantConfig) -> None:
    store, embedder = PagesStore(PAGES), WordEmbedder()
    before = search(store, embedder, QUESTION)
    assert [passage.page for passage in before] != [2, 1, 3, 4]
    after = search(store, embedder, QUESTION, reranker=load_reranker(config))
    assert [passage.page for passage in after] == [2, 1, 3, 4]
    assert [(p.rank, p.score) for p in after] == [(p.rank, p.score) for p in before]
    assert {p.page: p.text for p in after} == {p.page: p.text for p in before}


class Backwards:
    def order(self, question: str, texts: Sequence[str]) -> list[int]:
        return list(range(len(texts)))[::-1]


def test_only_the_first_pages_are_ordered_again_whatever_number_is_asked_for() -> None:
    pages = {("a.pdf", n): f"{QUESTION} " + " ".join(f"x{n}y{i}" for i in range(n)) for n in range(1, RERANKED + 6)}
    store, embedder = PagesStore(pages), WordEmbedder()
    plain = [passage.page for passage in search(store, embedder, QUESTION, k=50)]
    assert len(plain) == RERANKED + 5
    expected = plain[:RERANKED][::-1] + plain[RERANKED:]
    for k in (1, 6, 50):
        found = search(store, embedder, QUESTION, k=k, reranker=Backwards())
        assert [passage.page for passage in found] == expected[:k]


def test_a_reranker_is_loaded_once_and_only_if_it_is_set(config: AssistantConfig) -> None:
    assert load_reranker(replace(config, reranker="")) is None
    loaded = load_reranker(config)
    assert isinstance(loaded, Reranker) and load_reranker(config) is loaded


def test_doctor_says_what_thirty_passages_cost(config: AssistantConfig) -> None:
    (found,) = _reranker(config)
    assert found.state == "ok"
    cost = r"from folder .*: \d+\.\d\d s( and [\d,.-]+ MB)? for 30 passages of 1,200 characters"
    assert re.search(cost, found.text), found.text


def test_doctor_names_what_a_reranker_lacks(config: AssistantConfig) -> None:
    (none,) = _reranker(replace(config, reranker=""))
    assert (none.state, none.text) == ("optional", "none")
    (Path(config.reranker) / "tokenizer.json").unlink()
    (found,) = _reranker(config)
    assert (found.state, found.text) == ("missing", f"{config.reranker} has no tokenizer.json")
    with pytest.raises(EmbedderUnavailable, match="save_pretrained"):
        load_reranker(config)
