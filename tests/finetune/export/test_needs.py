"""What an export needs, against the models that it is promised for."""

import pytest

from finetune.export.needs import export_needs
from finetune.train.architectures import shape_of

GB = 2**30


@pytest.mark.parametrize(
    ("model", "memory_gb"), [("Qwen2.5-1.5B", 8), ("phi-2", 8), ("Qwen2.5-3B", 8), ("Qwen2.5-7B", 24)]
)
@pytest.mark.parametrize("method", ["qlora", "lora", "full"])
def test_an_export_fits_the_machine_that_it_is_promised_for(model: str, memory_gb: float, method: str) -> None:
    assert export_needs(shape_of(model), method).memory < memory_gb * GB


def test_the_merged_folder_in_fp32_and_the_file_in_16_bits_need_six_bytes_a_weight() -> None:
    shape = shape_of("Qwen2.5-0.5B")
    assert export_needs(shape, "lora").disk == 6 * shape.parameters


def test_four_bit_layers_stay_in_memory_and_others_are_read_one_by_one() -> None:
    shape = shape_of("Qwen2.5-7B")
    assert export_needs(shape, "qlora").memory > export_needs(shape, "lora").memory + 2 * GB
