"""Handles to the collections of one library, and the calls that go through its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ingest.config import IngestConfig
from ingest.store.weaviate.connection import Connection
from ingest.store.weaviate.schema import create_passages, passages_name, records_name
from ingest.store.weaviate.tenants import add_tenant

Item = TypeVar("Item")


class Handles:
    """The collections of a library on a server, for the configured tenant and consistency level."""

    def __init__(self, connection: Connection, config: IngestConfig, library: str) -> None:
        self.connection, self.config, self.library = connection, config, library

    def records(self) -> Any:
        """Return the collection of records."""
        return self._collection(records_name(self.library))

    def passages(self, generation: int) -> Any:
        """Return the collection of passages of an embedding generation."""
        return self._collection(passages_name(self.library, generation))

    def _collection(self, name: str) -> Any:
        from weaviate.classes.config import ConsistencyLevel

        collection = self.connection.client.collections.use(name)
        if self.config.tenant:
            collection = collection.with_tenant(self.config.tenant)
        return collection.with_consistency_level(ConsistencyLevel(self.config.weaviate_consistency))

    def create_passages(self, generation: int) -> None:
        """Create the collection of passages of a generation, with the set tenant."""
        client = self.connection.client
        self.call(lambda: create_passages(client, self.config, self.library, generation))
        if self.config.tenant:
            self.call(lambda: add_tenant(client, passages_name(self.library, generation), self.config.tenant))

    def drop_passages(self, generation: int) -> None:
        """Delete the passages of a generation; of the set tenant only, and the collection with its last tenant."""
        client, name, tenant = self.connection.client, passages_name(self.library, generation), self.config.tenant

        def drop() -> None:
            if not client.collections.exists(name):
                return
            if tenant:
                tenants = client.collections.use(name).tenants
                tenants.remove([tenant])
                if tenants.get():
                    return
            client.collections.delete(name)

        self.call(drop)

    def call(self, step: Callable[[], Item]) -> Item:
        """Run one request; see `Connection.call`."""
        return self.connection.call(step)
