"""The progress line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import write_pdf
from tests.ingest.cli.conftest import ROOT, Quire


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
