"""A model that is read layer by layer gives the numbers of the same model loaded whole."""

from pathlib import Path

import pytest

from finetune.errors import UnsupportedModel
from finetune.export.streamed import MAX_TOKENS, _batches, greedy, head_of, hidden_states, open_streamed, open_trained
from finetune.safetensors_io import list_tensors
from finetune.train.device import own_device
from tests.finetune.export_home import Tuned

ROWS = [[5, 9, 33, 77, 12], [40, 41], [7, 8, 9]]
POSITIONS = [[1, 4], [1], [0, 1, 2]]


def test_log_probs_equal_those_of_the_whole_model(tuned: Tuned) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = open_streamed(tuned.merged)
    log_probs = head_of(model)
    whole = AutoModelForCausalLM.from_pretrained(tuned.merged, dtype=torch.float32).eval()
    for row, at, hidden in zip(ROWS, POSITIONS, hidden_states(model, ROWS, POSITIONS), strict=True):
        with torch.no_grad():
            expected = torch.log_softmax(whole(torch.tensor([row])).logits[0, at], dim=-1)
        assert torch.allclose(log_probs(hidden), expected, atol=1e-5)


def test_greedy_answers_of_prompts_of_unequal_lengths_equal_those_of_the_whole_model(tuned: Tuned) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_pretrained(tuned.merged, dtype=torch.float32).eval()
    prompts = [case.prompt for case in tuned.reference.cases][:3] + ROWS
    ends = [tuned.reference.tokenizer.eos_token_id]
    answers = greedy(open_streamed(tuned.merged), prompts, ends=ends, max_tokens=8)
    assert any(ended for _, ended in answers)
    for prompt, (answer, ended) in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt])
        written = whole.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, eos_token_id=ends
        )[0, len(prompt) :].tolist()
        assert written == [*answer, *(ends if ended else [])]


def test_an_adapter_on_a_streamed_base_equals_peft_on_the_whole_one(tuned: Tuned) -> None:
    import torch

    from finetune.train.load import load_run

    streamed = open_trained(tuned.run, full_precision=True)
    whole = load_run(tuned.run, device="cpu", method="lora").model
    bare = open_streamed(tuned.base)
    for one, other, without in zip(
        *(hidden_states(model, ROWS, POSITIONS) for model in (streamed, whole, bare)), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-4)
        assert not torch.allclose(one, without, atol=1e-1)


def test_no_weight_stays_in_memory_after_a_pass(tuned: Tuned) -> None:
    model = open_streamed(tuned.merged)
    hidden_states(model, ROWS, POSITIONS)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_a_pass_takes_place_on_the_device_that_was_asked_for(tuned: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device stands for a GPU: a tensor that stayed on the CPU cannot be computed with one that is there."""
    import torch
    import transformers.masking_utils

    monkeypatch.setattr(transformers.masking_utils, "is_tracing", lambda *_: True)  # meta tensors have no values to ask
    model = open_streamed(tuned.base, adapter=tuned.run / "adapter", device="meta")
    hidden = hidden_states(model, ROWS, POSITIONS)
    assert {rows.device.type for rows in (*hidden, *map(head_of(model), hidden))} == {"meta"}
    given: dict[str, torch.device] = {}

    def stop(_module: object, _args: object, given_by_name: dict[str, object]) -> None:
        given.update({k: v.device for k, v in given_by_name.items() if isinstance(v, torch.Tensor)})
        raise StopIteration

    model.register_forward_pre_hook(stop, with_kwargs=True)
    with pytest.raises(StopIteration):
        greedy(model, ROWS, ends=[0], max_tokens=2)
    assert {(name, place.type) for name, place in given.items()} == {
        ("input_ids", "meta"), ("attention_mask", "meta"), ("position_ids", "meta"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("trained_on", "visible", "checked_on"),
    [("cuda", True, "cuda"), ("cuda", False, "cpu"), ("cpu", True, "cpu"), ("", True, "cpu")],
)
def test_a_run_is_compared_on_its_own_device_where_there_is_one(
    trained_on: str, visible: bool, checked_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: visible)
    assert own_device(trained_on) == checked_on


def test_every_comparison_of_a_run_from_a_gpu_is_asked_of_that_gpu(
    tuned_models: dict[str, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine has no GPU, so what is put there is an error that names it."""
    import json
    import shutil

    import torch

    from finetune.export.merge import merge
    from finetune.export.reference import compute_reference, merge_divergence

    tuned = tuned_models["qwen2"]
    monkeypatch.setenv("QUIRE_HOME", str(tuned.home))
    run = tmp_path / "run"
    shutil.copytree(tuned.run, run, ignore=shutil.ignore_patterns("checkpoints"))
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "device": "cuda", "dtype": "float16"}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for ask in (
        lambda: merge(run, tmp_path / "merged"),
        lambda: compute_reference(run, tuned.merged),
        lambda: merge_divergence(run, tuned.reference, full_precision=False),
        lambda: merge_divergence(run, tuned.reference, full_precision=True),
    ):
        with pytest.raises((RuntimeError, AssertionError), match=r"(?i)cuda|nvidia"):
            ask()


def test_a_folder_without_one_weight_is_refused_by_its_name(tuned: Tuned, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tuned.merged, folder)
    (file,) = {tensor.path for tensor in list_tensors(folder).values()}
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.down_proj.weight" if tuned.kind == "qwen2" else "model.layers.1.mlp.fc2.weight"]
    save_file(tensors, file)
    with pytest.raises(UnsupportedModel, match=r"has no tensor model\.layers\.1\.mlp"):
        open_streamed(folder)


def test_batches_hold_every_row_once_within_the_limit_and_rows_of_like_lengths() -> None:
    lengths = [10, MAX_TOKENS + 1, 3, 3000, 2000, 5]
    batches = list(_batches(lengths))
    assert sorted(number for batch in batches for number in batch) == list(range(6))
    assert batches[0] == [2, 5, 0]  # the short ones
    assert all(len(batch) == 1 or len(batch) * max(lengths[n] for n in batch) <= MAX_TOKENS for batch in batches)


def test_the_trained_side_of_a_run_in_bf16_is_rounded_to_4_bits_from_bf16(tuned: Tuned, tmp_path: Path) -> None:
    """Planted fault: on a CPU it was rounded from fp32, which is another model than the one that a GPU trained."""
    import json
    import shutil

    import torch

    from finetune.export.merge import nf4_rounded

    run = tmp_path / "run"
    shutil.copytree(tuned.run, run, ignore=shutil.ignore_patterns("checkpoints"))
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["dtype"], manifest["device"], manifest["attention"]) == ("float32", "cpu", "quire_rows")
    (run / "manifest.json").write_text(json.dumps({**manifest, "dtype": "bfloat16"}))
    weights = list_tensors(tuned.base)
    for place, dtype in ((tuned.run, "float32"), (run, "bfloat16")):
        found = open_trained(place).get_base_model().model.layers[0].self_attn.q_proj
        layer = getattr(found, "base_layer", found)
        from bitsandbytes.functional import dequantize_4bit

        actual = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        assert actual.dtype == torch.float32
        expected = nf4_rounded(weights["model.layers.0.self_attn.q_proj.weight"].read(), dtype)
        # a layer in bf16 was dequantized to bf16 in `expected`, to fp32 here
        assert torch.allclose(actual, torch.from_numpy(expected), rtol=2**-8, atol=0)
