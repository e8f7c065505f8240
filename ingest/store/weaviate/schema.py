"""The Weaviate collections a library is kept in: their names, properties and indexes, declared in full.

A library is one collection of records (its identity, its documents) and one of passages. Re-embedding fills a second
collection of passages and then points the library's record at it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ingest.config import IngestConfig
from ingest.errors import SchemaTooNew, StoreError
from quire import UsageError

SCHEMA_VERSION = 1
MAX_RESULTS = 10_000  # of one query (QUERY_MAXIMUM_RESULTS)
_PREFIX = "Quire_"
_RECORDS = "_Records"
_LONGEST = 120  # characters of a name as written; Weaviate allows 255 with all that is added


def base_name(library: str) -> str:
    """Return how the collections of a library begin: legal for Weaviate, and never the same for two libraries.

    Weaviate's folders do not tell upper from lower case, so letters outside a-z0-9 are written as _xx, two hexadecimal
    digits a byte; a name too long for that ends in a hash behind "_z", which no written byte can be.
    """
    if not library.strip() or len(library) > 200 or not library.isprintable():
        raise UsageError(f"{library[:80]!r} cannot be a library's name", "use 1 to 200 characters that can be printed")
    raw = library.encode("utf-8", "surrogatepass")
    written = "".join(chr(b) if chr(b) in "abcdefghijklmnopqrstuvwxyz0123456789" else f"_{b:02x}" for b in raw)
    if len(written) > _LONGEST:
        written = f"{written[:_LONGEST]}_z{hashlib.sha256(raw).hexdigest()[:32]}"
    return _PREFIX + written


def records_name(library: str) -> str:
    """Return the collection of a library's records."""
    return base_name(library) + _RECORDS  # "R" stands in no written name


def passages_name(library: str, generation: int) -> str:
    """Return the collection of a library's passages as embedded for the epoch-th time."""
    return f"{base_name(library)}_Passages{generation}"


def libraries_of(client: Any) -> dict[str, str]:
    """Return {library: its collection of records} for all libraries of a server."""
    found = {}
    for name, config in client.collections.list_all(simple=True).items():
        if name.startswith(_PREFIX) and name.endswith(_RECORDS):
            library = _described(config.description).get("library")
            if isinstance(library, str) and records_name(library) == name:
                found[library] = name
    return found


def collections_of(client: Any, library: str) -> list[str]:
    """Return all collections that a library is kept in, those of re-embeddings that broke off included."""
    passages = f"{base_name(library)}_Passages"
    names = client.collections.list_all(simple=True)
    return [n for n in names if n == records_name(library) or (n.startswith(passages) and n[len(passages) :].isdigit())]


def check_records(client: Any, library: str, tenant: str) -> bool:
    """Say whether the library exists; raise where it was made by a newer quire, or with tenants when none is given."""
    name = records_name(library)
    if not client.collections.exists(name):
        return False
    config = client.collections.use(name).config.get()
    described = _described(config.description)
    if int(described.get("schema", 0)) > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"library {library!r} has schema {described['schema']}, this quire knows up to {SCHEMA_VERSION}",
            "use the newer quire that wrote it",
        )
    if described.get("library") != library:
        raise StoreError(f"the collection {name} is not library {library!r}", "remove or rename it on the server")
    with_tenants = config.multi_tenancy_config.enabled
    if with_tenants and not tenant:
        raise StoreError(f"library {library!r} is kept by tenants and none is named", "add --tenant NAME")
    if tenant and not with_tenants:
        raise StoreError(
            f"library {library!r} was made without tenants", "leave --tenant out, or make another library with it"
        )
    return True


def absent(library: str) -> StoreError:
    """Return the error for a library that is not on the server."""
    return StoreError(
        f"there is no library {library!r} on the server", "`quire libraries` lists them; `quire ingest PATH` makes one"
    )


def check_tenant(tenant: str) -> None:
    """Raise UsageError for what Weaviate does not take as a tenant's name."""
    legal = all(c.isascii() and (c.isalnum() or c in "-_") for c in tenant)
    if tenant and not (legal and len(tenant) <= 64):
        raise UsageError(f"{tenant!r} cannot be a tenant's name", "use 1 to 64 of the letters A-Z a-z 0-9 - _")


def create_records(client: Any, config: IngestConfig, library: str) -> None:
    """Make the collection of records; one that another process made meanwhile is taken as it is."""
    from weaviate.classes.config import Configure, DataType, Property

    description = json.dumps({"quire": "library", "schema": SCHEMA_VERSION, "library": library})
    _create(
        client,
        config,
        name=records_name(library),
        description=description,
        # records have no vectors; the flat index of nothing costs nothing
        vector_config=Configure.Vectors.self_provided(vector_index_config=Configure.VectorIndex.flat()),
        properties=[
            _exact("kind", Property, DataType),
            _exact("key", Property, DataType),
            _kept("payload", DataType.TEXT, Property),
        ],
    )


def create_passages(client: Any, config: IngestConfig, library: str, generation: int) -> None:
    """Make the collection of passages of an epoch; one that is there is taken as it is."""
    from weaviate.classes.config import Configure, DataType, Property, Tokenization, VectorDistances

    _create(
        client,
        config,
        name=passages_name(library, generation),
        description=json.dumps(
            {"quire": "passages", "schema": SCHEMA_VERSION, "library": library, "epoch": generation}
        ),
        vector_config=Configure.Vectors.self_provided(
            vector_index_config=Configure.VectorIndex.hnsw(
                distance_metric=VectorDistances.COSINE,
                ef_construction=128,
                max_connections=32,
                quantizer=Configure.VectorIndex.Quantizer.none(),
            )
        ),
        properties=[
            Property(
                name="text",
                data_type=DataType.TEXT,
                tokenization=Tokenization.WORD,
                index_searchable=True,
                index_filterable=False,
                description="the passage, verbatim",
            ),
            Property(
                name="terms",
                data_type=DataType.TEXT,
                tokenization=Tokenization.WHITESPACE,
                index_searchable=True,
                index_filterable=False,
                description="stemmed terms of file name, title and passage: what quire searches by",
            ),
            _exact("document_id", Property, DataType),
            _exact("document", Property, DataType),
            _exact("version", Property, DataType),
            _exact("chunk_id", Property, DataType),
            _number("page", Property, DataType),
            _number("position", Property, DataType),
            _kept("start", DataType.INT, Property),
            _kept("end", DataType.INT, Property),
            _kept("page_label", DataType.TEXT, Property),
            _kept("heading", DataType.TEXT, Property),
            _kept("margins", DataType.INT_ARRAY, Property),
            _kept("parser", DataType.TEXT, Property),
        ],
    )


def _create(client: Any, config: IngestConfig, **collection: Any) -> None:
    from weaviate.classes.config import Configure, StopwordsPreset
    from weaviate.exceptions import UnexpectedStatusCodeError

    if client.collections.exists(collection["name"]):
        return
    if config.tenant:
        collection["multi_tenancy_config"] = Configure.multi_tenancy(
            enabled=True, auto_tenant_creation=True, auto_tenant_activation=True
        )
    elif config.weaviate_shards:
        collection["sharding_config"] = Configure.sharding(desired_count=config.weaviate_shards)
    try:
        client.collections.create(
            replication_config=Configure.replication(factor=config.weaviate_replicas),
            inverted_index_config=Configure.inverted_index(
                bm25_b=0.75,
                bm25_k1=1.2,
                stopwords_preset=StopwordsPreset.NONE,  # quire leaves them out of its queries itself, alike for all stores
                index_null_state=False,
                index_property_length=False,
                index_timestamps=False,
            ),
            **collection,
        )
    except UnexpectedStatusCodeError:
        if not client.collections.exists(collection["name"]):  # else another process was quicker
            raise


def _exact(name: str, property_class: Any, types: Any) -> Any:
    from weaviate.classes.config import Tokenization

    return property_class(
        name=name,
        data_type=types.TEXT,
        tokenization=Tokenization.FIELD,
        index_searchable=False,
        index_filterable=True,
    )


def _number(name: str, property_class: Any, types: Any) -> Any:
    return property_class(name=name, data_type=types.INT, index_filterable=True, index_range_filters=True)


def _kept(name: str, data_type: Any, property_class: Any) -> Any:
    from weaviate.classes.config import DataType

    searchable = {"index_searchable": False} if data_type == DataType.TEXT else {}
    return property_class(name=name, data_type=data_type, index_filterable=False, **searchable)


def _described(description: str | None) -> dict[str, Any]:
    try:
        value = json.loads(description or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
