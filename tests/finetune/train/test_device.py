"""What a run uses of this machine."""

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import ctypes, re, sys
from finetune.train.device import return_large_blocks

if sys.argv[1] == "with":
    return_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def block(size):
    place = libc.malloc(size)
    ctypes.memset(place, 1, size)
    return place

libc.free(block(30 << 20))  # from now on glibc keeps freed blocks of this size
blocks = []
for _ in range(20):
    blocks.append(block(8 << 20))
    block(500_000)  # stays, and holds the heap open behind each block
before = int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])
for place in blocks:
    libc.free(place)
print(before - int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_blocks_go_back_to_the_system() -> None:
    def freed_kb(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", _PROGRAM, mode], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert freed_kb("without") < 20 * 1024  # the reason for the setting
    assert freed_kb("with") > 150 * 1024
