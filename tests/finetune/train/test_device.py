"""What a run uses of this machine."""

import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from finetune.config import TrainConfig, build
from finetune.errors import MissingLibrary, UnknownTarget
from finetune.train.device import check_compiler, check_dtype, check_processes, machine_problems
from finetune.train.run import train
from quire import UsageError

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


def _settings(**values: object) -> TrainConfig:
    return build({"model": "m", "method": "lora", **values})


def test_the_peak_of_a_gpu_is_that_of_one_run(models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: DPO after SFT in one process reported the higher peak of both."""
    import torch

    begun: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: begun.append("peak"))
    with pytest.raises(UnknownTarget, match="Wqkv"):  # the first thing that is checked after it
        train(build({"model": models["phi"], "device": "cpu", "targets": ["Wqkv"]}), records=[])
    assert begun == ["peak"]


def test_two_visible_gpus_in_one_process_are_refused_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UsageError, match="2 GPUs are visible") as caught:
        check_processes(_settings())
    assert "CUDA_VISIBLE_DEVICES=0" in caught.value.hint and "torchrun --nproc_per_node 2" in caught.value.hint
    check_processes(_settings(device="cpu"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    check_processes(_settings())


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_sharded_training_is_refused_with_the_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(UsageError, match="has never run with it"):
        check_processes(_settings())


def test_a_gpu_without_a_c_compiler_is_refused_before_anything_loads(
    gpu_without_compiler: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: Triton fails at the first step, after the model was downloaded and loaded."""
    with pytest.raises(MissingLibrary, match="neither gcc nor clang is installed") as caught:
        train(_settings(model="nowhere"), records=[])
    assert "apt-get install gcc" in caught.value.hint and "set CC" in caught.value.hint
    check_compiler(_settings(device="cpu"))
    monkeypatch.setenv("CC", "/nowhere/cc")
    with pytest.raises(MissingLibrary, match="CC is '/nowhere/cc', which is not a program"):
        check_compiler(_settings())
    monkeypatch.setenv("CC", sys.executable)  # any program: only Triton runs it
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": "/nowhere"})
    with pytest.raises(MissingLibrary, match=r"no Python\.h in /nowhere"):
        check_compiler(_settings())


def test_all_problems_of_a_machine_are_named_at_once(
    gpu_without_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert ["GPUs are visible" in str(p) for p in machine_problems(_settings())] == [True, False]
    assert machine_problems(_settings(device="cpu")) == []


def test_full_training_in_fp16_is_refused_where_it_would_compute_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="fp16 with method full needs a GPU"):
        check_dtype(build({"method": "full", "dtype": "fp16"}))
    check_dtype(build({"method": "lora", "dtype": "fp16"}))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    check_dtype(build({"method": "full", "dtype": "fp16"}))
