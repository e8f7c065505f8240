"""The tenants of a Weaviate library: each user or team has its own data, hidden from the others."""

from __future__ import annotations

from typing import Any

from ingest.config import IngestConfig
from ingest.errors import StoreError
from ingest.store.weaviate.connection import connect
from ingest.store.weaviate.schema import absent, check_tenant, collections_of, records_name


def list_tenants(config: IngestConfig, library: str) -> dict[str, bool] | None:
    """Return {tenant: whether it is in memory}, None for a library without tenants; raises StoreError."""
    connection = connect(config)
    try:
        return connection.call(lambda: tenant_states(connection.client, library))
    finally:
        connection.close()


def deactivate_tenant(config: IngestConfig, library: str, tenant: str) -> None:
    """Unload a tenant from the server's memory until its next use; raises StoreError for an unknown one."""
    check_tenant(tenant)
    connection = connect(config)
    client = connection.client

    def deactivate() -> None:
        _must_have(client, library, tenant)
        for name in collections_of(client, library):
            tenants = client.collections.use(name).tenants
            if tenant in tenants.get():
                tenants.deactivate(tenant)

    try:
        connection.call(deactivate)
    finally:
        connection.close()


def add_tenant(client: Any, collection: str, tenant: str) -> None:
    """Create a tenant in one collection unless it exists."""
    tenants = client.collections.use(collection).tenants
    if not tenants.exists(tenant):
        tenants.create([tenant])


def tenant_states(client: Any, library: str) -> dict[str, bool] | None:
    """Return {tenant: whether it is in memory}, None without tenants; does not load any of them."""
    if not client.collections.exists(records_name(library)):
        raise absent(library)
    collection = client.collections.use(records_name(library))
    if not collection.config.get().multi_tenancy_config.enabled:
        return None
    found = sorted(collection.tenants.get().items())
    return {name: str(getattr(one.activity_status, "value", "")).upper() == "ACTIVE" for name, one in found}


def remove_tenant_data(client: Any, library: str, tenant: str) -> None:
    """Remove one tenant's data from a library, its records last; raises StoreError for an unknown one."""
    _must_have(client, library, tenant)
    for name in sorted(collections_of(client, library), key=lambda one: one == records_name(library)):
        client.collections.use(name).tenants.remove([tenant])


def _must_have(client: Any, library: str, tenant: str) -> None:
    if tenant not in (tenant_states(client, library) or ()):
        raise StoreError(f"library {library!r} has no tenant {tenant!r}", "`quire libraries tenants NAME` lists them")
