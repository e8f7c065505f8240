"""Cards to plan for: known GPUs by name, and the GPU or the memory of this machine."""

import os
import re
import sys
from dataclasses import dataclass
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


# Peaks are of dense matrices in bf16 (fp16 on Turing and Volta) with fp32 accumulation, in TFLOP/s, from NVIDIA's data sheets
# and architecture white papers; their larger figures are for sparse matrices (halved here) or fp16 accumulation.
_KNOWN: tuple[tuple[Card, str], ...] = (  # a card, and the words in the name that CUDA reports
    (Card("t4", 16, 65, bf16=False), "t4"),
    (Card("v100", 32, 125, bf16=False), "v100"),
    (Card("rtx3060", 12, 25), "rtx 3060"),
    (Card("rtx3090", 24, 71), "rtx 3090"),
    (Card("rtx4090", 24, 165), "rtx 4090"),
    (Card("rtx5090", 32, 209), "rtx 5090"),
    (Card("rtxa6000", 48, 155), "rtx a6000"),
    (Card("rtx6000ada", 48, 364), "rtx 6000 ada"),
    (Card("a10", 24, 125), "a10"),
    (Card("a10g", 24, 70), "a10g"),
    (Card("a30", 24, 165), "a30"),
    (Card("a40", 48, 150), "a40"),
    (Card("l4", 24, 121), "l4"),
    (Card("l40s", 48, 362), "l40s"),
    (Card("a100-40", 40, 312), "a100"),
    (Card("a100-80", 80, 312), "a100"),
    (Card("h100", 80, 989), "h100"),
    (Card("h100-pcie", 80, 756), "h100 pcie"),
    (Card("h100-nvl", 94, 835), "h100 nvl"),
    (Card("h200", 141, 989), "h200"),
    (Card("h200-nvl", 141, 835), "h200 nvl"),
    (Card("b200", 180, 2250), "b200"),
)
_OTHER_CHIPS = {"ti", "super", "laptop", "mobile", "max", "q"}  # words that make another card of a known name


def cards() -> dict[str, Card]:
    """Return the known cards by name."""
    return {card.name: card for card, _ in _KNOWN}


def card_reported_as(name: str, memory_gb: float) -> Card | None:
    """Return the known card that CUDA reports under a name, such as `NVIDIA A100-SXM4-80GB`; None for any other."""
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    if words & _OTHER_CHIPS:
        return None
    found = [
        (len(text.split()), -abs(card.memory_gb - memory_gb), card)
        for card, text in _KNOWN
        if words >= set(text.split())
    ]
    return max(found, key=lambda item: item[:2])[2] if found else None


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
    known = card_reported_as(device.name, device.total_memory / GB)
    return Card(device.name, device.total_memory / GB, known.tflops if known else 0.0, device.major >= 8)


def host_card() -> Card:
    """Return the memory of this machine, for runs on its CPU."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    except (ValueError, OSError, AttributeError):  # no sysconf on this platform
        size = 8.0
    return Card("the memory of this machine", size, is_cpu=True)
