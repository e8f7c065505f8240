"""The plan counts what training really holds: parameters as published, bytes as measured on a tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune.config import build
from finetune.data.records import Preference
from finetune.errors import ModelUnavailable, UnknownTarget
from finetune.templates.messages import Message
from finetune.train.architectures import shape_names, shape_of
from finetune.train.cards import GB, Card, host_card, named_card
from finetune.train.complete import complete
from finetune.train.context import Run
from finetune.train.plan import (
    activation_bytes,
    head_bytes,
    make_plan,
    render,
    stage_memory,
    weight_bytes,
)
from quire import UsageError

PUBLISHED = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "phi-2": 2_779_683_840,
    "tinyllama-1.1b-v1.0": 1_100_048_384,
    "llama-2-7b": 6_738_415_616,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248,
    "mistral-7b-v0.1": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
}
CARD = Card("a card", 24.0)
KINDS = ["qwen2", "phi", "llama-2", "llama-3", "mistral"]


def test_parameter_totals_are_those_published() -> None:
    assert {name: shape_of(name).parameters for name in shape_names()} == PUBLISHED


@pytest.mark.parametrize(
    "name", ["Qwen/Qwen2.5-1.5B-Instruct", "Qwen2.5-1.5B", "qwen2.5:1.5b", "qwen2.5-1.5b-instruct"]
)
def test_a_model_is_found_by_all_its_names(name: str) -> None:
    assert shape_of(name).parameters == PUBLISHED["qwen2.5-1.5b"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "tinyllama-1.1b-v1.0"),
        ("meta-llama/Llama-2-7b-chat-hf", "llama-2-7b"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"),
        ("mistralai/Mistral-7B-v0.1", "mistral-7b-v0.1"),
    ],
)
def test_a_chat_model_is_found_by_the_name_of_its_base(name: str, key: str) -> None:
    assert shape_of(name).name == key


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama-2", {}),
        ("llama-2", {"attention_bias": True}),
        ("llama-2", {"mlp_bias": True, "num_key_value_heads": 4}),
        ("llama-3", {}),
        ("mistral", {}),
        ("mistral", {"tie_word_embeddings": True, "head_dim": None}),
    ],
)
def test_llama_and_mistral_are_counted_as_transformers_makes_them(
    kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    from tests.finetune.tiny_llamas import make_llama

    model = make_llama(kind, 704, **changes)
    model.config.save_pretrained(tmp_path)
    assert shape_of(str(tmp_path)).parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("shift", "more"), [(0.0, 0), (0.01, 1)])
def test_a_head_is_counted_if_it_differs_from_the_embedding_whatever_the_flag_says(
    models: dict[str, str], tmp_path: Path, shift: float, more: int
) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "base"
    shutil.copytree(models["qwen2"], folder)
    weights = load_file(folder / "model.safetensors")
    head = weights["model.embed_tokens.weight"] + shift
    save_file({**weights, "lm_head.weight": head}, folder / "model.safetensors", metadata={"format": "pt"})
    tied, found = shape_of(models["qwen2"]), shape_of(str(folder))
    assert found.parameters == tied.parameters + more * head.numel()
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert found.parameters == sum(p.numel() for p in loaded.parameters())
    config = build({"model": str(folder), "method": "full"})
    memory = make_plan(config, card=CARD).stages["sft"]
    assert memory.weights == 4 * found.parameters


def test_an_architecture_that_cannot_be_planned_is_answered_with_those_that_can(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(ModelUnavailable, match="'mamba'") as caught:
        shape_of(str(tmp_path))
    assert "qwen2, phi, llama, mistral" in caught.value.hint


def test_rank_16_on_q_and_v_of_1_5b_trains_2179072() -> None:
    config = build({"model": "Qwen2.5-1.5B", "rank": 16, "targets": ["q_proj", "v_proj"]})
    plan = make_plan(config, card=CARD).to_dict()
    assert plan["trainable_parameters"] == 2_179_072
    assert plan["fits"] is True
    # counted on packed 4-bit bytes, as PEFT's own line does, the share would come out near twice as large
    assert plan["trainable_share"] == pytest.approx(2_179_072 / 1_543_714_304)


def test_target_names_of_the_old_phi_code_are_refused_with_the_current_ones() -> None:
    with pytest.raises(UnknownTarget, match="q_proj"):
        make_plan(build({"model": "phi-2", "targets": ["Wqkv", "out_proj"]}), card=CARD)


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelUnavailable, match=r"did you mean qwen2\.5-7b"):
        shape_of("Qwen2.5-9B")


def test_a_run_that_does_not_fit_lists_the_settings_that_make_it_fit() -> None:
    config = build({"model": "Qwen2.5-7B", "max_length": 4096, "gradient_checkpointing": False, "batch_size": 8})
    plan = make_plan(config, card=CARD)
    assert not plan.fits
    assert plan.changes[0] == "gradient_checkpointing = true"
    assert plan.changes[-1].endswith("it fits")
    assert "does not fit" in render(plan)


def test_a_large_card_is_given_settings_that_use_it_and_still_fit() -> None:
    config = build({"model": "Qwen2.5-1.5B", "max_length": 2048, "batch_size": 4, "accumulation": 4})
    plan = make_plan(config, card=named_card("h100"))
    assert [change.split(":")[0] for change in plan.faster[:4]] == [
        "method = lora", "optimizer = adamw_torch_fused", "gradient_checkpointing = false", "batch_size = 8, accumulation = 2",
    ]  # fmt: skip
    assert plan.to_dict()["faster"] == plan.faster and "faster: method = lora" in render(plan)
    changed = {"method": "lora", "optimizer": "adamw_torch_fused", "gradient_checkpointing": False, "batch_size": 8}
    again = make_plan(build(config.to_dict(), changed, {"accumulation": 2}), card=named_card("h100"))
    assert again.fits and again.faster == [] and plan.faster[-1] == f"then it needs {again.memory_gb:.1f} GB"
    child = make_plan(build(config.to_dict(), {"stage": "dpo", "parent": "x"}), card=named_card("h100"))
    assert not any(change.startswith("method") for change in child.faster)  # the parent decides it
    assert make_plan(config, card=named_card("rtx4090")).faster == []
    assert make_plan(config, card=Card("a machine", 500.0, is_cpu=True)).faster == []


def test_a_second_model_is_counted_where_full_dpo_has_one() -> None:
    shape = shape_of("Qwen2.5-1.5B")
    adapters = build({"model": "Qwen2.5-1.5B", "stage": "dpo"})
    full = build(adapters.to_dict(), {"method": "full"})
    assert stage_memory(shape, adapters, "dpo").models == stage_memory(shape, full, "sft").models == 1
    two = stage_memory(shape, full, "dpo")
    assert two.models == 2
    assert two.weights == shape.parameters * (4 + 4)  # both in fp32, or the first loss is not ln 2
    assert stage_memory(shape, build(full.to_dict(), {"precompute_reference": True}), "dpo").models == 1
    plan = make_plan(full, card=CARD)
    assert plan.to_dict()["models"] == plan.to_dict()["stages"]["dpo"]["models"] == 2
    assert set(plan.stages) == {"sft", "dpo", "orpo"}


@pytest.mark.parametrize(
    ("card", "dtype"), [("t4", "fp16"), ("v100", "fp16"), ("rtx4090", "bf16"), ("h100", "bf16"), ("host", "fp32")]
)
def test_the_data_type_is_the_one_that_the_card_trains_in(card: str, dtype: str) -> None:
    plan = make_plan(build({"model": "Qwen2.5-0.5B"}), card=host_card() if card == "host" else named_card(card))
    assert plan.to_dict()["dtype"] == dtype
    assert not any(change.startswith("dtype") for change in plan.changes)
    assert f"computed in {dtype}" in render(plan)
    fixed = make_plan(build({"model": "Qwen2.5-0.5B", "dtype": "bf16"}), card=named_card("t4"))
    assert fixed.changes == ["dtype = fp16: t4 has no bf16"]


def test_a_cpu_holds_fp32_weights_and_libraries_and_no_paged_optimizer() -> None:
    config = build({"model": "Qwen2.5-0.5B", "method": "lora", "max_length": 256, "batch_size": 1})
    plan = make_plan(config, card=Card("a machine", 16.0, is_cpu=True))
    memory = plan.stages["sft"]
    assert plan.config.optimizer == "adamw_torch"
    assert memory.weights == PUBLISHED["qwen2.5-0.5b"] * 4
    assert memory.optimizer == plan.trainable * 8
    assert memory.overhead / GB == pytest.approx(1.15)
    assert 3.0 < plan.memory_gb < 4.5
    small = make_plan(build(config.to_dict(), {"max_length": 4096}), card=Card("a machine", 2.5, is_cpu=True))
    assert "method = qlora" in small.changes and not any("paged" in change for change in small.changes)


@pytest.mark.parametrize(
    ("loss", "kind"), [("orpo", "qwen2"), ("orpo", "phi"), ("simpo", "qwen2"), ("simpo", "phi"), ("sigmoid", "qwen2")]
)
def test_the_planned_peak_of_a_step_is_near_the_measured_one(
    loss: str, kind: str, models: dict[str, str], home: Path, tmp_path: Path
) -> None:
    """Follow torch's allocations through one step; no loss may keep whole logits, which are larger than anything else."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from finetune.train.load import add_adapter, load_base, load_tokenizer, template_of
    from finetune.train.rows import prepare
    from finetune.train.run import build_trainer

    base = tmp_path / "wide"
    shutil.copytree(models[kind], base)
    wide = AutoConfig.from_pretrained(base)
    wide.vocab_size = 20_000  # as in real models, whole logits would be larger than anything else
    AutoModelForCausalLM.from_config(wide).save_pretrained(base)
    config = complete(
        build({"stage": "dpo", "model": str(base), "device": "cpu", "method": "lora", "dtype": "fp32", "batch_size": 2, "rank": 4,
               "max_length": 128, "loss": loss, "gradient_checkpointing": False})
    )  # fmt: skip
    good, bad = ((Message("assistant", f"{word} " * 200),) for word in ("moo", "no"))
    records = [Preference((Message("user", f"{i}?"),), good, bad, source="t", row=i) for i in range(2)]
    tokenizer = load_tokenizer(config.model)
    template = template_of(config, tokenizer)
    rows = prepare(config, template, tokenizer, records)
    run = Run(config, tmp_path, template, tokenizer, lambda line: None)
    trainer, _ = build_trainer(run, add_adapter(load_base(config), config), None, rows)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        trainer.accelerator.backward(trainer.compute_loss(trainer.model, dict(batch)))
    now = peak = 0
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    assert peak == pytest.approx(activation_bytes(shape_of(str(base)), config, sequences=4), rel=0.12)


def test_quantized_weights_of_1_5b_match_the_measured_footprint() -> None:
    # measured with bitsandbytes 0.50.2, double quantisation, bf16 tables: 1.05 GiB
    got = weight_bytes(shape_of("Qwen2.5-1.5B"), build({"model": "Qwen2.5-1.5B"})) / GB
    assert got == pytest.approx(1.05, rel=0.03)


def test_a_card_is_found_by_name_and_an_unknown_one_is_answered_with_the_known_ones() -> None:
    assert named_card("RTX4090").memory_gb == 24
    with pytest.raises(UsageError, match="h100"):
        named_card("tpu")


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_counted_as_peft_makes_them(
    kind: str, models: dict[str, str], tiny_llamas: dict[str, str]
) -> None:
    from finetune.train.load import add_adapter, count_parameters, count_trainable, load_base

    models = models | tiny_llamas
    config = build({"model": models[kind], "device": "cpu", "rank": 4})
    model = load_base(config)
    assert count_parameters(model) == shape_of(models[kind]).parameters
    adapted = add_adapter(model, config)
    assert count_trainable(adapted) == make_plan(config, card=CARD).trainable


def _storage_bytes(model: Any) -> int:
    """Bytes of all weights, quantisation scales included, each storage once."""
    tensors: dict[int, int] = {}
    for parameter in model.parameters():
        found = [parameter.data]
        if state := getattr(parameter, "quant_state", None):
            found += [state.absmax, state.offset, state.state2.absmax]
        for tensor in found:
            tensors[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(tensors.values())


@pytest.mark.parametrize("method", ["qlora", "lora"])
@pytest.mark.parametrize("kind", KINDS)
def test_planned_weights_are_within_two_percent_of_those_loaded(
    kind: str, method: str, models: dict[str, str], tiny_llamas: dict[str, str]
) -> None:
    from finetune.train.load import load_base

    models = models | tiny_llamas
    config = build({"model": models[kind], "device": "cpu", "method": method, "dtype": "bf16"})
    planned = weight_bytes(shape_of(models[kind]), config)
    assert _storage_bytes(load_base(config)) == pytest.approx(planned, rel=0.02)


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize(
    ("kind", "method", "dtype"),
    [
        *((kind, "lora", "fp32") for kind in KINDS),
        *((kind, method, "bf16") for kind in ("qwen2", "phi") for method in ("lora", "qlora")),
    ],
)
def test_planned_activations_are_near_those_kept_for_the_backward_pass(
    kind: str, method: str, dtype: str, checkpointing: bool, models: dict[str, str], tiny_llamas: dict[str, str]
) -> None:
    """Count every tensor that autograd saves (weights apart) and compare within 10 %, the head left out.

    Planted fault: norms in fp32, with which a bf16 QLoRA run kept two thirds more than planned.
    """
    import torch

    from finetune.train.load import add_adapter, load_base

    models = models | tiny_llamas
    config = build(
        {
            "model": models[kind], "device": "cpu", "method": method, "dtype": dtype, "rank": 4,
            "gradient_checkpointing": checkpointing, "max_length": 128, "batch_size": 4,
        }
    )  # fmt: skip
    model = add_adapter(load_base(config), config)
    model.train()
    if checkpointing:
        model.enable_input_require_grads()
        model.activation_checkpointing_enable({"use_reentrant": False})
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            saved[place] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.randint(0, 300, (4, 128))
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16")
    with autocast, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = model.get_base_model().base_model(input_ids=ids, use_cache=False).last_hidden_state
    measured = sum(saved.values())
    shape = shape_of(models[kind])
    planned = activation_bytes(shape, config, sequences=4)
    head = head_bytes(shape, config, sequences=4)
    body = planned - head
    if checkpointing:  # the layer that is computed again is not there yet when the forward pass ends
        again = activation_bytes(shape, _without(config), sequences=4) - head
        body -= again / shape.layers
    assert hidden.requires_grad
    assert measured == pytest.approx(body, rel=0.1)


def _without(config: Any) -> Any:
    return build(config.to_dict(), {"gradient_checkpointing": False})


def test_the_totals_in_the_shapes_file_are_those_published() -> None:
    rows = json.loads((Path(shape_of.__code__.co_filename).parent / "shapes.json").read_text())
    assert {name: row["parameters"] for name, row in rows.items()} == PUBLISHED
