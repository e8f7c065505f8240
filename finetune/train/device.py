"""The device, data type and processes that a run uses on this machine."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig
from finetune.errors import MissingLibrary
from quire import QuireError, UsageError

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def is_main_process() -> bool:
    """Return whether this process writes files and prints: the only process, or rank 0 under torchrun."""
    return int(os.environ.get("RANK", "0")) == 0


def process_count() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def device_type(config: TrainConfig) -> str:
    """Return the device type that a run uses: `cuda` or `cpu`."""
    if config.device != "auto":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def own_device(trained_on: str) -> str:
    """Return the device on which a finished run is compared: `cuda` if it was trained there and one is visible, else `cpu`."""
    if trained_on != "cuda":
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def check_machine(config: TrainConfig) -> None:
    """Raise what `check_processes`, `check_compiler` and `check_dtype` raise."""
    for check in _CHECKS:
        check(config)


def machine_problems(config: TrainConfig) -> list[QuireError]:
    """Return every error for which a run could not start on this machine."""
    found: list[QuireError] = []
    for check in _CHECKS:
        try:
            check(config)
        except QuireError as exc:
            found.append(exc)
    return found


def check_processes(config: TrainConfig) -> None:
    """Raise UsageError for FSDP and DeepSpeed, and for a single process that sees several GPUs.

    transformers would split each batch over those GPUs (DataParallel), which TRL refuses after the model is loaded.
    """
    for variable, name in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        if os.environ.get(variable, "").lower() in ("1", "true"):
            raise UsageError(
                f"{name} is asked for by {variable}, and quire has never run with it: a run could hang when it saves",
                "use torchrun: every GPU then holds the whole model, which QLoRA makes small",
            )
    if device_type(config) == "cpu" or "LOCAL_RANK" in os.environ:
        return
    import torch

    if (count := torch.cuda.device_count()) > 1:
        raise UsageError(
            f"{count} GPUs are visible to one process",
            "set CUDA_VISIBLE_DEVICES=0 to train on one, or start with `torchrun --nproc_per_node "
            f"{count} -m quire finetune ...` to train on all",
        )


def check_compiler(config: TrainConfig) -> None:
    """Raise MissingLibrary on a GPU without what Triton, which computes the loss there, builds its launchers with."""
    if (
        device_type(config) == "cpu" or importlib.util.find_spec("triton") is None
    ):  # without it, torch computes the loss
        return
    given = os.environ.get("CC")
    if not any(shutil.which(name) for name in ([given] if given else ["gcc", "clang"])):  # in the order of Triton 3.7
        looked = f"CC is {given!r}, which is not a program" if given else "neither gcc nor clang is installed"
        raise MissingLibrary(
            f"there is no C compiler, which Triton needs to compute the loss on a GPU: {looked}",
            "install one, such as with `apt-get install gcc`, or set CC to the path of one",
        )
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").is_file():
        raise MissingLibrary(
            f"there is no Python.h in {headers}, which Triton needs to compute the loss on a GPU",
            "install Python's headers, such as with `apt-get install python3-dev`",
        )


def check_dtype(config: TrainConfig) -> None:
    """Raise UsageError for full training in fp16 without a GPU: its weights are fp32, and would be computed in fp32."""
    if config.dtype == "fp16" and config.method == "full" and device_type(config) == "cpu":
        raise UsageError("dtype fp16 with method full needs a GPU, and there is none", "use --dtype fp32 or bf16")


_CHECKS = (check_processes, check_compiler, check_dtype)


def compute_dtype(config: TrainConfig) -> Any:
    """Return the torch dtype that a run computes in; `auto` means bf16 or fp16 on a GPU, fp32 on a CPU."""
    import torch

    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if config.dtype in named:
        return named[config.dtype]
    if device_type(config) == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def return_large_blocks() -> None:
    """Make the C library give freed blocks of a megabyte and more back to the system, where it is glibc.

    By itself it soon keeps blocks of up to 32 MB for later, in pieces that do not fit: ten steps of LoRA on a real 0.5B
    model at 512 tokens peaked at 4.6 GB, and with this at 3.6 GB, which is what the tensors take.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries do not have it, or ignore it
        mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def reset_peak_memory() -> None:
    """Let the GPU's peak begin here: a process may train several runs, and a process's own peak cannot be reset."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_bytes() -> int:
    """Return the peak memory of the GPU since `reset_peak_memory`, or of this process when there is none."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
