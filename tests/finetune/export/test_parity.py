"""The parity check: a faithful export passes, and every planted fault is caught by its name."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from finetune.errors import ParityFailed
from finetune.export import gguf, parity
from finetune.export.llama_cpp import Engine, NextTokenLogProbs
from finetune.export.lora_gguf import write_adapter_gguf
from finetune.export.modelfile import Modelfile, modelfile_for
from finetune.export.rotary import rotated_heads
from finetune.export.token_parity import PROBES
from finetune.templates.builtin import get_template
from finetune.templates.jinja_and_go import to_jinja
from tests.finetune.export_home import Tuned


def modelfile(tuned: Tuned) -> Modelfile:
    return modelfile_for(tuned.template, context_length=2048)


@pytest.mark.parametrize("kind", gguf.KINDS)
def test_a_faithful_file_passes(tuned: Tuned, tmp_path: Path, kind: str) -> None:
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template, kind=kind)
    found = parity.compare(tuned.reference, path, kind=kind, modelfile=modelfile(tuned))
    assert found.differences == {}
    assert found.positions > 30 and found.texts == len(PROBES) + len(parity.CONVERSATIONS) + len(tuned.reference.cases)
    assert found.ends == found.ended == found.answers


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
def test_a_faithful_file_of_llama_or_mistral_passes(tuned_llama: Tuned, tmp_path: Path, kind: str) -> None:
    path = gguf.write_gguf(tuned_llama.merged, tmp_path / "m.gguf", template=tuned_llama.template, kind=kind)
    longest = 512 if tuned_llama.kind == "mistral" else 2048
    settings = modelfile_for(tuned_llama.template, context_length=longest)
    found = parity.compare(tuned_llama.reference, path, kind=kind, modelfile=settings)
    assert found.differences == {}
    assert found.positions > 30


def test_a_llama_with_biases_passes(tiny_llamas: dict[str, str], tmp_path: Path) -> None:
    import shutil

    import torch

    from finetune.export.reference import CONVERSATIONS, reference_on
    from finetune.train.load import load_tokenizer
    from tests.finetune.tiny_llamas import make_llama

    template, folder = get_template("llama-3"), tmp_path / "m"
    shutil.copytree(tiny_llamas["llama-3"], folder)
    tokenizer = load_tokenizer(str(folder))
    model = make_llama("llama-3", 576, attention_bias=True, mlp_bias=True)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    ref = reference_on(folder, template, [template.encode_prompt(tokenizer, c) for c in CONVERSATIONS[:2]])
    path = gguf.write_gguf(folder, tmp_path / "m.gguf", template=template)
    assert parity.compare(ref, path, kind="F16").differences == {}


def test_f16_is_within_the_stated_kl(tuned: Tuned, tmp_path: Path) -> None:
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    found = parity.compare(tuned.reference, path, kind="F16")
    assert found.mean_kl < 1e-4 and found.greedy_equal == found.answers


def test_an_adapter_on_the_base_file_passes(tuned_any: Tuned, tmp_path: Path) -> None:
    # the adapter file meets the original base: the reference is the merge onto that one
    from finetune.export.merge import merge
    from finetune.export.reference import compute_reference

    merge(tuned_any.run, tmp_path / "original", base="full-precision", measure=False)
    bare = tmp_path / "bare"
    _whole_base(tuned_any, bare)
    base = gguf.write_gguf(bare, tmp_path / "base.gguf", template=tuned_any.template, kind="F32")
    lora = write_adapter_gguf(tuned_any.run / "adapter", tuned_any.base, tmp_path / "lora.gguf")
    ref = compute_reference(tuned_any.run, tmp_path / "original")
    assert parity.compare(ref, base, kind="F32", lora=lora).differences == {}
    assert "weights" in parity.compare(ref, base, kind="F32").differences


def _whole_base(tuned: Tuned, out: Path) -> None:
    import shutil

    shutil.copytree(tuned.base, out)


# -- planted faults: each must be caught by its own name

Patch = Any


def broken(tuned: Tuned, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> parity.Parity:
    """Write a file in which some keys have other values, and run the parity check on it."""
    from gguf import GGUFWriter

    for method, change in changes.items():
        original = getattr(GGUFWriter, method)
        monkeypatch.setattr(GGUFWriter, method, lambda self, value, o=original, c=change: o(self, c(value)))
    path = gguf.write_gguf(tuned.merged, out / "broken.gguf", template=tuned.template)
    return parity.compare(tuned.reference, path, kind="F16", modelfile=modelfile(tuned))


def test_a_wrong_template_is_caught_as_template(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = to_jinja(get_template("zephyr"))
    found = broken(tuned, tmp_path, monkeypatch, add_chat_template=lambda _: wrong)
    assert list(found.differences) == ["template"]
    with pytest.raises(ParityFailed, match="template: rendered") as failed:
        parity.require_parity(found, "broken.gguf")
    assert failed.value.steps == ("template",)


def test_a_wrong_template_in_the_modelfile_is_caught_as_template(tuned: Tuned, tmp_path: Path) -> None:
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    wrong = replace(modelfile(tuned), template="{{ .Prompt }}")
    found = parity.compare(tuned.reference, path, kind="F16", modelfile=wrong)
    assert list(found.differences) == ["template"]


def test_a_missing_stop_is_caught_as_stop(tuned: Tuned, tmp_path: Path) -> None:
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    without = replace(modelfile(tuned), stops=modelfile(tuned).stops[1:])
    found = parity.compare(tuned.reference, path, kind="F16", modelfile=without)
    assert list(found.differences) == ["stop"]
    assert repr(tuned.template.end_token) in found.differences["stop"]


def test_another_end_token_is_caught_as_stop(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = broken(tuned, tmp_path, monkeypatch, add_eos_token_id=lambda _: 11)
    assert "stop" in found.differences and "weights" not in found.differences


def test_a_swapped_pre_tokenizer_is_caught_as_tokenizer(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = broken(
        tuned, tmp_path, monkeypatch, add_tokenizer_pre=lambda pre: "phi-2" if pre == "qwen2" else "llama-bpe"
    )
    assert "pre-tokenizer" in found.differences["tokenizer"]
    assert set(found.differences) == {"tokenizer"}


def test_other_token_ids_are_caught_even_when_the_name_of_the_pre_tokenizer_is_right(
    tuned: Tuned, tmp_path: Path
) -> None:
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)

    class Renumbered:
        """The tokenizer of the reference with two letters exchanged."""

        a, e = tuned.reference.tokenizer.convert_tokens_to_ids(["a", "e"])

        def __getattr__(self, name: str) -> Any:
            return getattr(tuned.reference.tokenizer, name)

        def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
            ids = tuned.reference.tokenizer(text, **options)["input_ids"]
            return {"input_ids": [self.e if i == self.a else self.a if i == self.e else i for i in ids]}

    found = parity.compare(replace(tuned.reference, tokenizer=Renumbered()), path, kind="F16")
    assert re.search(r"from token \d+ on, training reads '.*' \(\d+\).* and the file '", found.differences["tokenizer"])


def test_a_wrong_rope_base_is_caught_as_rope(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = broken(tuned, tmp_path, monkeypatch, add_rope_freq_base=lambda base: base * 100)
    assert "rope.freq_base" in found.differences["rope"]
    assert "weights" in found.differences  # and it shows in what the model says


def test_another_share_of_rotary_dimensions_is_caught_as_rope(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = broken(tuned, tmp_path, monkeypatch, add_rope_dimension_count=lambda count: count // 2)
    assert "rope.dimension_count" in found.differences["rope"]
    assert found.positions == 0  # llama.cpp would have ended this process on it


def test_one_changed_matrix_is_caught_as_weights(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = iter(range(10_000))
    original = gguf.encode

    def spoil(piece: Any, stored: str) -> bytes:
        third = piece.ndim == 2 and next(matrices) == 3
        return original(piece * 1.3 if third else piece, stored)

    monkeypatch.setattr(gguf, "encode", spoil)
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    found = parity.compare(tuned.reference, path, kind="F16")
    assert list(found.differences) == ["weights"]


@pytest.mark.parametrize(("kind", "part"), [("llama-2", "attn_q"), ("llama-3", "attn_q"), ("mistral", "attn_k")])
def test_rows_in_the_order_of_transformers_are_caught_as_weights(
    kind: str, part: str, tuned_llamas: dict[str, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = tuned_llamas[kind]
    monkeypatch.setattr(gguf, "rotated_heads", lambda name, config: 0 if part in name else rotated_heads(name, config))
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    found = parity.compare(tuned.reference, path, kind="F16")
    assert "weights" in found.differences
    assert set(found.differences) <= {"weights", "stop"}  # greedy answers of other weights may end elsewhere


def test_unscaled_frequencies_are_caught_as_weights(
    tuned_llamas: dict[str, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = tuned_llamas["llama-3"]
    monkeypatch.setattr(gguf, "frequency_factors", lambda config: None)
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    assert "weights" in parity.compare(tuned.reference, path, kind="F16").differences


@pytest.mark.parametrize("kind", ["llama-2", "mistral"])
def test_a_blank_before_text_that_training_did_not_have_is_caught_as_tokenizer(
    kind: str, tuned_llamas: dict[str, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = broken(tuned_llamas[kind], tmp_path, monkeypatch, add_add_space_prefix=lambda blank: not blank)
    assert list(found.differences) == ["tokenizer"]


def test_dropped_biases_are_caught_as_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from finetune.demo.tiny import make_tiny
    from finetune.export.reference import reference_on

    folder, template = make_tiny(tmp_path / "model"), get_template("chatml")
    weights = load_file(folder / "model.safetensors")
    biases = [name for name in weights if name.endswith("_proj.bias")]
    assert len(biases) == 6  # q, k and v of two layers; random models begin with zeros there, real ones do not
    save_file(weights | {name: weights[name] + 0.5 for name in biases}, folder / "model.safetensors")
    prompts = [template.encode_prompt(AutoTokenizer.from_pretrained(folder), m) for m in parity.CONVERSATIONS[:2]]
    ref = reference_on(folder, template, prompts)
    whole = gguf.write_gguf(folder, tmp_path / "whole.gguf", template=template)
    assert parity.compare(ref, whole, kind="F16").differences == {}
    save_file(weights, folder / "model.safetensors")
    without = gguf.write_gguf(folder, tmp_path / "without.gguf", template=template)
    assert "weights" in parity.compare(ref, without, kind="F16").differences


def test_the_base_instead_of_the_tuned_model_is_caught(tuned: Tuned, tmp_path: Path) -> None:
    path = gguf.write_gguf(tuned.base, tmp_path / "m.gguf", template=tuned.template)
    found = parity.compare(tuned.reference, path, kind="F16")
    assert {"weights"} <= set(found.differences) <= {"weights", "stop"}


def test_a_server_that_returns_only_text_is_compared(tuned: Tuned, tmp_path: Path) -> None:
    path = gguf.write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template, kind="F16")
    ends = tuned.reference.tokenizer.convert_tokens_to_ids(tuned.template.end_token)
    with Engine(path, context=512) as engine:

        def served(prompt: str) -> list[tuple[str, float]]:
            found = engine.next_token_log_probs(engine.tokens(prompt), top=20)
            if found.ids[0] == ends:
                return []  # as Ollama does where the model ends its answer
            words = [tuned.reference.tokenizer.decode([int(i)]) for i in found.ids]
            return list(zip(words, found.log_probs.tolist(), strict=True))

        assert parity.compare_served(tuned.reference, served, kind="F16").differences == {}
        swapped = parity.compare_served(tuned.reference, lambda prompt: [("x", -0.1), *served(prompt)[1:]], kind="F16")
    assert "weights" in swapped.differences


# -- figures


def test_the_divergence_of_log_probs_from_themselves_is_zero() -> None:
    logs = np.log(np.array([0.5, 0.25, 0.25], np.float32))
    assert parity.divergence(logs, NextTokenLogProbs(np.array([0, 1, 2]), logs.astype(np.float64))) == 0.0


def test_divergence_is_the_formula() -> None:
    wanted = np.log(np.array([0.5, 0.5], np.float32))
    has = NextTokenLogProbs(np.array([0, 1]), np.log(np.array([0.9, 0.1])))
    assert parity.divergence(wanted, has) == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1), rel=1e-6)


def test_tokens_without_log_probs_count_as_one() -> None:
    wanted = np.log(np.array([0.6, 0.2, 0.2], np.float32))
    has = NextTokenLogProbs(np.array([0]), np.log(np.array([0.5])))
    assert parity.divergence(wanted, has) == pytest.approx(0.6 * np.log(0.6 / 0.5) + 0.4 * np.log(0.4 / 0.5), rel=1e-5)
