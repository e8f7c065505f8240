"""The device, data type and processes that a run uses on this machine."""

import os
import sys
from typing import Any

from finetune.config import TrainConfig
from quire import UsageError

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def is_main_process() -> bool:
    """Return whether this process writes files and prints: the only process, or rank 0 under torchrun."""
    return int(os.environ.get("RANK", "0")) == 0


def process_count() -> int:
    """Return the number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def device_type(config: TrainConfig) -> str:
    """Return the device type that a run uses: `cuda` or `cpu`."""
    import torch

    return "cuda" if config.device == "auto" and torch.cuda.is_available() else "cpu"


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


def peak_memory_bytes() -> int:
    """Return the peak memory of the GPU, or of this process when there is none."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
