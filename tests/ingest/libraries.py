"""What a library of a test holds."""

import numpy as np

from ingest.config import IngestConfig
from ingest.store.contract import Store
from ingest.store.opening import open_store


def opened(config: IngestConfig) -> Store:
    return open_store(config, create=False)


def scanned(config: IngestConfig) -> dict[str, np.ndarray]:
    return {chunk.id: vector for chunk, vector in opened(config).scan()}
