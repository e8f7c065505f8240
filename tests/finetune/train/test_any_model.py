"""What people have is found and loaded: runs, adapters of other tools, models, GGUF files; the rest is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import ModelUnavailable, NoSuchRun, RunError, TemplateError, UnfinishedRun
from finetune.runs.manifest import read_manifest
from finetune.templates.messages import Message
from finetune.train.any_model import FoundModel, find_model, load_model
from finetune.train.generate import Generated, continue_text, generate
from finetune.train.load import LoadedModel, load_plain

ASKED = (Message("user", "What does the cow say?"),)
OTHER_TOOLS_TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{{ '<|endoftext|>' if m['role'] == 'assistant' }}\n"
    "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)


def answer(loaded: LoadedModel) -> Generated:
    return generate(loaded, ASKED, max_new_tokens=8)


def make_adapter(folder: Path, base: str, **options: Any) -> Path:
    """Write an adapter as PEFT does, with random weights that change every answer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False, **options)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("foreign") / "adapter", models["qwen2"])


@pytest.fixture
def copied(adapter: Path, tmp_path: Path) -> Path:
    """The adapter in a folder that a test may change."""
    return Path(shutil.copytree(adapter, tmp_path / "copied"))


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"bias": "lora_only"}])
def test_an_adapter_of_another_tool_answers_as_peft_loads_it(
    options: dict[str, Any], models: dict[str, str], tmp_path: Path
) -> None:
    from peft import PeftModel

    folder = make_adapter(tmp_path / "adapter", models["qwen2"], **options)
    plain = load_plain(models["qwen2"], device="cpu")
    before = answer(plain)
    by_peft = PeftModel.from_pretrained(plain.model, folder).eval()
    wanted = answer(LoadedModel(by_peft, plain.tokenizer, plain.template, ""))
    assert answer(load_model(folder, device="cpu")) == wanted != before


def test_without_a_tokenizer_in_its_folder_an_adapter_has_the_template_of_its_base(
    adapter: Path, models: dict[str, str]
) -> None:
    loaded = load_model(adapter, device="cpu")
    assert loaded.template.name == "chatml" and loaded.base == models["qwen2"]


def test_the_chat_template_in_the_adapters_folder_comes_before_that_of_its_base(
    copied: Path, models: dict[str, str]
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models["qwen2"])
    tokenizer.chat_template = OTHER_TOOLS_TEMPLATE
    tokenizer.save_pretrained(copied)
    loaded = load_model(copied, device="cpu")
    ids = loaded.template.encode_prompt(loaded.tokenizer, ASKED)
    assert loaded.tokenizer.decode(ids) == "[user] What does the cow say?\n[assistant] "
    assert loaded.template.end_token == "<|endoftext|>"


def test_a_template_of_quire_comes_first(copied: Path, models: dict[str, str]) -> None:
    from finetune.templates.builtin import get_template
    from finetune.templates.find import save_template

    save_template(get_template("chatml-base"), copied)
    assert load_model(copied, device="cpu").template.name == "chatml-base"


def test_a_pulled_qlora_adapter_is_loaded_onto_a_4_bit_base(copied: Path) -> None:
    (copied / "quire.json").write_text(json.dumps({"method": "qlora"}))
    kinds = {type(module).__name__ for module in load_model(copied, device="cpu").model.modules()}
    assert "Linear4bit" in kinds


def test_a_base_that_has_moved_is_named_and_can_be_given(copied: Path, models: dict[str, str]) -> None:
    settings = json.loads((copied / "adapter_config.json").read_text())
    (copied / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "/gone/base"}))
    with pytest.raises(ModelUnavailable, match=r"is not in /gone/base \(.*--base"):
        load_model(copied, device="cpu")
    assert answer(load_model(copied, device="cpu", base=models["qwen2"])).tokens == 8


def test_a_base_of_another_size_is_reported(copied: Path, models: dict[str, str], tmp_path: Path) -> None:
    from finetune.demo.tiny import make_tiny

    other = make_tiny(tmp_path / "other", "qwen2", hidden=64)
    with pytest.raises(ModelUnavailable, match="does not fit its base"):
        load_model(copied, device="cpu", base=str(other))


def test_pickled_weights_are_refused(copied: Path, models: dict[str, str], tmp_path: Path) -> None:
    (copied / "adapter_model.safetensors").rename(copied / "adapter_model.bin")
    with pytest.raises(ModelUnavailable, match="is a pickle file, which can run code"):
        load_model(copied, device="cpu")
    model = Path(shutil.copytree(models["qwen2"], tmp_path / "model"))
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match="safetensors"):
        load_model(model, device="cpu")


def test_a_model_folder_answers_as_the_model(models: dict[str, str]) -> None:
    assert find_model(models["phi"]) == FoundModel("model", models["phi"])
    assert answer(load_model(models["phi"], device="cpu")) == answer(load_plain(models["phi"], device="cpu"))


def test_a_gguf_file_answers_as_the_model_that_it_was_written_from(models: dict[str, str], tmp_path: Path) -> None:
    from finetune.export.gguf import write_gguf
    from finetune.templates.builtin import get_template

    folder = tmp_path / "pulled"
    folder.mkdir()
    path = write_gguf(Path(models["qwen2"]), folder / "m.gguf", template=get_template("chatml"))
    wanted = answer(load_plain(models["qwen2"], device="cpu"))
    assert answer(load_model(folder, device="cpu")) == answer(load_model(path, device="cpu")) == wanted


def test_a_model_without_any_template_continues_texts_and_does_not_chat(models: dict[str, str], tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = Path(shutil.copytree(models["phi"], tmp_path / "base", ignore=shutil.ignore_patterns("model*", "config*")))
    GPT2LMHeadModel(GPT2Config(vocab_size=512, n_embd=32, n_layer=1, n_head=2)).save_pretrained(folder)
    with pytest.raises(TemplateError, match="no template is known"):
        load_model(folder, device="cpu")
    loaded = load_model(folder, device="cpu", chat=False)
    assert continue_text(loaded, "Once upon a time", max_new_tokens=4).tokens == 4


def test_a_folder_with_several_gguf_files_asks_for_one(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(ModelUnavailable, match=r"give one of them: a\.gguf, b\.gguf"):
        find_model(tmp_path)


def test_a_folder_without_a_model_is_named_with_what_is_in_it(tmp_path: Path, adapter: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelUnavailable, match=r"contains notes\.txt, and no model \(give a finished run"):
        find_model(tmp_path)
    with pytest.raises(ModelUnavailable, match=f"a PEFT adapter is in it: give {adapter}"):
        find_model(adapter.parent)
    with pytest.raises(ModelUnavailable, match=r"not a \.gguf file"):
        find_model(tmp_path / "notes.txt")


def test_an_unfinished_run_and_a_missing_one_are_told_apart(home: Path) -> None:
    (home / "runs" / "half").mkdir(parents=True)
    (home / "runs" / "half" / "config.toml").touch()
    with pytest.raises(UnfinishedRun, match="--resume"):
        find_model("half")
    with pytest.raises(NoSuchRun, match=r"the runs are half; or give a finished run, a folder with a PEFT adapter"):
        find_model("haalf")


def test_a_command_that_needs_a_run_says_what_a_foreign_folder_is(adapter: Path, models: dict[str, str]) -> None:
    with pytest.raises(RunError, match=r"contains a PEFT adapter, not a run of quire"):
        read_manifest(adapter)
    with pytest.raises(RunError, match=r"contains a model, not a run of quire"):
        read_manifest(models["phi"])
