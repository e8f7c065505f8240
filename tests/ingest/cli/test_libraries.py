"""`quire libraries`, run as a person would."""

import json
from pathlib import Path

from tests.documents import write_facts
from tests.ingest.cli.conftest import Quire


def test_libraries_are_listed_and_removed_with_their_pdfs(quire: Quire, tmp_path: Path) -> None:
    for library in ("one", "two"):
        write_facts(tmp_path / library)
        quire("ingest", str(tmp_path / library), "--library", library)
    listed = json.loads(quire("libraries", "--json").stdout)["libraries"]
    assert [(entry["name"], entry["documents"]) for entry in listed] == [("one", 2), ("two", 2)]
    assert quire("libraries", "remove", "--yes", "one").returncode == 0
    assert [e["name"] for e in json.loads(quire("libraries", "--json").stdout)["libraries"]] == ["two"]
    assert quire("libraries", "remove", "one", "--yes").returncode == 1


def test_only_weaviate_has_tenants(filled: Quire) -> None:
    assert filled("libraries", "tenants", "default").returncode == 2
    assert filled("libraries", "deactivate", "default", "--tenant", "sales").returncode == 2
    assert filled("libraries", "tenants").returncode == 2
