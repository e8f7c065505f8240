"""The peak memory of a program in a process of its own, on Linux."""

import os
import subprocess
import sys
from pathlib import Path

# not ru_maxrss: that of a new process begins with the peak of the one that started it
_READ = """
from pathlib import Path

status = Path("/proc/self/status").read_text()
print(*(1024 * int(status.split(f"{name}:")[1].split()[0]) for name in ("VmHWM", "VmRSS")))
"""


def peak_of(code: str, *arguments: str) -> tuple[int, int]:
    """Run code with arguments; return the bytes that its process had at its peak and has at its end, mapped files included."""
    done = subprocess.run(
        [sys.executable, "-c", code + _READ, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    peak, end = done.stdout.split()[-2:]
    return int(peak), int(end)
