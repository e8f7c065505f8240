"""A LoRA adapter written as GGUF, for use on top of a base model's own GGUF file."""

from pathlib import Path
from typing import Any

import numpy as np

from finetune.errors import AlreadyExists, UnsupportedModel
from finetune.export.gguf import ALIGNMENT, ARCHITECTURE, NAMES, add_template_keys, read_config
from finetune.export.lora import check_base, read_adapter
from finetune.export.rotary import pair_rows, rotated_heads
from finetune.safetensors_io import list_tensors
from finetune.templates.find import load_template


def write_adapter_gguf(adapter: Path, base: Path, out: Path) -> Path:
    """Write a PEFT adapter for the base model in the folder `base` and return the path.

    Raises AlreadyExists, UnsupportedModel, or WrongBase for a base that the adapter does not fit.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    if out.exists():
        raise AlreadyExists(f"{out} already exists", "choose another --out, or remove it")
    config = read_config(base)
    pairs = read_adapter(adapter)
    check_base(pairs, list_tensors(base), adapter, base)
    if not pairs:
        raise UnsupportedModel(f"{adapter} contains no LoRA matrices", "pass the adapter of a finished run")
    rank = next(iter(pairs.values())).a.shape[0]
    scale = next(iter(pairs.values())).scale
    part = out.with_name(out.name + ".part")
    try:
        writer: Any = GGUFWriter(part, ARCHITECTURE[config["architectures"][0]])
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", scale * rank)  # llama.cpp scales by alpha / rank
        writer.add_file_type(0)
        add_template_keys(writer, load_template(adapter), "")
        tensors = []
        for name, pair in pairs.items():
            gguf_name = _gguf_name(name, config)
            for suffix, tensor in (("lora_a", pair.a), ("lora_b", pair.b)):
                # the rows of B are those of the weight
                tensors.append((tensor, rotated_heads(gguf_name, config) if tensor is pair.b else 0))
                writer.add_tensor_info(
                    f"{gguf_name}.{suffix}",
                    tensor.shape,
                    np.dtype(np.float32),
                    tensor.size * 4,
                    GGMLQuantizationType.F32,
                )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        stream = writer.fout[0]
        for tensor, heads in tensors:
            stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
            values = tensor.read()
            stream.write((pair_rows(values, heads) if heads else values).tobytes())
        stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
        writer.close()
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return out


def _gguf_name(name: str, config: dict[str, Any]) -> str:
    _, _, number, stem = name.removesuffix(".weight").split(".", 3)
    return f"blk.{number}.{NAMES[config['architectures'][0]][stem]}.weight"
