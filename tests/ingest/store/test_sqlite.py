"""What only the SQLite store promises: files, kills, full disks, damage, and speed of change."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.config import IngestConfig
from ingest.errors import SchemaTooNew, StoreError
from ingest.store.opening import libraries, open_store, remove_library
from ingest.store.sqlite.libraries import library_path
from ingest.store.sqlite.schema import SCHEMA_VERSION
from ingest.store.sqlite.store import index_folder
from ingest.store.sqlite.vectors import BLOCK, Matrix
from quire import UsageError
from tests.ingest.store_examples import IDENTITY, embed, make_document
from tests.rights import bound

ROOT = Path(__file__).parents[3]


@pytest.fixture
def config(tmp_path):
    return IngestConfig(home=tmp_path)


@pytest.fixture
def store(config):
    store = open_store(config, create=True)
    store.set_identity(IDENTITY)
    yield store
    store.close()


def big_document(number, passages=300):
    return make_document(f"/docs/big{number}.pdf", *[f"apple {number} {i} " + "filler " * 60 for i in range(passages)])


# files


NAME_CHARACTERS = st.characters(exclude_categories=("C", "Z"), include_characters=" ")


def library_names(most):
    return st.text(NAME_CHARACTERS, min_size=1, max_size=most).filter(lambda name: bool(name.strip()))


@given(library_names(200))
def test_no_library_name_leaves_the_folder(name):
    folder = Path("/home/x/libraries")
    path = library_path(Path("/home/x"), name)
    assert path.parent == folder
    assert path.suffix == ".sqlite"
    assert len(path.name.encode()) < 255
    assert Path(os.path.normpath(path)) == path


@given(library_names(40), library_names(40))
@settings(max_examples=300)
def test_two_names_never_share_a_file_even_where_case_does_not_count(one, other):
    if one != other:
        paths = [library_path(Path("/h"), name).name.lower() for name in (one, other)]
        assert paths[0] != paths[1]


@pytest.mark.parametrize("name", ["", " ", "a\0b", "a\nb", "\x1b[31m", "\udcff", "x" * 201])
def test_a_name_that_cannot_be_is_refused(config, name):
    with pytest.raises(UsageError, match="1 to 200 printable characters"):
        open_store(config, library=name, create=True)


def test_the_files_are_readable_by_their_owner_only(config, store):
    store.put(*big_document(1, 5))
    store.search_text("apple", limit=1)
    path = library_path(config.home, "default")
    beside = [p for p in path.parent.iterdir() if p.name.startswith("default.sqlite")]
    assert {p.name for p in beside} >= {"default.sqlite", "default.sqlite-wal"}
    assert {p.stat().st_mode & 0o077 for p in beside} == {0}
    assert index_folder(path).stat().st_mode & 0o077 == 0


def test_a_renamed_file_is_not_taken_for_another_library(config, store):
    store.close()
    path = library_path(config.home, "default")
    path.rename(library_path(config.home, "other"))
    with pytest.raises(StoreError, match="rename the file back to its old name"):
        open_store(config, library="other", create=False)


def test_a_newer_schema_is_refused_by_name(config, store):
    store.close()
    with sqlite3.connect(library_path(config.home, "default")) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(SchemaTooNew, match="newer version"):
        open_store(config, create=False)
    assert "newer version" in libraries(config)[0].problem


def test_a_file_that_is_no_library_is_one_clear_error_and_is_listed_with_it(config):
    path = library_path(config.home, "default")
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 500)
    with pytest.raises(StoreError, match="damaged"):
        open_store(config, create=False)
    with pytest.raises(StoreError, match="damaged"):
        open_store(config, create=True)
    assert path.read_bytes() == b"not a database " * 500
    [summary] = libraries(config)
    assert "damaged" in summary.problem
    remove_library(config, "default")
    assert not path.exists()


def test_a_creation_that_was_cut_short_is_finished_by_the_next(config):
    path = library_path(config.home, "default")
    path.parent.mkdir()
    path.touch()
    with pytest.raises(StoreError, match="no library"):
        open_store(config, create=False)
    assert libraries(config) == []
    open_store(config, create=True).close()
    assert [summary.name for summary in libraries(config)] == ["default"]


def test_removing_documents_gives_their_disk_back(config, store):
    for number in range(6):
        store.put(*big_document(number))
    store.search_text("apple", limit=1)
    full = libraries(config)[0].bytes
    for document in store.documents()[1:]:
        store.remove(document.id)
    store.search_text("apple", limit=1)
    assert libraries(config)[0].bytes < full / 3
    assert store.count() == 300


def test_a_removed_document_leaves_no_text_on_the_disk(config, store):
    store.put(*make_document("/docs/secret.pdf", "the password is xyzzyplugh " * 8))
    store.put(*make_document("/docs/other.pdf", "apple"))
    store.search_text("xyzzyplugh", limit=1)
    store.remove(store.documents()[1].id)
    assert store.search_text("xyzzyplugh", limit=1) == []
    store.close()
    files = [p for p in config.home.rglob("*") if p.is_file()]
    assert files
    assert [p for p in files if b"xyzzyplugh" in p.read_bytes()] == []


def test_a_library_removed_while_open_is_not_written_into_the_void(config, store):
    remove_library(config, "default")
    with pytest.raises(StoreError, match="removed while it was open"):
        store.put(*big_document(1, 2))
    assert libraries(config) == []


def test_a_removed_library_does_not_come_back_with_the_next_of_its_name(config, store):
    store.put(*make_document("/docs/a.pdf", "apple"))
    store.search_text("apple", limit=1)
    store.close()
    remove_library(config, "default")
    again = open_store(config, create=True)
    again.set_identity(IDENTITY)
    again.put(*make_document("/docs/b.pdf", "river"))
    assert again.search_text("apple", limit=5) == []
    assert len(again.search_text("river", limit=5)) == 1
    again.close()


# the derived text index


def test_the_text_index_is_made_anew_when_it_is_gone_or_damaged(config, store):
    store.put(*make_document("/docs/a.pdf", "apple", "river"))
    store.close()
    folder = index_folder(library_path(config.home, "default"))
    for harm in (
        lambda: shutil.rmtree(folder),
        lambda: (folder / "meta.json").write_text("{}"),
        lambda: (folder / "meta.json").unlink(),
        lambda: [p.write_bytes(p.read_bytes()[:7]) for p in folder.iterdir() if p.suffix != ".json"],
    ):
        assert folder.is_dir()
        harm()
        again = open_store(config, create=False)
        assert len(again.search_text("apple", limit=5)) == 1
        again.close()


def test_the_text_index_is_up_to_date_when_a_writing_store_is_closed(config, store):
    store.put(*make_document("/docs/a.pdf", "apple"))
    folder = index_folder(library_path(config.home, "default"))
    assert not folder.exists()
    store.close()
    before = sorted((p.name, p.stat().st_mtime_ns) for p in folder.iterdir() if not p.name.startswith("."))
    again = open_store(config, create=False)
    assert len(again.search_text("apple", limit=5)) == 1
    again.close()
    assert sorted((p.name, p.stat().st_mtime_ns) for p in folder.iterdir() if not p.name.startswith(".")) == before


def test_a_folder_that_cannot_hold_the_index_still_answers(config, store):
    store.put(*make_document("/docs/a.pdf", "apple"))
    folder = index_folder(library_path(config.home, "default"))
    folder.write_text("a file where the folder should be")
    assert len(store.search_text("apple", limit=5)) == 1
    store.put(*make_document("/docs/b.pdf", "apple"))
    assert len(store.search_text("apple", limit=5)) == 2


def test_an_index_older_than_the_file_is_brought_in_step(config, store):
    store.put(*make_document("/docs/a.pdf", "apple"))
    store.search_text("apple", limit=1)
    folder = index_folder(library_path(config.home, "default"))
    shutil.copytree(folder, config.home / "kept")
    store.put(*make_document("/docs/b.pdf", "river"))
    store.remove(store.documents()[0].id)
    store.close()
    shutil.rmtree(folder)
    shutil.move(config.home / "kept", folder)
    again = open_store(config, create=False)
    assert again.search_text("apple", limit=5) == []
    assert len(again.search_text("river", limit=5)) == 1
    again.close()


# vectors in memory


def test_the_matrix_finds_what_a_plain_loop_finds_after_any_changes():
    rng = np.random.default_rng(1)
    matrix, rows = Matrix(6), {}
    for step in range(120):
        key = int(rng.integers(0, 12))
        matrix.discard([key])
        rows.pop(key, None)
        if step % 3:
            rows[key] = rng.normal(size=(int(rng.integers(0, 900)), 6)).astype(np.float16)
            matrix.append(key, step, rows[key])
        snapshot, query = matrix.snapshot(), rng.normal(size=6).astype(np.float32)
        for chosen in (None, [1, 5, 7, 99], []):
            expected = sorted(
                (
                    (-float(score), one, place)
                    for one, vectors in rows.items()
                    if chosen is None or one in chosen
                    for place, score in enumerate(vectors.astype(np.float32) @ query)
                )
            )[:10]
            found = snapshot.search(query, 10, chosen)
            assert [(k, p) for k, p, _ in found] == [(k, p) for _, k, p in expected]
            np.testing.assert_allclose([-s for *_, s in found], [s for s, *_ in expected], rtol=1e-4, atol=1e-5)


def test_a_snapshot_does_not_change_with_the_matrix():
    matrix = Matrix(2)
    matrix.append(1, 1, np.array([[1.0, 0.0]]))
    before = matrix.snapshot()
    matrix.append(2, 2, np.array([[1.0, 0.0]]))
    matrix.discard([1])
    assert [row[:2] for row in before.search(np.array([1, 0], dtype=np.float32), 9, None)] == [(1, 0)]
    assert [row[:2] for row in matrix.snapshot().search(np.array([1, 0], dtype=np.float32), 9, None)] == [(2, 0)]


def test_removed_rows_are_given_back_once_they_are_a_quarter():
    matrix = Matrix(2)
    for key in range(8):
        matrix.append(key, 1, np.ones((BLOCK // 2, 2)))
    matrix.discard(range(6))
    assert sum(matrix._used) == BLOCK
    assert sorted(matrix.versions()) == [6, 7]


def test_equal_scores_come_in_a_fixed_order(store):
    store.put(*make_document("/docs/a.pdf", *["apple"] * 9))
    hits = store.search_vector(embed("apple"), limit=4)
    assert [hit.chunk.start for hit in hits] == [0, 100, 0, 100]
    assert [hit.chunk.page for hit in hits] == [1, 1, 2, 2]


# harm from outside


WRITER = """
import sys
from pathlib import Path
from ingest.config import IngestConfig
from ingest.store.opening import open_store
from tests.ingest.store_examples import IDENTITY, make_document
store = open_store(IngestConfig(home=Path(sys.argv[1])), create=True)
store.set_identity(IDENTITY)
for number in range(int(sys.argv[2]), 10**6):
    name = number % 40  # documents are replaced, too
    texts = [f"apple {name} version {number} passage {i} " + "filler " * 40 for i in range(60)]
    store.put(*make_document(f"/docs/{name}.pdf", *texts, version=str(number)))
    if number % 7 == 6:
        store.remove(make_document(f"/docs/{(name + 3) % 40}.pdf")[0].id) if any(
            d.name == f"{(name + 3) % 40}.pdf" for d in store.documents()) else None
        print("removed", (name + 3) % 40, flush=True)
    print("put", name, number, flush=True)
    if number % 5 == 0:
        store.search_text("apple", limit=3)
"""


def check_whole(store, acknowledged):
    """Assert that every acknowledged document is there, whole, once; return the highest version."""
    documents = {document.name: document for document in store.documents()}
    highest = -1
    for name, number in acknowledged.items():
        document = documents[f"{name}.pdf"]
        chunks = [chunk for chunk, _ in store.scan(document.id)]
        versions = {int(chunk.text.split()[3]) for chunk in chunks}
        assert len(chunks) == 60
        assert len({chunk.id for chunk in chunks}) == 60
        assert len(versions) == 1
        assert min(versions) >= number  # the kill may have come between commit and acknowledgement
        highest = max(highest, *versions)
    assert store.count() == sum(store.count(d.id) for d in documents.values()) == 60 * len(documents)
    assert len(store.search_text("apple", limit=10**4)) == store.count()
    assert len(store.search_vector(embed("apple"), limit=10**4)) == store.count()
    return highest


def kill_writers(config, kills, seed):
    rng, acknowledged, number = random.Random(seed), {}, 0
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(config.home), str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            line = process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.4))
        finally:
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read()
            process.stdout.close()
            process.wait()
        assert process.returncode == -signal.SIGKILL
        for what, name, *version in (text.split() for text in (line + rest).splitlines(keepends=False) if text):
            if what == "put" and version:
                acknowledged[int(name)] = int(version[0])
            elif what == "removed":
                acknowledged.pop(int(name), None)
        # what was begun but not acknowledged may be there or not: both are right
        number = max(acknowledged.values(), default=0) + 1
        store = open_store(config, create=False)
        possible = {int(d.name.removesuffix(".pdf")) for d in store.documents()}
        for name in list(acknowledged):
            if name not in possible and name == (number % 40 + 3) % 40 and number % 7 == 6:
                del acknowledged[name]  # its removal was committed, the word of it was lost
        number = max(number, check_whole(store, acknowledged) + 1)
        store.close()
    return number


def test_kill_9_at_random_moments_loses_no_acknowledged_document_and_doubles_none(config):
    assert kill_writers(config, kills=3, seed=4) > 3


@pytest.mark.slow
def test_kill_9_thirty_times_loses_no_acknowledged_document(config):
    assert kill_writers(config, kills=30, seed=5) > 30


def test_another_process_may_ask_while_one_writes(config):
    open_store(config, create=True).close()
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(config.home), "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        process.stdout.readline()
        store = open_store(config, create=False)
        counts, deadline = [], time.monotonic() + 30
        while len(counts) < 10 or (counts[-1] == counts[0] and time.monotonic() < deadline):
            hits = store.search_vector(embed("apple"), limit=10**4)
            words = store.search_text("apple", limit=10**4)
            assert len(hits) % 60 == 0
            assert len(words) % 60 == 0
            counts.append(len(hits))
        assert counts[-1] > counts[0]
        store.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from ingest.config import IngestConfig
from ingest.errors import StoreError
from ingest.store.opening import open_store
from tests.ingest.store_examples import make_document
store = open_store(IngestConfig(home=Path(sys.argv[1])), create=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
texts = [f"river {i} " + "filler " * 60 for i in range(20000)]
try:
    store.put(*make_document("/docs/huge.pdf", *texts))
except StoreError as exc:
    print(exc)
    print(len(store.search_text("apple", limit=5)), store.count())
store.close()
"""


def test_a_full_disk_is_one_clear_error_and_the_library_is_unharmed(config, store):
    store.put(*make_document("/docs/a.pdf", "apple", "river"))
    store.close()
    for limit in (300_000, 2_000_000):
        ended = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(config.home), str(limit)],
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert ended.stderr == ""
        message, counts = ended.stdout.splitlines()
        assert "free some disk space" in message
        assert counts == "1 2"
    again = open_store(config, create=False)
    assert [document.name for document in again.documents()] == ["a.pdf"]
    assert len(again.search_text("river", limit=5)) == 1
    again.put(*make_document("/docs/b.pdf", "apple"))
    assert again.count() == 3
    again.close()


READER = """
import sys
from pathlib import Path
from ingest.config import IngestConfig
from ingest.errors import StoreError
from ingest.store.opening import libraries, open_store
from tests.ingest.store_examples import embed, make_document
config = IngestConfig(home=Path(sys.argv[1]))
store = open_store(config, create=False)
try:
    store.put(*make_document("/docs/z.pdf", "apple"))
except StoreError as exc:
    print(exc, flush=True)
for _ in sys.stdin:
    found = store.search_text("river", limit=5), store.search_vector(embed("river"), limit=5)
    print(*(len({h.chunk.document_id for h in hits}) for hits in found), libraries(config)[0].documents, flush=True)
"""


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o500, 0o600), (0o500, 0o400), (0o700, 0o400)])
def test_a_library_that_may_only_be_read_is_searched_and_says_so_when_written(config, store, folder_mode, file_mode):
    store.put(*make_document("/docs/a.pdf", "apple", "river"))
    store.close()
    path = library_path(config.home, "default")
    path.chmod(file_mode)
    path.parent.chmod(folder_mode)
    reader = subprocess.Popen(
        [*bound(), sys.executable, "-c", READER, str(config.home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    said = reader.stdout.readline()
    assert "cannot be written" in said
    assert "get write permission" in said
    print(file=reader.stdin, flush=True)
    assert reader.stdout.readline() == "1 1 1\n"
    # what the owner adds meanwhile is seen, while the owner has the file open and afterwards
    path.parent.chmod(0o700)
    path.chmod(0o600)
    with open_store(config, create=False) as owner:
        owner.put(*make_document("/docs/b.pdf", "river"))
        print(file=reader.stdin, flush=True)
        assert reader.stdout.readline() == "2 2 2\n"
        owner.put(*make_document("/docs/c.pdf", "river"))
    path.chmod(file_mode)
    path.parent.chmod(folder_mode)
    print(file=reader.stdin, flush=True)
    assert reader.stdout.readline() == "3 3 3\n"
    reader.communicate(timeout=60)
    path.parent.chmod(0o700)


def test_changes_that_a_reader_could_not_see_are_told(config, store):
    store.put(*make_document("/docs/a.pdf", "apple"))
    path = library_path(config.home, "default")
    copy = library_path(config.home / "copy", "default")
    copy.parent.mkdir(parents=True)
    for suffix in ("", "-wal"):  # as a backup of a library in use may be: with its log, without the shared memory
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    copy.parent.chmod(0o500)
    ended = subprocess.run(
        [*bound(), sys.executable, "-c", READER, str(config.home / "copy")],
        input="\n",
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    copy.parent.chmod(0o700)
    assert "has changes waiting in default.sqlite-wal" in ended.stderr


def test_two_openings_never_both_write_one_half(config, store):
    other = open_store(config, create=False)
    with pytest.raises(ZeroDivisionError), store._changing() as connection:
        connection.execute("DELETE FROM library WHERE name = 'identity'")
        raise ZeroDivisionError
    other.put(*make_document("/docs/a.pdf", "apple"))
    assert other.identity() == IDENTITY
    other.close()
