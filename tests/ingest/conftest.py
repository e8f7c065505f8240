"""Fixtures that start a real server once for all tests."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ingest.config import IngestConfig
from tests.documents import write_facts


@dataclass(frozen=True)
class Server:
    """A Weaviate that tests may fill; `own` says whether they started it and may harm it."""

    url: str
    grpc_url: str
    api_key: str
    own: bool
    pid: int = 0

    def config(self, home: Path, library: str = "default", **more: object) -> IngestConfig:
        """Return settings that name this server."""
        config = IngestConfig(
            home=home,
            library=library,
            store="weaviate",
            weaviate_url=self.url,
            weaviate_grpc_url=self.grpc_url,
            weaviate_api_key=self.api_key,
        )
        return replace(config, **more)


@pytest.fixture(scope="session")
def weaviate_server(tmp_path_factory):
    """Start a Weaviate from the cached binary, else take WEAVIATE_URL, else skip with the reason."""
    from ingest.store.weaviate.embedded import download_offer, join

    offer = download_offer()
    if offer is not None:
        if not os.environ.get("WEAVIATE_URL"):
            pytest.skip(f"no Weaviate to test with: {offer} Or set WEAVIATE_URL.")
        grpc_url, key = os.environ.get("WEAVIATE_GRPC_URL", ""), os.environ.get("WEAVIATE_API_KEY", "")
        yield Server(os.environ["WEAVIATE_URL"], grpc_url, key, own=False)
        return
    joined = join(tmp_path_factory.mktemp("weaviate-home"))
    url, grpc_url = f"http://127.0.0.1:{joined.http_port}", f"127.0.0.1:{joined.grpc_port}"
    yield Server(url, grpc_url, joined.api_key, own=True, pid=joined.server_pid)
    joined.leave()


@pytest.fixture
def own_weaviate(weaviate_server):
    """The session's Weaviate, only where the tests started it themselves."""
    if not weaviate_server.own:
        pytest.skip("this test needs a Weaviate of its own: the embedded binary is not there")
    return weaviate_server


@pytest.fixture
def config(tmp_path: Path) -> IngestConfig:
    return IngestConfig(home=tmp_path / "home", jobs=1, ocr="off")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_facts(tmp_path / "pdfs")
    return tmp_path / "pdfs"
