"""`quire ingest`, run as a person would."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.documents import write_facts, write_pdf
from tests.ingest.cli.conftest import ROOT, Quire


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
def test_ctrl_c_and_sigterm_stop_in_a_second_and_the_next_run_continues(
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
        assert time.monotonic() - started < 4.0  # a second, and three for a busy machine
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
    assert any("skipped quire's own copies" in notice for notice in again["notices"])


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


def test_control_characters_of_a_name_do_not_reach_the_terminal(quire: Quire, tmp_path: Path) -> None:
    file = write_pdf(tmp_path / "plain.pdf", ["Some text about nothing."])
    file = file.rename(tmp_path / "a\x1b[31mred.pdf")
    done = quire("ingest", str(file))
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
