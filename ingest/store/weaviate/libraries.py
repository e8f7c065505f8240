"""The libraries of a Weaviate server: opens, lists and removes them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ingest.config import IngestConfig
from ingest.errors import StoreError, StoreUnreachable
from ingest.store.contract import LibrarySummary
from ingest.store.weaviate.connection import Connection, connect
from ingest.store.weaviate.schema import (
    absent,
    base_name,
    check_records,
    check_tenant,
    collections_of,
    create_records,
    libraries_of,
    records_name,
)
from ingest.store.weaviate.store import WeaviateStore
from ingest.store.weaviate.tenants import add_tenant, remove_tenant_data, tenant_states


def open_collection(config: IngestConfig, name: str, *, create: bool) -> WeaviateStore:
    """Open a library on the configured server; raises StoreError if it is missing and `create` is not set."""
    check_tenant(config.tenant)
    base_name(name)  # raises UsageError for an invalid name
    connection = connect(config)
    try:
        client = connection.client
        if not connection.call(lambda: check_records(client, name, config.tenant)):
            if not create:
                raise absent(name)
            connection.call(lambda: create_records(client, config, name))
            connection.call(lambda: check_records(client, name, config.tenant))
        if config.tenant:
            _enter_tenant(connection, config.tenant, name, create=create)
        store = WeaviateStore(connection, config, name)
        if create:
            store.finish_removals()
        return store
    except BaseException:
        connection.close()
        raise


def list_collections(config: IngestConfig) -> list[LibrarySummary]:
    """Return the libraries of the server by name, with the numbers of the set tenant, or of all tenants."""
    connection = connect(config)
    try:
        names = connection.call(lambda: libraries_of(connection.client))
        return [_summary(connection, config, name) for name in sorted(names)]
    finally:
        connection.close()


def remove_collection(config: IngestConfig, name: str) -> None:
    """Remove a library, or only the data of the set tenant; raises StoreError if it is missing."""
    connection = connect(config)
    try:
        client = connection.client
        if not connection.call(lambda: client.collections.exists(records_name(name))):
            raise absent(name)
        if config.tenant:
            connection.call(lambda: remove_tenant_data(client, name, config.tenant))
            return
        collections = connection.call(lambda: collections_of(client, name))
        # records last: a library whose removal was interrupted can be removed again
        for one in sorted(collections, key=lambda collection: collection == records_name(name)):
            connection.call(partial(client.collections.delete, one))
    finally:
        connection.close()


def _enter_tenant(connection: Connection, tenant: str, library: str, *, create: bool) -> None:
    client = connection.client
    if tenant in (connection.call(lambda: tenant_states(client, library)) or ()):
        return
    if not create:
        raise StoreError(
            f"library {library!r} has no tenant {tenant!r}",
            "`quire ingest --tenant` creates it with its first document",
        )
    connection.call(lambda: add_tenant(client, records_name(library), tenant))


def _summary(connection: Connection, config: IngestConfig, library: str) -> LibrarySummary:
    client, documents, passages, inactive = connection.client, 0, 0, 0
    try:
        states = connection.call(lambda: tenant_states(client, library))
        if states is None:
            tenants = [""]
        elif config.tenant:
            tenants = [config.tenant] if config.tenant in states else []
        else:  # counting an inactive tenant would load it into memory
            tenants = [tenant for tenant, active in states.items() if active]
            inactive = len(states) - len(tenants)
        for tenant in tenants:
            store = WeaviateStore(connection, replace(config, tenant=tenant), library)
            found = store.documents()
            documents, passages = documents + len(found), passages + sum(one.chunks for one in found)
    except StoreUnreachable:
        raise
    except StoreError as exc:
        return LibrarySummary(library, 0, 0, config.store, 0, problem=str(exc))
    note = f"tenants not in memory, not counted: {inactive}" if inactive else ""
    return LibrarySummary(library, documents, passages, config.store, _bytes(config, library), note=note)


def _bytes(config: IngestConfig, library: str) -> int:
    """Return the disk space of a library of the embedded server in bytes; 0 for other servers."""
    if config.store != "weaviate-embedded":
        return 0
    start = base_name(library).lower()
    folders = (config.home / "weaviate" / "data").glob(f"{start}_[rp][ea]*")
    return sum(p.stat().st_size for folder in folders for p in folder.rglob("*") if p.is_file())
