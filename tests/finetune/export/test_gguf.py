"""A model folder as one GGUF file: keys, tokens, tensors, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from finetune.errors import AlreadyExists, UnsupportedModel
from finetune.export import gguf
from finetune.export.gguf import context_length, gguf_tensors, read_config, write_gguf
from finetune.export.gguf_header import read_header
from finetune.templates.jinja_and_go import to_jinja
from tests.finetune.export_home import Tuned


def test_the_keys_that_change_answers_are_written(tuned: Tuned, tmp_path: Path) -> None:
    header = read_header(write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template, system="Be brief."))
    config = json.loads((tuned.merged / "config.json").read_text())
    found = {
        key: header.get(key)
        for key in (
            "general.architecture", "general.file_type", "{arch}.context_length", "{arch}.embedding_length",
            "{arch}.block_count", "{arch}.feed_forward_length", "{arch}.attention.head_count",
            "{arch}.attention.head_count_kv", "{arch}.rope.dimension_count", "tokenizer.ggml.model",
            "tokenizer.ggml.pre", "tokenizer.ggml.add_bos_token", "quire.template", "quire.system",
        )
    }  # fmt: skip
    qwen = tuned.kind == "qwen2"
    assert found == {
        "general.architecture": "qwen2" if qwen else "phi2",
        "general.file_type": 1,
        "{arch}.context_length": 2048,
        "{arch}.embedding_length": 256,
        "{arch}.block_count": 2,
        "{arch}.feed_forward_length": 512 if qwen else 1024,
        "{arch}.attention.head_count": 4,
        "{arch}.attention.head_count_kv": 2 if qwen else 4,
        "{arch}.rope.dimension_count": 64 if qwen else 32,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2" if qwen else "phi-2",
        "tokenizer.ggml.add_bos_token": False,
        "quire.template": tuned.template.name,
        "quire.system": "Be brief.",
    }
    assert header.get("{arch}.rope.freq_base") == pytest.approx(config["rope_parameters"]["rope_theta"])
    assert header.get("tokenizer.chat_template") == to_jinja(tuned.template)
    assert header.get("quire.stops")[0] == tuned.template.end_token
    tokens = header.get("tokenizer.ggml.tokens")
    assert len(tokens) == config["vocab_size"]
    assert tokens[header.get("tokenizer.ggml.eos_token_id")] == tuned.template.end_token
    types = dict(zip(tokens, header.get("tokenizer.ggml.token_type"), strict=True))
    assert types["<|endoftext|>"] == 3 and types["a"] == 1
    assert {t for n, t in types.items() if n.startswith("[PAD")} <= {5}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("llama-2", ("llama", "default", "<s>", "</s>", "<unk>", True, 2048, 64, None)),
        ("llama-3", ("gpt2", "llama-bpe", "<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>", None, 2048, 64, None)),
        ("mistral", ("llama", "default", "<s>", "</s>", "<unk>", False, 512, 32, 32)),
    ],
)
def test_the_keys_of_llama_and_mistral(
    kind: str, expected: tuple[Any, ...], tuned_llamas: dict[str, Tuned], tmp_path: Path
) -> None:
    from gguf import GGUFReader

    tuned = tuned_llamas[kind]
    path = write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    header = read_header(path)
    tokens = header.get("tokenizer.ggml.tokens")
    names = [tokens[header.get(f"tokenizer.ggml.{name}_token_id")] for name in ("bos", "eos", "unknown")]
    assert header.get("general.architecture") == "llama"
    assert header.get("tokenizer.ggml.add_bos_token") is False  # the template has it
    assert header.get("tokenizer.chat_template").count(names[0]) >= 1
    assert (
        header.get("tokenizer.ggml.model"),
        header.get("tokenizer.ggml.pre"),
        *names,
        header.get("tokenizer.ggml.add_space_prefix"),
        header.get("{arch}.context_length"),
        header.get("{arch}.rope.dimension_count"),
        header.get("{arch}.attention.key_length"),
    ) == expected
    factors = {t.name for t in GGUFReader(path).tensors} & {"rope_freqs.weight"}
    assert bool(factors) == (kind == "llama-3")


def test_a_context_is_limited_to_the_sliding_window() -> None:
    mistral = {"architectures": ["MistralForCausalLM"], "max_position_embeddings": 32768}
    assert context_length({**mistral, "sliding_window": 4096}) == 4096
    assert context_length({**mistral, "sliding_window": None}) == 32768
    assert context_length(mistral) == 4096  # transformers' default
    assert context_length({**mistral, "architectures": ["LlamaForCausalLM"]}) == 32768


def test_the_weights_are_those_of_the_folder(tuned: Tuned, tmp_path: Path) -> None:
    from gguf import GGUFReader
    from safetensors.numpy import load_file

    wanted = load_file(tuned.merged / "model.safetensors")
    reader = GGUFReader(write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template, kind="F32"))
    found = {t.name: t.data for t in reader.tensors}
    assert len(found) == len(wanted)
    assert np.array_equal(found["token_embd.weight"], wanted["model.embed_tokens.weight"])
    down = "mlp.down_proj" if tuned.kind == "qwen2" else "mlp.fc2"
    assert np.array_equal(found["blk.1.ffn_down.weight"], wanted[f"model.layers.1.{down}.weight"])


def test_pieces_do_not_show_in_the_file(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetune import safetensors_io as weights

    for kind in ("F16", "Q8_0"):
        whole = write_gguf(
            tuned.merged, tmp_path / f"a-{kind}", template=tuned.template, kind=kind, name="m"
        ).read_bytes()
        monkeypatch.setattr(weights.Tensor.pieces, "__defaults__", (20_000,))
        pieces = write_gguf(
            tuned.merged, tmp_path / f"b-{kind}", template=tuned.template, kind=kind, name="m"
        ).read_bytes()
        monkeypatch.undo()
        assert whole == pieces


def test_an_existing_file_is_refused(tuned: Tuned, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"mine")
    with pytest.raises(AlreadyExists, match="choose another --out"):
        write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    assert (tmp_path / "m.gguf").read_bytes() == b"mine"


def test_a_failure_leaves_no_half_file(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def fail(*_: Any) -> bytes:
        raise OSError("no space left")

    monkeypatch.setattr(gguf, "encode", fail)
    with pytest.raises(OSError, match="no space"):
        write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "MambaForCausalLM"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"use_sliding_window": True}, "use_sliding_window is set"),
        ({"qk_layernorm": True}, "qk_layernorm is set"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "longrope"),
    ],
)
def test_a_setting_that_llama_cpp_runs_differently_is_refused_by_name(
    tuned: Tuned, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    config = json.loads((tuned.merged / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UnsupportedModel, match=named):
        read_config(tmp_path)


def test_rope_of_type_llama3_is_refused_where_llama_cpp_does_not_scale(tuned: Tuned, tmp_path: Path) -> None:
    config = json.loads((tuned.merged / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "rope_parameters": {"rope_type": "llama3"}}))
    with pytest.raises(UnsupportedModel, match="RoPE type 'llama3'") as caught:
        read_config(tmp_path)
    assert "default, linear, yarn" in caught.value.hint


def test_a_tensor_without_a_gguf_name_is_named(tuned: Tuned, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    shutil.copytree(tuned.merged, tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    save_file({**load_file(path), "model.layers.0.mlp.lora_A.weight": np.zeros((2, 2), np.float32)}, path)
    with pytest.raises(UnsupportedModel, match="merge the adapter first"):
        write_gguf(tmp_path / "m", tmp_path / "m.gguf", template=tuned.template)


CONVERT = """
import runpy, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/gguf-py"]
import conversion.base as base
pre = sys.argv[2]
base.TextModel.get_vocab_base_pre = lambda self, tokenizer: pre  # it knows real vocabularies by their hash only
sys.argv = ["convert", *sys.argv[3:]]
runpy.run_path(sys.path[0] + "/convert_hf_to_gguf.py", run_name="__main__")
"""


@pytest.mark.skipif("LLAMA_CPP" not in os.environ, reason="LLAMA_CPP does not name a checkout of llama.cpp")
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_tensors_equal_those_of_llama_cpps_own_converter(tuned: Tuned, tmp_path: Path, kind: str) -> None:
    from gguf import GGUFReader

    ours = write_gguf(tuned.merged, tmp_path / "ours.gguf", template=tuned.template, kind=kind)
    theirs = tmp_path / "theirs.gguf"
    pre = "qwen2" if tuned.kind == "qwen2" else "phi-2"
    subprocess.run(
        [sys.executable, "-c", CONVERT, os.environ["LLAMA_CPP"], pre, str(tuned.merged), "--outfile", str(theirs),
         "--outtype", kind.lower()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    left = {t.name: (t.tensor_type, t.data.tobytes()) for t in GGUFReader(ours).tensors}
    right = {t.name: (t.tensor_type, t.data.tobytes()) for t in GGUFReader(theirs).tensors}
    assert set(left) == set(right)
    assert [name for name in left if left[name] != right[name]] == []
    a, b = read_header(ours), read_header(theirs)
    for key in ("tokens", "token_type", "merges", "pre", "model"):
        assert a.get(f"tokenizer.ggml.{key}") == b.get(f"tokenizer.ggml.{key}"), key


@pytest.mark.parametrize(("shift", "has_head"), [(0.0, False), (0.01, True)])
def test_an_output_head_is_written_if_it_differs_from_the_embedding_whatever_the_flag_says(
    tuned_models: dict[str, Tuned], tmp_path: Path, shift: float, has_head: bool
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tuned_models["qwen2"].base, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {**weights, "lm_head.weight": weights["model.embed_tokens.weight"] + np.float32(shift)},
        folder / "model.safetensors",
    )
    config = read_config(folder)
    assert config["tie_word_embeddings"]
    assert ("output.weight" in gguf_tensors(folder, config)) is has_head
