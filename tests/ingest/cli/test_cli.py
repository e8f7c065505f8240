import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.documents import write_facts, write_pdf
from tests.rights import bound

ROOT = Path(__file__).parents[3]


class Quire:
    """Runs the command as a person would, in a home folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("QUIRE_", "WEAVIATE_"))},
            "QUIRE_HOME": str(folder / "home"),
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "quire", *words],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, error = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, error)


@pytest.fixture
def quire(tmp_path: Path) -> Quire:
    return Quire(tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Quire:
    """A library of two documents that the tests below only read."""
    folder = tmp_path_factory.mktemp("filled")
    quire = Quire(folder)
    write_facts(folder / "pdfs")
    assert quire("ingest", str(folder / "pdfs")).returncode == 0
    return quire


def test_json_is_one_object_with_every_key_of_the_contract(quire: Quire, tmp_path: Path) -> None:
    write_facts(tmp_path / "pdfs")
    (tmp_path / "pdfs" / "page.pdf").write_text("<html><title>Sign in</title></html>")
    done = quire("ingest", str(tmp_path / "pdfs"), "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert set(report) >= {"library", "added", "unchanged", "replaced", "failed", "seconds"}
    assert [entry["document"] for entry in report["added"]] == ["bridges.pdf", "whales.pdf"]
    assert all({"document", "pages", "chunks"} <= set(entry) for entry in report["added"])
    [failed] = report["failed"]
    assert set(failed) == {"document", "reason", "hint"}
    assert "HTML" in failed["reason"]


def test_each_awkward_argument_gets_one_clear_line_and_exit_1(quire: Quire, tmp_path: Path) -> None:
    whole = write_facts(tmp_path / "pdfs")[0].read_bytes()
    (tmp_path / "zero.pdf").write_bytes(b"")
    (tmp_path / "half.pdf").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pdf").symlink_to(ROOT / "pyproject.toml")
    (tmp_path / "none").mkdir()
    arguments = [str(tmp_path / name) for name in ("zero.pdf", "half.pdf", "text.pdf", "none")]
    arguments.append("http://127.0.0.1:9/a.pdf")
    done = quire("ingest", *arguments)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert len(lines) == 5
    assert "Traceback" not in done.stdout + done.stderr
    for argument in arguments:
        assert sum(argument in line for line in lines) == 1, argument
    assert done.stdout.count("fix: ") == 5


def test_flipped_bytes_cost_at_most_their_file(quire: Quire, tmp_path: Path) -> None:
    import random

    good, other = write_facts(tmp_path / "pdfs")
    data = bytearray(other.read_bytes())
    for place in random.Random(7).sample(range(len(data)), 400):
        data[place] ^= 0xFF
    other.write_bytes(data)
    done = quire("ingest", str(tmp_path / "pdfs"), "--json")
    report = json.loads(done.stdout)
    names = [Path(entry["document"]).name for entry in report["added"] + report["failed"]]
    assert sorted(names) == sorted([good.name, other.name])
    assert good.name in [entry["document"] for entry in report["added"]]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_a_polite_kill_stop_in_a_second_and_the_next_run_goes_on(
    quire: Quire, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    page = "The value of item {0} is {1} and nobody disputes it, whatever the weather is like. " * 20
    write_pdf(tmp_path / "many" / "a.pdf", [page.format(1, 7)])
    write_pdf(tmp_path / "many" / "b.pdf", [page.format(i, i * 7) for i in range(2, 20)])
    with quire.start("ingest", str(tmp_path / "many")) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "embedding" in line and "b.pdf" in line:
                break
        process.send_signal(number)
        started = time.monotonic()
        process.wait(timeout=20)
        assert time.monotonic() - started < 2.0  # a second, and one for a busy machine
        assert process.returncode == code
        assert "run the same command again" in process.stderr.read()
    assert list((tmp_path / "home" / "files").glob("incoming-*")) == []
    done = quire("ingest", str(tmp_path / "many"), "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["unchanged"] == ["a.pdf"]
    assert [entry["document"] for entry in report["added"]] == ["b.pdf"]


def test_a_folder_that_holds_a_home_folder_gives_its_own_pdfs_and_not_the_copies(quire: Quire, tmp_path: Path) -> None:
    write_facts(tmp_path / "pdfs")
    first = json.loads(quire("ingest", str(tmp_path / "pdfs"), "--json").stdout)
    again = json.loads(quire("ingest", str(tmp_path), "--json").stdout)  # holds home/files with a copy of each
    assert len(first["added"]) == 2
    assert (again["added"], again["failed"], len(again["unchanged"])) == ([], [], 2)
    assert any("copies that quire keeps itself" in notice for notice in again["notices"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["docs", "show", "whales.pdf", "--page", "99"], 1, "it has 2 pages"),
        (["docs", "show", "whales.pdf", "--page", "0", "--json"], 1, "has no page 0"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_way_out(filled: Quire, words: list[str], code: int, said: str) -> None:
    done = filled(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_the_moving_line_fits_a_narrow_terminal_and_a_dumb_one_gets_plain_lines(quire: Quire, tmp_path: Path) -> None:
    import pty  # not on Windows

    name = "a-report-with-quite-a-long-name-that-would-break-the-line.pdf"
    write_pdf(tmp_path / name, ["The pump is serviced every 500 hours."])
    for terminal, library in (("xterm", "one"), ("dumb", "two")):
        ours, theirs = pty.openpty()
        environ = quire.environ | {"TERM": terminal, "COLUMNS": "40"}
        command = [sys.executable, "-m", "quire", "ingest", str(tmp_path / name), "--library", library]
        done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=theirs, check=True)
        os.close(theirs)
        shown = os.read(ours, 65536).decode()
        os.close(ours)
        assert done.returncode == 0
        if terminal == "dumb":
            assert "\x1b" not in shown
            assert name in shown
        else:
            assert "\x1b[K[1/1]" in shown
            assert max(len(line) for line in shown.replace("\n", "\r").split("\r")) < 40 + len("\x1b[K")


def test_a_home_that_may_only_be_read_is_listed_asked_and_talked_with(filled: Quire, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(filled.environ["QUIRE_HOME"], home)
    shutil.rmtree(home / "models")  # the embedding graph can be neither found nor kept there
    for path in (home, *home.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)

    def quire(*words: str) -> subprocess.CompletedProcess[str]:
        environ = filled.environ | {"QUIRE_HOME": str(home), "QUIRE_MODEL": "quotes"}
        command = [*bound(), sys.executable, "-m", "quire", *words]
        return subprocess.run(command, cwd=ROOT, env=environ, input="", capture_output=True, text=True)

    try:
        assert "whales.pdf" in quire("docs", "list").stdout
        answer = json.loads(quire("ask", "How much does the heart of a blue whale weigh?", "--json").stdout)
        assert ("whales.pdf", 1) in [(c["document"], c["page"]) for c in answer["citations"]]
        assert quire("chat", "--no-keep").returncode == 0
        done = quire("chat")
        assert (done.returncode, "--no-keep" in done.stderr) == (1, True)
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.parametrize("words", [["--json"], ["--json", "list"], ["list", "--json"]])
def test_documents_are_listed_as_json_wherever_the_flag_stands(filled: Quire, words: list[str]) -> None:
    done = filled("docs", "--library", "default", *words)
    assert len(json.loads(done.stdout)["documents"]) == 2


@pytest.mark.parametrize("words", [["docs", "list"], ["search", "x"], ["libraries", "remove"]])
def test_a_name_that_no_library_can_have_is_wrong_usage(quire: Quire, words: list[str]) -> None:
    done = quire(*words, *(["x" * 201, "--yes"] if words[-1] == "remove" else ["--library", "x" * 201]))
    assert done.returncode == 2
    assert "1 to 200 characters" in done.stderr


@pytest.mark.skipif(not Path("/dev/shm").is_dir() or os.geteuid() != 0, reason="needs a small file system to fill")
def test_a_full_disk_is_one_clear_line_and_leaves_the_library_whole(quire: Quire, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        quire.environ["QUIRE_HOME"] = str(small / "home")
        write_facts(tmp_path / "pdfs")
        assert quire("ingest", str(tmp_path / "pdfs")).returncode == 0
        free = shutil.disk_usage(small).free
        (small / "ballast").write_bytes(b"x" * (free - 8192))
        big = write_pdf(tmp_path / "big.pdf", [f"Item {i} costs {i * 3} dollars. " * 60 for i in range(60)])
        done = quire("ingest", str(big))
        assert done.returncode == 1
        assert "disk" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        (small / "ballast").unlink()
        assert [d["name"] for d in json.loads(quire("docs", "list", "--json").stdout)["documents"]] == [
            "bridges.pdf",
            "whales.pdf",
        ]
        assert quire("ingest", str(big)).returncode == 0
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_docs_list_shows_every_document_and_the_sum(filled: Quire) -> None:
    done = filled("docs", "list")
    assert done.returncode == 0
    assert "bridges.pdf" in done.stdout
    assert "2 documents, 4 pages, 4 passages" in done.stdout


def test_docs_without_an_action_lists(filled: Quire) -> None:
    assert filled("docs").stdout == filled("docs", "list").stdout


def test_docs_show_prints_the_record_and_a_pages_passages(filled: Quire) -> None:
    assert "sha256" in filled("docs", "show", "whales.pdf").stdout
    assert "songs that last up to twenty minutes" in filled("docs", "show", "whales.pdf", "--page", "2").stdout
    assert filled("docs", "show", "whales.pdf", "--page", "9").returncode == 1


def test_an_unknown_document_is_named_with_the_command_that_lists_them(filled: Quire) -> None:
    done = filled("docs", "show", "sharks.pdf")
    assert done.returncode == 1
    assert "error: the library has no document 'sharks.pdf'" in done.stderr
    assert "quire docs list" in done.stderr


def test_nothing_is_removed_unasked(filled: Quire) -> None:
    done = filled("docs", "remove", "whales.pdf")
    assert done.returncode == 2
    assert "add --yes" in done.stderr
    assert "whales.pdf" in filled("docs", "list").stdout


def test_libraries_are_listed_and_removed_with_their_copies(quire: Quire, tmp_path: Path) -> None:
    for library in ("one", "two"):
        write_facts(tmp_path / library)
        quire("ingest", str(tmp_path / library), "--library", library)
    listed = json.loads(quire("libraries", "--json").stdout)["libraries"]
    assert [(entry["name"], entry["documents"]) for entry in listed] == [("one", 2), ("two", 2)]
    assert quire("libraries", "remove", "--yes", "one").returncode == 0
    assert [e["name"] for e in json.loads(quire("libraries", "--json").stdout)["libraries"]] == ["two"]
    assert quire("libraries", "remove", "one", "--yes").returncode == 1


def test_a_copy_says_where_it_stands_and_is_never_made_onto_itself(filled: Quire) -> None:
    done = filled("docs", "copy", "--to", "sqlite", "--to-library", "other")
    assert done.stdout == "copied 4 passages to library 'other' in sqlite\n"
    assert done.stderr.splitlines()[0].startswith("[1/2] copying bridges.pdf")
    assert filled("libraries", "remove", "other", "--yes").returncode == 0
    itself = filled("docs", "copy", "--to", "sqlite")
    assert itself.returncode == 2
    assert "name another with --to-library" in itself.stderr


def test_a_library_that_is_not_there_is_an_error_with_the_way_to_make_it(quire: Quire) -> None:
    done = quire("docs", "list", "--library", "nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "quire ingest" in done.stderr


def test_a_wrong_setting_is_wrong_usage(quire: Quire, tmp_path: Path) -> None:
    quire.environ["QUIRE_STORE"] = "oracle"
    done = quire("docs", "list")
    assert done.returncode == 2
    assert "use one of sqlite, weaviate" in done.stderr


def test_control_characters_of_a_name_do_not_reach_the_terminal(quire: Quire, tmp_path: Path) -> None:
    file = write_pdf(tmp_path / "plain.pdf", ["Some text about nothing."])
    file = file.rename(tmp_path / "a\x1b[31mred.pdf")
    done = quire("ingest", str(file))
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr


def test_a_tenant_of_the_embedded_store_is_refused_and_not_ignored(filled: Quire) -> None:
    for words in (["docs", "list"], ["ingest", "pyproject.toml"], ["libraries", "remove", "default", "--yes"]):
        done = filled(*words, "--tenant", "sales")
        assert done.returncode == 2, done.stderr
        assert "the embedded store has no tenants" in done.stderr


def test_tenants_are_asked_of_weaviate_only(filled: Quire) -> None:
    assert filled("libraries", "tenants", "default").returncode == 2
    assert filled("libraries", "deactivate", "default", "--tenant", "sales").returncode == 2
    assert filled("libraries", "tenants").returncode == 2
