"""What is told of a base before anything is trained."""

import json
from pathlib import Path

import pytest

from finetune.config import build
from finetune.errors import ModelUnavailable
from finetune.train.bases import export_notice, require_full_weights


def base(folder: Path, **config: object) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", **config}))
    return str(folder)


@pytest.mark.parametrize(
    ("name", "stored", "match"),
    [
        ("tiny-bnb-4bit", {"load_in_4bit": True, "quant_method": "bitsandbytes"}, r"4 bits.*such as .*/tiny,"),
        ("tiny-GPTQ-Int4", {"bits": 4, "quant_method": "gptq"}, r"4 bits \(gptq\).*such as .*/tiny,"),
        ("other", {"quant_method": "fp8"}, "fewer bits .*fp8.*give the original model with"),
    ],
)
@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_a_base_stored_in_few_bits_is_refused_with_the_original(
    tmp_path: Path, name: str, stored: dict[str, object], match: str, method: str
) -> None:
    model = base(tmp_path / name, quantization_config=stored)
    with pytest.raises(ModelUnavailable, match=match):
        require_full_weights(build({"model": model, "method": method}))


@pytest.mark.parametrize("kind", ["qwen3", "phi3", "gemma2"])
def test_a_kind_that_cannot_be_exported_is_told_and_others_are_not(tmp_path: Path, kind: str) -> None:
    found = require_full_weights(build({"model": base(tmp_path / "a", model_type=kind)}))
    assert f"of the kind {kind}" in export_notice(found, "a") and "no GGUF file" in export_notice(found, "a")
    assert export_notice(require_full_weights(build({"model": base(tmp_path / "b")})), "b") == ""
