import json

from assistant.cli import main


def test_search_prints_json_with_the_documented_keys(home, capsys):
    assert main(["search", "how long does the warranty last?", "-k", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {"question", "library", "passages"}
    (passage,) = shown["passages"]
    assert {"rank", "document", "page", "score", "text", "chunk_id"} <= set(passage)
    assert (passage["rank"], passage["document"], passage["page"]) == (1, "pump.pdf", 1)
    assert "24 months" in passage["text"]
    assert 0 < passage["score"] <= 1
