"""Opens, lists and removes libraries in the store that the settings name."""

from __future__ import annotations

from ingest.config import IngestConfig
from ingest.store.contract import LibrarySummary, Store
from quire import UsageError


def open_store(config: IngestConfig, *, library: str | None = None, create: bool) -> Store:
    """Open the library of the settings (or `library`); if it does not exist and `create` is set, create it.

    Raises StoreError if it does not exist and `create` is not set, StoreUnreachable if a server does not answer, and
    SchemaTooNew if a newer version of quire wrote it.
    """
    name = config.library if library is None else library
    if config.store == "sqlite":
        _refuse_tenant(config)
        from ingest.store.sqlite.libraries import open_library

        return open_library(config.home, name, create=create)
    from ingest.store.weaviate.libraries import open_collection

    return open_collection(config, name, create=create)


def _refuse_tenant(config: IngestConfig) -> None:
    if config.tenant:  # ignored, it would mix the documents of people who asked to be kept apart
        raise UsageError(
            f"tenant {config.tenant!r} is set, and the SQLite store has no tenants",
            "use --store weaviate, or one --library for each tenant",
        )


def libraries(config: IngestConfig) -> list[LibrarySummary]:
    """Return the libraries of the configured store, by name."""
    if config.store == "sqlite":
        from ingest.store.sqlite.libraries import list_libraries

        return list_libraries(config.home)
    from ingest.store.weaviate.libraries import list_collections

    return list_collections(config)


def remove_library(config: IngestConfig, name: str) -> None:
    """Remove a library of the configured store with all its documents; raise StoreError if it does not exist."""
    if config.store == "sqlite":
        _refuse_tenant(config)
        from ingest.store.sqlite.libraries import remove_library_files

        return remove_library_files(config.home, name)
    from ingest.store.weaviate.libraries import remove_collection

    return remove_collection(config, name)
