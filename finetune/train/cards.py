"""Cards to plan for: known GPUs by name, and the GPU or the memory of this machine."""

import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from quire import UsageError

GB = 2**30


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU, or a CPU's memory: name, size in GB, peak TFLOP/s in 16 bits (0: unknown), whether it has bf16, is a CPU."""

    name: str
    memory_gb: float
    tflops: float = 0.0
    bf16: bool = True
    is_cpu: bool = False


@cache
def cards() -> dict[str, Card]:
    """Return the known cards by name."""
    rows = json.loads((Path(__file__).parent / "cards.json").read_text(encoding="utf-8"))
    return {
        name: Card(name, float(row["memory_gb"]), float(row["tflops"]), bool(row["bf16"])) for name, row in rows.items()
    }


def named_card(name: str) -> Card:
    """Return a known card; raises UsageError with the known names."""
    if found := cards().get(name.lower().replace(" ", "").removeprefix("nvidia")):
        return found
    raise UsageError(f"unknown card {name!r}", f"give one of {', '.join(cards())}, or --gpu-memory GB")


def detect_card() -> Card:
    """Return the GPU of this machine, or, without one, the machine's memory as a card."""
    drivers = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA, WSL, ROCm: without any, torch need not load
    if sys.platform == "linux" and not any(Path(driver).exists() for driver in drivers):
        return host_card()
    try:
        import torch
    except ImportError:
        return host_card()
    if not torch.cuda.is_available():
        return host_card()
    device = torch.cuda.get_device_properties(0)
    name = device.name.lower().replace(" ", "")
    known = next((card for key, card in cards().items() if key in name), None)
    return Card(device.name, device.total_memory / GB, known.tflops if known else 0.0, device.major >= 8)


def host_card() -> Card:
    """Return the memory of this machine, for runs on its CPU."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    except (ValueError, OSError, AttributeError):  # no sysconf on this platform
        size = 8.0
    return Card("the memory of this machine", size, is_cpu=True)
