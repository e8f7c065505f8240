import json

from assistant.cli import main
from tests.ingest.embed.tiny import save_matching_reranker


def test_search_prints_json_with_the_documented_keys(home, capsys):
    assert main(["search", "how long does the warranty last?", "-k", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {"question", "library", "passages"}
    (passage,) = shown["passages"]
    assert {"rank", "document", "page", "score", "text", "chunk_id"} <= set(passage)
    assert (passage["rank"], passage["document"], passage["page"]) == (1, "pump.pdf", 1)
    assert "24 months" in passage["text"]
    assert 0 < passage["score"] <= 1


def test_a_reranker_that_is_set_decides_which_page_comes_first(home, capsys, monkeypatch, tmp_path):
    question = "months of the warranty, Never"
    pages = []
    save_matching_reranker(tmp_path / "model", ["Never"])
    for reranker in ("", str(tmp_path / "model")):
        monkeypatch.setenv("QUIRE_RERANKER", reranker)
        assert main(["search", question, "--json"]) == 0
        pages.append([passage["page"] for passage in json.loads(capsys.readouterr().out)["passages"]])
    assert pages == [[1, 2], [2, 1]]
