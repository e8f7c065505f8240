"""What only the Weaviate store promises: addresses, errors in time, tenants, kills, the embedded server and its sharing."""

from __future__ import annotations

import http.server
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.config import IngestConfig
from ingest.errors import SchemaTooNew, StoreError, StoreUnreachable
from ingest.library import copy_library, incomplete_documents
from ingest.pipeline import ingest
from ingest.store.opening import libraries, open_store, remove_library
from ingest.store.weaviate import embedded
from ingest.store.weaviate.connection import Address, parse_address
from ingest.store.weaviate.schema import base_name, passages_name, records_name
from ingest.store.weaviate.tenants import deactivate_tenant, list_tenants
from quire import UsageError
from tests.documents import write_facts
from tests.ingest.store_examples import IDENTITY, embed, make_document, make_varied

ROOT = Path(__file__).parents[3]
server = pytest.mark.server


@pytest.fixture
def config(weaviate_server, tmp_path):
    config = weaviate_server.config(tmp_path, library=f"test {uuid.uuid4()}")
    yield config
    for summary in libraries(config):
        if summary.name.startswith(config.library):
            remove_library(replace(config, tenant=""), summary.name)


@pytest.fixture
def store(config):
    store = open_store(config, create=True)
    store.set_identity(IDENTITY)
    yield store
    store.close()


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


# addresses and names


@pytest.mark.parametrize(
    ("url", "grpc_url", "expected"),
    [
        ("http://localhost:8080", "", Address("localhost", 8080, False, "localhost", 50051, False)),
        ("http://box", "", Address("box", 8080, False, "box", 50051, False)),
        (" http://box:9090\n", " box:1 ", Address("box", 9090, False, "box", 1, False)),
        ("box:9090", "", Address("box", 9090, False, "box", 50051, False)),
        ("https://box/", "", Address("box", 443, True, "box", 50051, True)),
        ("https://box/v1", "grpc.box:444", Address("box", 443, True, "grpc.box", 444, True)),
        ("https://box", "http://box:50051", Address("box", 443, True, "box", 50051, False)),
        ("http://[::1]:8080", "[::1]:50051", Address("::1", 8080, False, "::1", 50051, False)),
        ("abc.c0.eu.weaviate.cloud", "", Address(*["abc.c0.eu.weaviate.cloud", 443, True], "grpc-abc.c0.eu.weaviate.cloud", 443, True)),
        ("https://abc.weaviate.network", "", Address("abc.weaviate.network", 443, True, "abc.grpc.weaviate.network", 443, True)),
    ],
)  # fmt: skip
def test_addresses_are_read_as_people_write_them(url, grpc_url, expected):
    assert parse_address(url, grpc_url) == expected


@pytest.mark.parametrize("url", ["ftp://box", "http://", "http://box:port", "http://box:99999", "https://box/weaviate"])
def test_what_cannot_be_an_address_is_refused(url):
    with pytest.raises(UsageError, match="WEAVIATE_URL"):
        parse_address(url)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="WEAVIATE_API_KEY") as caught:
        parse_address("https://me:hunter2@box")
    assert "hunter2" not in str(caught.value)


def test_collection_names_are_legal_and_differ_even_where_case_does_not_count():
    names = [
        "a",
        "A",
        "a b",
        "a_b",
        "a-b",
        "ä",
        "a_5f",
        "_",
        "😀",
        "x" * 200,
        "x" * 199,
        "X" * 200,
        "a_Records",
        "a_records",
    ]
    made = [records_name(name).lower() for name in names] + [passages_name(name, 1).lower() for name in names]
    assert len(set(made)) == 2 * len(names)
    for name in made:
        assert len(name) < 230
        assert name.isascii()
        assert name.replace("_", "").isalnum()
    assert base_name("a b") == "Quire_a_20b"


def test_a_server_must_be_named(tmp_path):
    with pytest.raises(UsageError, match="WEAVIATE_URL=http"):
        open_store(IngestConfig(home=tmp_path, store="weaviate"), create=True)


@pytest.mark.parametrize("tenant", ["a b", "ä", "x" * 65, "a/b"])
def test_a_tenant_that_cannot_be_is_refused(tmp_path, tenant):
    config = IngestConfig(home=tmp_path, store="weaviate", weaviate_url="http://localhost:1", tenant=tenant)
    with pytest.raises(UsageError, match="1 to 64"):
        open_store(config, create=True)


# errors


@server
def test_no_weaviate_at_the_address_is_one_line_within_seconds(tmp_path):
    config = IngestConfig(home=tmp_path, store="weaviate", weaviate_url=f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()
    with pytest.raises(StoreUnreachable, match="fix WEAVIATE_URL") as caught:
        open_store(config, create=True)
    assert config.weaviate_url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 5


@server
def test_weaviate_with_a_wrong_key_says_so(own_weaviate, tmp_path):
    for key in ("wrong", ""):
        config = own_weaviate.config(tmp_path, weaviate_api_key=key)
        with pytest.raises(StoreError, match="WEAVIATE_API_KEY"):
            open_store(config, create=True)


@server
def test_a_key_may_be_pasted_with_its_line_end(own_weaviate, tmp_path):
    config = own_weaviate.config(tmp_path)
    with pytest.raises(StoreError, match="there is no library"):
        open_store(replace(config, weaviate_api_key=f" {config.weaviate_api_key}\n"), create=False)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines", "\x00"])
def test_a_key_that_no_request_can_carry_is_refused(tmp_path, key):
    config = IngestConfig(home=tmp_path, store="weaviate", weaviate_url="http://localhost:1", weaviate_api_key=key)
    with pytest.raises(UsageError, match="copy the key again"):
        open_store(config, create=False)


@server
def test_weaviate_with_a_wrong_grpc_port_says_so(weaviate_server, tmp_path):
    http_port = weaviate_server.url.rsplit(":", 1)[1]
    for port in (free_port(), http_port):
        config = weaviate_server.config(tmp_path, weaviate_grpc_url=f"127.0.0.1:{port}")
        started = time.monotonic()
        with pytest.raises(StoreError, match="WEAVIATE_GRPC_URL"):
            open_store(config, create=True)
        assert time.monotonic() - started < 8


class Meta(http.server.BaseHTTPRequestHandler):
    """Answers what an old Weaviate answers, or what some other server does."""

    answer = b""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def http_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Meta) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"version": "1.37.9"}', "CVE-2026-11500.*1.38 or newer"),
        (b'{"version": "1.27.0-rc.1"}', "CVE-2026-11500"),
        (b"<html>hello</html>", "is not Weaviate.*fix WEAVIATE_URL"),
        (b'{"hello": 1}', "is not Weaviate"),
    ],
)
def test_an_old_or_foreign_server_is_refused(http_server, tmp_path, monkeypatch, answer, message):
    monkeypatch.setattr(Meta, "answer", answer)
    url = f"http://127.0.0.1:{http_server.server_port}"
    with pytest.raises(StoreError, match=message):
        open_store(IngestConfig(home=tmp_path, store="weaviate", weaviate_url=url), create=True)


@server
def test_weaviate_refusing_a_vector_length_is_explained(store, config):
    """Behind quire's back another length is put in: the server's refusal comes back in our words."""
    store.put(*make_document("/docs/a.pdf", "apple"))
    document, chunks, _ = make_document("/docs/b.pdf", "river")
    store._root = None
    wide = replace(IDENTITY, dimension=3)
    store._records.write_root(replace(store._records.root(), identity=wide))
    with pytest.raises(StoreError, match="quire docs reindex"):
        store.put(document, chunks, np.ones((1, 3), dtype=np.float32))
    assert [d.name for d in store.documents()] == ["a.pdf"]


@server
def test_a_weaviate_library_of_a_newer_quire_is_refused(store, config):
    description = json.dumps({"quire": "library", "schema": 99, "library": config.library})
    store._handles.connection.client.collections.use(records_name(config.library)).config.update(
        description=description
    )
    with pytest.raises(SchemaTooNew, match="newer version"):
        open_store(config, create=False)


# ingest


@server
@pytest.mark.slow
def test_weaviate_takes_and_removes_more_than_ten_thousand_passages(store):
    big = make_varied("/docs/big.pdf", *[f"apple {i}" for i in range(10_500)])
    store.put(*big)
    assert store.count(big[0].id) == 10_500
    places = [(chunk.page, chunk.start) for chunk, _ in store.scan(big[0].id)]
    assert len(places) == 10_500
    assert places == sorted(places)
    store.put(*make_varied("/docs/big.pdf", *[f"river {i}" for i in range(10_200)], version="v2"))
    assert store.count() == 10_200
    assert store.search_text("apple", limit=5) == []
    assert total_objects(store) == 10_200
    assert store.remove(big[0].id) == 10_200
    assert total_objects(store) == 0


def total_objects(store):
    """Count the passages on the server, those that no reader is shown included."""
    return store._handles.passages(store._need_root().generation).aggregate.over_all(total_count=True).total_count


@server
def test_a_version_that_was_not_finished_is_never_shown_and_goes_with_the_next(store):
    """What a killed writer leaves: passages without a record, and passages of a version that does not count."""
    from ingest.store.records import unit_vectors
    from ingest.store.weaviate.values import passage_objects

    old, new = make_document("/docs/a.pdf", *["apple old"] * 6), make_document("/docs/a.pdf", *["apple new"] * 6)
    lost = make_document("/docs/never.pdf", *["apple lost"] * 40)
    store.put(*old)
    for document, chunks, vectors in (new, lost):
        unit = unit_vectors(vectors, len(chunks), IDENTITY.dimension)
        objects = passage_objects(document, f"unfinished {document.name}", chunks, unit)
        store._writer._insert(1, objects, document.name)
    assert total_objects(store) == 52
    assert {hit.chunk.text for hit in store.search_text("apple", limit=5)} == {"apple old"}
    assert len(store.search_text("apple", limit=100)) == 6
    assert len(store.search_vector(embed("apple"), limit=6)) == 6
    assert [len(chunks) for chunks in store.page_chunks([(old[0].id, 1)]).values()] == [2]
    assert store.count() == 6
    store.put(*new)
    store.put(*lost)
    assert total_objects(store) == 46


@server
def test_what_weaviate_lost_behind_our_back_is_named_by_document_and_repaired_by_ingesting_again(store):
    documents = [make_document(f"/docs/{name}.pdf", *[f"apple {name} {i}" for i in range(5)]) for name in "abc"]
    for one in documents:
        store.put(*one)
    assert incomplete_documents(store) == []
    passages = store._handles.passages(1)
    lost = [o for o in passages.query.fetch_objects(limit=99).objects if o.properties["document"] == "b.pdf"][:2]
    for one in lost:
        passages.data.delete_by_id(one.uuid)
    assert [(document.name, held) for document, held in incomplete_documents(store)] == [("b.pdf", 3)]
    store.put(*documents[1])
    assert incomplete_documents(store) == []
    assert (store.count(), total_objects(store)) == (15, 15)


@server
def test_ingest_does_not_take_a_document_as_unchanged_of_which_weaviate_lost_passages(config, tmp_path):
    write_facts(tmp_path / "pdfs")
    assert len(ingest([str(tmp_path / "pdfs")], config).added) == 2
    assert len(ingest([str(tmp_path / "pdfs")], config).unchanged) == 2
    with open_store(config, create=False) as store:
        lost = next(o for o in store._handles.passages(1).query.fetch_objects().objects if o.properties["page"] == 2)
        store._handles.passages(1).data.delete_by_id(lost.uuid)
        report = ingest([str(tmp_path / "pdfs")], config)
        assert [one.document for one in report.replaced] == [lost.properties["document"]]
        assert (len(report.unchanged), report.failed) == (1, [])
        assert incomplete_documents(store) == []


@server
def test_a_removal_that_was_cut_short_is_finished_by_the_next_weaviate_writer(store, config):
    from ingest.store.weaviate.values import object_uuid

    document = make_document("/docs/a.pdf", "apple", "river")[0]
    store.put(*make_document("/docs/a.pdf", "apple", "river"))
    removal = {"kind": "removed", "key": document.id, "payload": ""}
    store._records.upsert(removal, object_uuid("removed", document.id))
    store._handles.records().data.delete_by_id(object_uuid("document", document.id))  # and here the kill
    assert (store.documents(), store.count(), total_objects(store)) == ([], 0, 2)
    open_store(config, create=True).close()
    assert total_objects(store) == 0


@server
def test_the_weaviate_schema_is_declared_in_full(store, config):
    client = store._handles.connection.client
    declared = client.collections.use(passages_name(config.library, 1)).config.get()
    kinds = {p.name: (p.data_type.value, p.tokenization.value if p.tokenization else None) for p in declared.properties}
    assert kinds["text"] == ("text", "word")
    assert kinds["document_id"] == kinds["document"] == kinds["chunk_id"] == ("text", "field")
    assert kinds["page"] == ("int", None)
    assert next(p for p in declared.properties if p.name == "page").index_range_filters
    assert list(declared.vector_config) == ["default"]
    assert declared.vector_config["default"].vectorizer.vectorizer.value == "none"
    assert declared.vector_config["default"].vector_index_config.distance_metric.value == "cosine"
    assert declared.replication_config.factor == 1
    store.put(*make_document("/docs/a.pdf", "apple", title="T"))
    after = client.collections.use(passages_name(config.library, 1)).config.get()
    assert [p.name for p in after.properties] == [p.name for p in declared.properties]


@server
def test_more_replicas_than_weaviate_has_nodes_are_refused_with_the_setting(config):
    with pytest.raises(StoreError, match="set weaviate_replicas to at most the number of its nodes"):
        open_store(replace(config, weaviate_replicas=3), create=True)
    assert config.library not in [one.name for one in libraries(config)]


@server
def test_weaviate_shards_are_given_at_creation(config):
    store = open_store(replace(config, weaviate_shards=3, weaviate_consistency="ALL"), create=True)
    store.set_identity(IDENTITY)
    store.put(*make_document("/docs/a.pdf", *["apple"] * 20))
    name = passages_name(config.library, 1)
    assert store._handles.connection.client.collections.use(name).config.get().sharding_config.desired_count == 3
    assert store.count() == 20
    store.close()


@server
def test_two_homes_share_one_weaviate_library(config, store, tmp_path):
    """Two machines: another process with a home folder of its own writes, this one reads."""
    program = (
        "import sys, json; from dataclasses import fields; from pathlib import Path\n"
        "from ingest.config import IngestConfig; from ingest.store.opening import open_store\n"
        "from tests.ingest.store_examples import IDENTITY, make_document\n"
        "url, grpc, key, name, home = sys.argv[1:]\n"
        "config = IngestConfig(home=Path(home), library=name, store='weaviate', weaviate_url=url, weaviate_grpc_url=grpc,\n"
        "    weaviate_api_key=key)\n"
        "store = open_store(config, create=True); store.set_identity(IDENTITY)\n"
        "store.put(*make_document('/elsewhere/b.pdf', 'a river there')); store.close()\n"
    )
    store.put(*make_document("/docs/a.pdf", "an apple here"))
    arguments = [config.weaviate_url, config.weaviate_grpc_url, config.weaviate_api_key, config.library]
    subprocess.run(
        [sys.executable, "-c", program, *arguments, str(tmp_path / "other")],
        check=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert [document.name for document in store.documents()] == ["a.pdf", "b.pdf"]
    assert store.search_text("river", limit=1)[0].chunk.text == "a river there"


@server
def test_a_copy_to_weaviate_that_was_cut_short_goes_on_and_comes_back_the_same(config, tmp_path):
    source = open_store(IngestConfig(home=tmp_path), create=True)
    source.set_identity(IDENTITY)
    for number in range(4):
        source.put(*make_document(f"/docs/{number}.pdf", *[f"apple {number} {i}" for i in range(5)], "plain"))
    target = open_store(config, create=True)

    def stop(now):
        if now.documents_done == 1:  # the second was just copied
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_library(source, target, progress=stop)
    assert len(target.documents()) == 2
    assert copy_library(source, target) == 24
    back = open_store(IngestConfig(home=tmp_path, library="back"), create=True)
    assert copy_library(target, back) == 24
    assert back.identity() == source.identity()
    assert back.documents() == source.documents()
    assert [chunk for chunk, _ in back.scan()] == [chunk for chunk, _ in source.scan()]
    np.testing.assert_array_equal([v for _, v in back.scan()], [v for _, v in source.scan()])
    for one in (source, target, back):
        one.close()


def test_an_address_of_the_grpc_side_is_shown_as_it_was_written():
    with pytest.raises(UsageError, match="WEAVIATE_GRPC_URL is 'box:a:b'"):
        parse_address("http://box", "box:a:b")


# tenants


@pytest.fixture
def tenants(config):
    """Two tenants with the same file, whose passages differ."""
    stores = []
    for tenant in ("team-a", "team_b"):
        store = open_store(replace(config, tenant=tenant), create=True)
        store.set_identity(IDENTITY)
        store.put(*make_document("/docs/plan.pdf", f"apple of {tenant}", f"river of {tenant}"))
        stores.append(store)
    yield stores
    for store in stores:
        store.close()


@server
def test_nothing_of_a_weaviate_tenant_leaks_into_another(tenants, config):
    ours, theirs = tenants
    document_id = ours.documents()[0].id
    assert document_id == theirs.documents()[0].id
    for store, name in ((ours, "team-a"), (theirs, "team_b")):
        found = [
            *(hit.chunk for hit in store.search_text("apple river team a b", limit=99)),
            *(hit.chunk for hit in store.search_vector(embed("apple river"), limit=99)),
            *(hit.chunk for hit in store.search_vector(embed("apple"), limit=99, documents=[document_id])),
            *store.page_chunks([(document_id, 1)])[document_id, 1],
            *(chunk for chunk, _ in store.scan()),
        ]
        assert len(found) == 10
        assert {chunk.text.split()[-1] for chunk in found} == {name}
        assert (store.count(), len(store.documents())) == (2, 1)
    ours.remove(document_id)
    assert ours.documents() == []
    assert theirs.count() == 2
    [summary] = [s for s in libraries(replace(config, tenant="team_b")) if s.name == config.library]
    assert (summary.documents, summary.passages) == (1, 2)


@pytest.fixture
def settings(config, monkeypatch):
    """The environment of a person who uses the server."""
    for name, value in {
        "QUIRE_HOME": str(config.home),
        "QUIRE_STORE": "weaviate",
        "WEAVIATE_URL": config.weaviate_url,
        "WEAVIATE_GRPC_URL": config.weaviate_grpc_url,
        "WEAVIATE_API_KEY": config.weaviate_api_key,
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@server
def test_the_share_of_a_tenant_is_copied_into_a_file_without_tenants(tenants, config, settings, capsys):
    from ingest.cli import main

    settings.setenv("QUIRE_TENANT", "team-a")
    words = ["docs", "copy", "--to", "sqlite", "--library", config.library, "--to-library", "kept"]
    assert main(words) == 0, capsys.readouterr().err
    kept = open_store(replace(config, store="sqlite", library="kept", tenant=""), create=False)
    try:
        assert {hit.chunk.text for hit in kept.search_text("apple river", limit=9)} == {
            "apple of team-a",
            "river of team-a",
        }
    finally:
        kept.close()


@server
def test_with_a_weaviate_library_go_the_copies_of_all_its_tenants(config, settings):
    from ingest.cli import main

    write_facts(config.home / "pdfs")
    for tenant in ("anna", "boris"):
        ingest([str(config.home / "pdfs")], replace(config, tenant=tenant))
    copies = config.home / "files"
    assert len(list(copies.glob("*.pdf"))) == 2
    assert main(["libraries", "remove", "--tenant", "anna", "--yes", config.library]) == 0
    assert len(list(copies.glob("*.pdf"))) == 2  # boris has the same bytes
    assert main(["libraries", "remove", "--yes", config.library]) == 0
    assert list(copies.glob("*.pdf")) == []


@server
def test_flags_may_stand_before_the_library_whose_tenants_are_meant(tenants, config, settings, capsys):
    from ingest.cli import main

    assert main(["libraries", "deactivate", "--tenant", "team-a", config.library]) == 0
    capsys.readouterr()
    assert main(["libraries", "tenants", "--json", config.library]) == 0
    assert json.loads(capsys.readouterr().out)["tenants"] == {"team-a": False, "team_b": True}


@server
@pytest.mark.parametrize("words", [["tenants"], ["deactivate", "--tenant", "a"], ["remove", "--tenant", "a", "--yes"]])
def test_the_tenants_of_no_weaviate_library_are_an_error_and_make_none(config, settings, capsys, words):
    from ingest.cli import main

    before = libraries(config)
    assert main(["libraries", words[0], "no such", *words[1:]]) == 1
    assert "there is no library 'no such'" in capsys.readouterr().err
    assert libraries(config) == before


def test_a_weaviate_tenant_is_embedded_anew_alone(tenants):
    ours, theirs = tenants
    other = replace(IDENTITY, embedder="short", dimension=2)
    ours.replace_vectors(other, iter([([chunk.id for chunk, _ in ours.scan()], np.ones((2, 2), dtype=np.float32))]))
    assert ours.identity() == other
    assert theirs.identity() == IDENTITY
    assert len(theirs.search_vector(embed("apple"), limit=9)) == 2
    assert len(ours.search_vector(np.ones(2, dtype=np.float32), limit=9)) == 2


@server
def test_a_weaviate_tenant_is_switched_off_comes_back_by_use_and_is_removed_alone(tenants, config):
    assert list_tenants(config, config.library) == {"team-a": True, "team_b": True}
    deactivate_tenant(config, config.library, "team-a")
    assert list_tenants(config, config.library) == {"team-a": False, "team_b": True}
    [summary] = [one for one in libraries(config) if one.name == config.library]
    assert (summary.documents, summary.passages, summary.note) == (1, 2, "tenants not in memory, not counted: 1")
    assert list_tenants(config, config.library) == {"team-a": False, "team_b": True}  # looking woke none
    assert tenants[0].count() == 2
    remove_library(replace(config, tenant="team-a"), config.library)
    assert list(list_tenants(config, config.library)) == ["team_b"]
    assert tenants[1].count() == 2
    with pytest.raises(StoreError, match="no tenant 'team-a'"):
        open_store(replace(config, tenant="team-a"), create=False)
    with pytest.raises(StoreError, match="no tenant 'team-a'"):
        remove_library(replace(config, tenant="team-a"), config.library)


@server
def test_removing_a_weaviate_library_as_a_tenant_removes_its_data_only(tenants, config):
    remove_library(replace(config, tenant="team-a"), config.library)
    assert list(list_tenants(config, config.library)) == ["team_b"]


@server
def test_a_weaviate_library_with_tenants_needs_one_and_one_without_takes_none(
    tenants, config, weaviate_server, tmp_path
):
    with pytest.raises(StoreError, match="--tenant NAME"):
        open_store(config, create=False)
    plain = replace(config, library=config.library + " plain")
    open_store(plain, create=True).close()
    with pytest.raises(StoreError, match="omit --tenant"):
        open_store(replace(plain, tenant="team-a"), create=False)
    assert list_tenants(plain, plain.library) is None


# the embedded server


@pytest.fixture
def embedded_config(tmp_path):
    offer = embedded.download_offer()
    if offer is not None:
        pytest.skip(f"the embedded Weaviate is not there: {offer}")
    return IngestConfig(home=tmp_path, store="weaviate-embedded")


def server_info(config):
    return json.loads((config.home / "weaviate" / "server.json").read_text())


OTHER = """
import sys, time
from pathlib import Path
from ingest.config import IngestConfig
from ingest.store.opening import open_store
from tests.ingest.store_examples import IDENTITY, make_varied
config = IngestConfig(home=Path(sys.argv[1]), store="weaviate-embedded")
store = open_store(config, create=True)
store.set_identity(IDENTITY)
there = {document.name for document in store.documents()}
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    if f"{number}.pdf" not in there:
        store.put(*make_varied(f"/docs/{number}.pdf", *[f"apple {number} {i} " + "filler " * 20 for i in range(600)]))
    print("put", number, flush=True)
print("done", flush=True)
sys.stdin.readline()
store.close()
"""


def start_other(config, first, end):
    return subprocess.Popen(
        [sys.executable, "-c", OTHER, str(config.home), str(first), str(end)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def finish(process):
    if process.poll() is None:
        process.kill()
    process.communicate()


@server
def test_the_embedded_weaviate_is_shared_guarded_and_stopped_soon_after_the_last_to_leave(embedded_config):
    config = replace(embedded_config, weaviate_idle_seconds=3)
    store = open_store(config, create=True)
    store.set_identity(IDENTITY)
    info = server_info(config)
    other = start_other(config, 0, 1)
    try:
        assert other.stdout.readline() == "put 0\n"
        assert server_info(config) == info
        assert [document.name for document in store.documents()] == ["0.pdf"]
        assert libraries(config)[0].bytes > 0
        assert (config.home / "weaviate" / "server.json").stat().st_mode & 0o777 == 0o600
        assert (config.home / "weaviate").stat().st_mode & 0o077 == 0
        listening = listening_addresses(info["server"])
        assert listening.pop(info["grpc"]) == "*"  # cannot be bound to loopback: the key guards it
        data_port = [port for port, address in listening.items() if address == "*"]
        assert len(data_port) <= 1  # the cluster's data port: its password guards it
        assert info["http"] in listening
        store.close()
        time.sleep(0.5)
        assert alive(info["server"])
        other.stdin.write("\n")
        other.stdin.close()
        other.wait(30)
        left = time.monotonic()
        wait_until(lambda: not alive(info["server"]))
        assert 0.5 < time.monotonic() - left < 8  # a slow exit of the other process is part of the idle time
        wait_until(lambda: not (config.home / "weaviate" / "server.json").exists())
    finally:
        for stream in (other.stdout, other.stderr):
            stream.close()
        if other.poll() is None:
            other.kill()
            other.wait()


@server
def test_a_waiting_embedded_weaviate_is_joined_by_the_next_command_and_goes_with_its_folder(embedded_config):
    config = replace(embedded_config, weaviate_idle_seconds=600)
    open_store(config, create=True).close()
    info = server_info(config)
    time.sleep(0.5)
    assert alive(info["server"])
    open_store(config, create=False).close()
    assert server_info(config) == info
    shutil.rmtree(config.home / "weaviate", ignore_errors=True)
    wait_until(lambda: not alive(info["server"]) and not alive(info["keeper"]))


def listening_addresses(pid):
    """Return {port: "*" or "loopback"} of the TCP ports a process listens on."""
    inodes = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        target = str(one.readlink()) if one.is_symlink() else ""
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].rsplit(":", 1)
                found[int(port, 16)] = "*" if set(address) == {"0"} else "loopback"
    return found


@server
def test_a_killed_user_of_the_embedded_weaviate_leaves_no_orphan(embedded_config):
    config = embedded_config
    other = start_other(config, 0, 50)
    try:
        assert other.stdout.readline() == "put 0\n"
        info = server_info(config)
        other.send_signal(signal.SIGKILL)
        other.wait()
        wait_until(lambda: not alive(info["server"]) and not alive(info["keeper"]))
    finally:
        finish(other)
    store = open_store(config, create=False)  # what was stored is there after the stop
    assert "0.pdf" in [document.name for document in store.documents()]
    assert store.count() == 600 * len(store.documents())
    store.close()
    wait_until(lambda: not (config.home / "weaviate" / "server.json").exists())


@server
def test_a_killed_supervisor_of_the_embedded_weaviate_does_not_block_the_next_start(embedded_config):
    config = embedded_config
    store = open_store(config, create=True)
    store.set_identity(IDENTITY)
    store.put(*make_document("/docs/a.pdf", "apple"))
    info = server_info(config)
    os.kill(info["keeper"], signal.SIGKILL)
    wait_until(lambda: not alive(info["server"]))  # Linux ends it with its supervisor
    started = time.monotonic()
    with pytest.raises(StoreUnreachable, match="it is started again: run the command again"):
        store.search_text("apple", limit=1)
    assert time.monotonic() - started < 5
    again = open_store(config, create=False)
    assert again.count() == 1
    again.close()
    store.close()
    wait_until(lambda: not (config.home / "weaviate" / "server.json").exists())


@server
def test_killing_the_weaviate_server_in_a_batch_is_one_error_within_seconds_and_resumable(embedded_config):
    config = embedded_config
    store = open_store(config, create=True)
    store.set_identity(IDENTITY)
    info = server_info(config)
    sizes = (200, 1500, 1500)
    documents = [make_varied(f"/docs/{n}.pdf", *[f"apple {n} {i}" for i in range(m)]) for n, m in enumerate(sizes)]
    store.put(*documents[0])
    killed = []

    def kill():
        killed.append(time.monotonic())
        os.kill(info["server"], signal.SIGKILL)

    timer = threading.Timer(0.2, kill)
    timer.start()
    with pytest.raises(StoreUnreachable, match="it continues from there") as caught:
        for document in documents[1:] * 5:
            store.put(*document)
    assert time.monotonic() - killed[0] < 10
    assert "\n" not in str(caught.value)
    timer.join()
    store.close()
    again = open_store(config, create=True)
    for document in documents:
        if again.count(document[0].id) != len(document[1]):
            again.put(*document)
    assert again.count() == total_objects(again) == sum(sizes)
    again.close()
    wait_until(lambda: not (config.home / "weaviate" / "server.json").exists())


@server
@pytest.mark.slow
def test_weaviate_survives_twenty_kills_of_server_and_client_with_equal_counts(embedded_config):
    survive_kills(embedded_config, most=20, documents=60)


def survive_kills(config, most, documents):
    rng, kills = random.Random(3), 0
    for turn in range(200):
        process = start_other(config, 0, documents)
        try:
            line = process.stdout.readline()
            assert line.startswith("put"), process.stderr.read()
            time.sleep(rng.uniform(0.0, 2.5))
            if kills < most:
                kills += 1
                if turn % 2:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                else:
                    os.kill(server_info(config)["server"], signal.SIGKILL)
                    started = time.monotonic()
                    process.wait(30)
                    assert time.monotonic() - started < 15
                    said = process.stderr.read()
                    assert "StoreUnreachable" in said, said[-2000:]
                continue
            _, said = process.communicate("\n", timeout=240)
            assert process.returncode == 0, said[-2000:]
            break
        finally:
            finish(process)
    assert kills == most
    store = open_store(config, create=True)
    assert {document.name for document in store.documents()} == {f"{n}.pdf" for n in range(documents)}
    assert [store.count(document.id) for document in store.documents()] == [600] * documents
    assert total_objects(store) == 600 * documents
    ids = [chunk.id for chunk, _ in store.scan()]
    assert len(ids) == len(set(ids)) == 600 * documents
    store.close()


# the binary


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_an_absent_binary_is_offered_with_size_and_source_and_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    offer = embedded.download_offer()
    assert "MB" in offer
    assert f"v{embedded.VERSION}" in offer
    with pytest.raises(StoreError, match="--yes"):
        open_store(IngestConfig(home=tmp_path / "home", store="weaviate-embedded"), create=True)
    assert not (tmp_path / "cache").exists()


def test_the_binary_is_fetched_whole_or_not_at_all(http_server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as made:
        for name, content in (("../evil", b"x"), ("weaviate", b"#!/bin/sh\necho hello\n")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    url = f"http://127.0.0.1:{http_server.server_port}/weaviate.tar.gz"
    monkeypatch.setattr(Meta, "answer", archive.getvalue()[:100])
    with pytest.raises(StoreError, match="download it by hand"):
        embedded.download_binary(url)
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.setattr(Meta, "answer", archive.getvalue())
    path = embedded.download_binary(url)
    assert subprocess.run([path], capture_output=True, text=True, check=True).stdout == "hello\n"
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [path.name]
    assert embedded.download_offer() is None
    assert not (tmp_path / "evil").exists()
