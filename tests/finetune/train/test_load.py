"""Loading: unknown targets are refused, adapters stay in fp32, 4-bit models train correctly after an evaluation."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.config import build
from finetune.demo.tiny import make_model
from finetune.errors import MissingLibrary, ModelUnavailable, SettingsError, UnknownTarget
from finetune.train.device import compute_dtype
from finetune.train.load import (
    add_adapter,
    count_parameters,
    count_trainable,
    find_targets,
    keep_adapters_in_fp32,
    load_base,
    load_tokenizer,
    never_repack,
)
from tests.finetune.peak import peak_of

LINEAR = {
    "qwen2": ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
    "phi": ["dense", "fc1", "fc2", "k_proj", "q_proj", "v_proj"],
}
LINEAR |= dict.fromkeys(("llama-2", "mistral"), LINEAR["qwen2"])


def config_for(model: str, **settings: Any) -> Any:
    return build({"model": model, "device": "cpu", "rank": 4, **settings})


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("kind", LINEAR)
def test_all_linear_means_every_linear_module_but_the_head(
    kind: str, method: str, models: dict[str, str], tiny_llamas: dict[str, str]
) -> None:
    model = load_base(config_for((models | tiny_llamas)[kind], method=method))
    assert find_targets(model, ("all-linear",)) == LINEAR[kind]


def test_target_names_of_the_old_phi_code_are_refused_with_the_modules(models: dict[str, str]) -> None:
    """Planted fault: names of Phi's old remote code. PEFT takes them silently when any other name matches."""
    model = load_base(config_for(models["phi"], method="lora"))
    with pytest.raises(UnknownTarget, match="its modules are dense, fc1, fc2, k_proj"):
        find_targets(model, ("Wqkv", "fc1", "fc2"))


def test_the_trainable_share_is_not_counted_on_packed_bytes(models: dict[str, str]) -> None:
    """Planted fault: two 4-bit weights lie in one byte, so a naive count halves the model and doubles the share."""
    plain = load_base(config_for(models["qwen2"], method="lora"))
    packed = load_base(config_for(models["qwen2"], method="qlora"))
    naive = sum(p.numel() for p in packed.parameters())
    truth = sum(p.numel() for p in plain.parameters())
    assert naive < 0.7 * truth
    assert count_parameters(packed) == truth == count_parameters(plain)


def test_an_adapter_is_the_only_thing_that_trains_and_is_fp32(models: dict[str, str]) -> None:
    config = config_for(models["qwen2"], method="qlora", dtype="bf16")
    model = add_adapter(load_base(config), config)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trained)
    assert {str(p.dtype) for p in trained.values()} == {"torch.float32"}
    assert sum(p.numel() for p in trained.values()) == count_trainable(model)


@pytest.mark.parametrize("kind", ["qwen2", "phi"])
@pytest.mark.parametrize("method", ["qlora", "lora"])
def test_a_bf16_model_computes_in_bf16_from_the_first_layer_to_the_last(
    kind: str, method: str, models: dict[str, str]
) -> None:
    """Planted fault: norms in fp32, after which 4-bit layers and the residual stream of Qwen2 are fp32 as well."""
    import torch

    config = config_for(models[kind], method=method, dtype="bf16")
    model = add_adapter(load_base(config), config)
    assert {str(p.dtype) for n, p in model.named_parameters() if "lora_" not in n} <= {"torch.bfloat16", "torch.uint8"}
    found: dict[str, str] = {}

    def note(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            found[name] = str(tensor.dtype)

        return hook

    for name, module in model.get_base_model().named_modules():
        if "lora_" not in name and "." in name and "rotary" not in name:
            module.register_forward_hook(note(name))
    model.train()
    ids = torch.arange(20)[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(input_ids=ids, labels=ids).loss.backward()
    assert len(found) > 20 and {k: v for k, v in found.items() if v != "torch.bfloat16"} == {}
    grads = [p.grad for n, p in model.named_parameters() if "lora_B" in n]
    assert grads and all(g is not None and bool(torch.isfinite(g).all()) for g in grads)
    assert sum(float(g.abs().sum()) for g in grads) > 0


@pytest.mark.parametrize("kind", ["qwen2", "phi"])
def test_gradients_are_the_same_before_and_after_an_evaluation_in_4_bits(kind: str, models: dict[str, str]) -> None:
    """bitsandbytes repacks 4-bit weights at the first forward without gradients on some processors; ours never are."""
    import torch

    config = config_for(models[kind], method="qlora")
    model = add_adapter(load_base(config), config)
    ids = torch.arange(24)[None]

    def gradients() -> list[Any]:
        model.zero_grad()
        model.train()
        model(input_ids=ids, labels=ids).loss.backward()
        return [p.grad.clone() for n, p in model.named_parameters() if p.requires_grad]

    before = gradients()
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    after = gradients()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert sum(float(g.abs().sum()) for g in before) > 0


def test_no_4_bit_module_is_repacked(models: dict[str, str]) -> None:
    import bitsandbytes

    model = load_base(config_for(models["qwen2"], method="qlora"))
    quantised = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(quantised) == 14
    for module in quantised:
        module.support_avx512bf16_for_cpu = True
    never_repack(model)
    assert not any(m.support_avx512bf16_for_cpu for m in quantised)


def test_adapters_that_a_trainer_casts_to_bf16_are_restored_exactly(models: dict[str, str]) -> None:
    """The cast that TRL makes to adapters of a quantised base, planted: values and type must come back."""
    import torch

    config = config_for(models["qwen2"], method="qlora")
    model = add_adapter(load_base(config), config)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}
    with keep_adapters_in_fp32(model):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
        lost = [n for n, p in model.named_parameters() if n in before and not torch.equal(p.float(), before[n])]
        assert lost  # the cast really loses digits
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters() if n in before)


def test_full_training_trains_everything_in_fp32(models: dict[str, str]) -> None:
    config = config_for(models["qwen2"], method="full", optimizer="adamw_torch")
    model = add_adapter(load_base(config), config)
    assert count_trainable(model) == count_parameters(model)
    assert {str(p.dtype) for p in model.parameters()} == {"torch.float32"}


def test_a_cpu_computes_in_fp32_by_default(models: dict[str, str]) -> None:
    assert str(compute_dtype(config_for(models["phi"]))) == "torch.float32"
    assert str(compute_dtype(config_for(models["phi"], dtype="bf16"))) == "torch.bfloat16"


@pytest.mark.parametrize(("major", "dtype"), [(7, "torch.float16"), (8, "torch.bfloat16"), (9, "torch.bfloat16")])
def test_a_gpu_computes_in_bf16_where_it_has_it(
    major: int, dtype: str, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (major, 0))
    assert str(compute_dtype(config_for(models["phi"], device="auto"))) == dtype


_UNMAPPED = """
import sys
from finetune.config import build
from finetune.train.device import return_large_blocks
from finetune.train.load import load_base

return_large_blocks()
model = load_base(build({"model": sys.argv[1], "device": "cpu"}), for_training=False, mapped=sys.argv[2:] == [])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_4_bit_base_is_compared_without_its_file_in_memory(tmp_path: Path) -> None:
    """Planted fault: transformers maps the file until the last weight is read, 0.9 GB of 0.5B's peak of 2.6 GB."""
    model = make_model("qwen2", 704, hidden=1024, layers=6, eos_token_id=2, pad_token_id=0)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size
    peak, end = peak_of(_UNMAPPED, str(tmp_path), "unmapped")
    assert peak - end < 0.5 * size
    mapped = load_base(build({"model": str(tmp_path), "device": "cpu"}), for_training=False)
    read = load_base(build({"model": str(tmp_path), "device": "cpu"}), for_training=False, mapped=False)
    assert all(torch.equal(one, other) for one, other in zip(mapped.parameters(), read.parameters(), strict=True))


def test_hub_kernels_without_their_package_are_refused_with_the_command_that_installs_it(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import utils

    monkeypatch.setattr(utils, "is_kernels_available", lambda: False)
    with pytest.raises(MissingLibrary, match="pip install kernels"):
        load_base(build({"model": models["qwen2"], "method": "lora", "use_kernels": True}))
    with pytest.raises(SettingsError, match="use_kernels needs a GPU"):
        config_for(models["qwen2"], use_kernels=True)


def test_a_missing_model_is_named(tmp_path: Any) -> None:
    with pytest.raises(ModelUnavailable, match=r"config\.json and safetensors"):
        load_tokenizer(str(tmp_path / "nothing"))
    with pytest.raises(ModelUnavailable, match="nothing"):
        load_base(config_for(str(tmp_path / "nothing"), method="lora"))


def test_the_same_seed_gives_the_same_tiny_model_and_adapter(models: dict[str, str], tmp_path: Any) -> None:
    import torch

    from finetune.demo.tiny import make_tiny

    again = make_tiny(tmp_path / "qwen2", "qwen2")
    config, copy = config_for(models["qwen2"], method="lora"), config_for(str(again), method="lora")
    one = add_adapter(load_base(config), config)
    two = add_adapter(load_base(copy), copy)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_tiny_sizes_are_multiples_of_256_and_every_token_has_a_row(models: dict[str, str]) -> None:
    from transformers import AutoConfig

    for model in models.values():
        config = AutoConfig.from_pretrained(model)
        assert config.hidden_size % 256 == 0 == config.intermediate_size % 256
        assert len(load_tokenizer(model)) <= config.vocab_size


@pytest.mark.parametrize(("legacy", "after_special"), [(True, True), (False, False), (None, False)])
def test_a_llama_tokenizer_is_saved_so_that_it_reads_text_as_before(
    legacy: bool | None, after_special: bool, tmp_path: Path
) -> None:
    """Planted fault: transformers does not save `legacy`, and a reloaded tokenizer puts no blank after special tokens."""
    from finetune.templates.leading_blank import find_leading_blank
    from tests.finetune.tiny_llamas import make_llama, make_sentencepiece

    folder, saved = tmp_path / "base", tmp_path / "saved"
    make_sentencepiece(form="prepend").save_pretrained(folder)
    make_llama("llama-2", 704).config.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"tokenizer_class": "LlamaTokenizer"}
    settings |= {} if legacy is None else {"legacy": legacy}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    first = load_tokenizer(str(folder))
    first.save_pretrained(saved)
    make_llama("llama-2", 704).config.save_pretrained(saved)
    found = [find_leading_blank(one, "</s>").after_special for one in (first, load_tokenizer(str(saved)))]
    assert found == [after_special, after_special]


@pytest.fixture
def a_gpu_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every question about GPUs be answered as on a machine with one; nothing can be put there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


def test_a_4_bit_base_for_the_cpu_is_on_the_cpu_where_a_gpu_is_visible(
    models: dict[str, str], a_gpu_is_visible: None
) -> None:
    """Planted fault: without a device map, transformers puts a 4-bit base on the GPU, and PEFT moves an adapter's."""
    from peft import PeftModel

    model = load_base(config_for(models["qwen2"], method="qlora"), for_training=False)
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    # what PEFT asks before it spreads a model over the devices of the machine
    assert getattr(model, "hf_device_map", None) is None
    assert isinstance(add_adapter(model, config_for(models["qwen2"], method="qlora")), PeftModel)
