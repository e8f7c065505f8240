"""The Weaviate collections of a library: names, properties and indexes.

A library has one collection of records (its identity, its documents) and one of passages. Re-embedding fills a second
collection of passages, the next embedding generation, and then changes the library's record to it.
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
_MAX_NAME = 120  # characters of an encoded library name; Weaviate allows 255 with prefix and suffix


def base_name(library: str) -> str:
    """Return the prefix of a library's collections: valid in Weaviate, and different for each library.

    Weaviate's folders may ignore case, so each byte outside a-z0-9 is encoded as _xx in hexadecimal. A longer name
    ends in "_z", which is no encoded byte, and a hash.
    """
    if not library.strip() or len(library) > 200 or not library.isprintable():
        raise UsageError(f"{library[:80]!r} is not a valid library name", "use 1 to 200 printable characters")
    raw = library.encode("utf-8", "surrogatepass")
    written = "".join(chr(b) if chr(b) in "abcdefghijklmnopqrstuvwxyz0123456789" else f"_{b:02x}" for b in raw)
    if len(written) > _MAX_NAME:
        written = f"{written[:_MAX_NAME]}_z{hashlib.sha256(raw).hexdigest()[:32]}"
    return _PREFIX + written


def records_name(library: str) -> str:
    """Return the name of the collection of a library's records."""
    return base_name(library) + _RECORDS  # no encoded name holds "R"


def passages_name(library: str, generation: int) -> str:
    """Return the name of the collection of passages of an embedding generation."""
    return f"{base_name(library)}_Passages{generation}"


def libraries_of(client: Any) -> dict[str, str]:
    """Return {library: name of its collection of records} for all libraries of a server."""
    found = {}
    for name, config in client.collections.list_all(simple=True).items():
        if name.startswith(_PREFIX) and name.endswith(_RECORDS):
            library = _description_values(config.description).get("library")
            if isinstance(library, str) and records_name(library) == name:
                found[library] = name
    return found


def collections_of(client: Any, library: str) -> list[str]:
    """Return all collections of a library, including those of interrupted re-embeddings."""
    passages = f"{base_name(library)}_Passages"
    names = client.collections.list_all(simple=True)
    return [n for n in names if n == records_name(library) or (n.startswith(passages) and n[len(passages) :].isdigit())]


def check_records(client: Any, library: str, tenant: str) -> bool:
    """Return whether the library exists; raises StoreError if its schema or use of tenants does not fit."""
    name = records_name(library)
    if not client.collections.exists(name):
        return False
    config = client.collections.use(name).config.get()
    described = _description_values(config.description)
    if int(described.get("schema", 0)) > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"library {library!r} has schema {described['schema']}, this version of quire reads up to {SCHEMA_VERSION}",
            "use the newer version that wrote it",
        )
    if described.get("library") != library:
        raise StoreError(f"the collection {name} is not library {library!r}", "remove or rename it on the server")
    with_tenants = config.multi_tenancy_config.enabled
    if with_tenants and not tenant:
        raise StoreError(f"library {library!r} has tenants, and none was given", "add --tenant NAME")
    if tenant and not with_tenants:
        raise StoreError(
            f"library {library!r} was created without tenants", "omit --tenant, or create another library with it"
        )
    return True


def absent(library: str) -> StoreError:
    """Return the error for a library that is not on the server."""
    return StoreError(
        f"there is no library {library!r} on the server", "`quire libraries` lists all; `quire ingest PATH` creates one"
    )


def check_tenant(tenant: str) -> None:
    """Raise UsageError for a tenant name that Weaviate does not accept."""
    legal = all(c.isascii() and (c.isalnum() or c in "-_") for c in tenant)
    if tenant and not (legal and len(tenant) <= 64):
        raise UsageError(f"{tenant!r} is not a valid tenant name", "use 1 to 64 of the characters A-Z a-z 0-9 - _")


def create_records(client: Any, config: IngestConfig, library: str) -> None:
    """Create the collection of records unless it exists."""
    from weaviate.classes.config import Configure, DataType, Property

    description = json.dumps({"quire": "library", "schema": SCHEMA_VERSION, "library": library})
    _create(
        client,
        config,
        name=records_name(library),
        description=description,
        # records have no vectors, and an empty flat index costs nothing
        vector_config=Configure.Vectors.self_provided(vector_index_config=Configure.VectorIndex.flat()),
        properties=[
            _exact("kind", Property, DataType),
            _exact("key", Property, DataType),
            _stored_only("payload", DataType.TEXT, Property),
        ],
    )


def create_passages(client: Any, config: IngestConfig, library: str, generation: int) -> None:
    """Create the collection of passages of an embedding generation unless it exists."""
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
            _stored_only("start", DataType.INT, Property),
            _stored_only("end", DataType.INT, Property),
            _stored_only("page_label", DataType.TEXT, Property),
            _stored_only("heading", DataType.TEXT, Property),
            _stored_only("margins", DataType.INT_ARRAY, Property),
            _stored_only("parser", DataType.TEXT, Property),
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
                stopwords_preset=StopwordsPreset.NONE,  # quire removes them from its queries, for all stores alike
                index_null_state=False,
                index_property_length=False,
                index_timestamps=False,
            ),
            **collection,
        )
    except UnexpectedStatusCodeError:
        if not client.collections.exists(collection["name"]):  # otherwise another process created it first
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


def _stored_only(name: str, data_type: Any, property_class: Any) -> Any:
    from weaviate.classes.config import DataType

    searchable = {"index_searchable": False} if data_type == DataType.TEXT else {}
    return property_class(name=name, data_type=data_type, index_filterable=False, **searchable)


def _description_values(description: str | None) -> dict[str, Any]:
    try:
        value = json.loads(description or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
