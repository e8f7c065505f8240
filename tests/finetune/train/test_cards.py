"""A card is known by the name that CUDA reports, and by nothing that only looks like it."""

import pytest

from finetune.train.cards import card_reported_as, named_card
from quire import UsageError

REPORTED = [
    ("NVIDIA A100-SXM4-80GB", 79.3, "a100-80"), ("NVIDIA A100-PCIE-40GB", 39.4, "a100-40"),
    ("NVIDIA A100 80GB PCIe", 79.2, "a100-80"), ("NVIDIA H100 80GB HBM3", 79.1, "h100"),
    ("NVIDIA H100 PCIe", 79.1, "h100-pcie"), ("NVIDIA H100 NVL", 93.1, "h100-nvl"), ("NVIDIA H200", 139.8, "h200"),
    ("NVIDIA A10", 22.0, "a10"), ("NVIDIA A10G", 22.0, "a10g"), ("NVIDIA L4", 22.0, "l4"), ("NVIDIA L40S", 44.4, "l40s"),
    ("Tesla T4", 14.6, "t4"), ("Tesla V100-SXM2-16GB", 15.8, "v100"), ("NVIDIA GeForce RTX 4090", 23.5, "rtx4090"),
    ("NVIDIA RTX 6000 Ada Generation", 47.5, "rtx6000ada"), ("NVIDIA RTX A6000", 47.5, "rtxa6000"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", 15.7, None), ("NVIDIA GeForce RTX 3090 Ti", 23.7, None),
    ("NVIDIA GeForce GTX 1080", 8.0, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "memory_gb", "known"), REPORTED, ids=[row[0] for row in REPORTED])
def test_a_reported_name_has_the_peak_of_its_card(name: str, memory_gb: float, known: str | None) -> None:
    """Planted fault: `a10` is a part of `A100`, and `l4` of `L40S`."""
    found = card_reported_as(name, memory_gb)
    assert (found.name if found else None) == known


def test_the_peak_of_an_a100_is_that_of_dense_bf16() -> None:
    found = card_reported_as("NVIDIA A100-SXM4-80GB", 79.3)
    assert found and found.tflops == 312 and found.bf16


def test_an_unknown_card_is_refused_with_the_known_ones() -> None:
    assert named_card("NVIDIA H100").tflops == 989
    with pytest.raises(UsageError, match="unknown card") as caught:
        named_card("rtx9999")
    assert "a100-80" in caught.value.hint
