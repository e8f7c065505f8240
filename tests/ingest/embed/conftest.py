"""The embedding model, loaded once for all tests of this folder."""

import pytest

from ingest.config import IngestConfig
from ingest.embed.encoder import SentenceEncoder
from ingest.embed.weights import find_weights


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> IngestConfig:
    return IngestConfig(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def exact(config: IngestConfig) -> SentenceEncoder:
    return SentenceEncoder(find_weights(config), config.home / "models", precision="fp32")
