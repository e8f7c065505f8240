import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from assistant.answering.agent import Agent
from assistant.answering.answer import Done, Token
from assistant.config import AssistantConfig, Sampling
from assistant.errors import ModelError, ModelNotFound
from assistant.llm.hf import Source, _generating, find_source
from assistant.llm.kinds import load_model
from tests.assistant.helpers import PagesStore, WordEmbedder
from tests.assistant.tiny import CHATML, SPECIALS, byte_tokens, write_gguf

for library in ("torch", "peft"):
    if (
        importlib.util.find_spec(library) is None
    ):  # importing them takes seconds, which the whole collection would wait for
        pytest.skip(f"{library} is not installed", allow_module_level=True)
QUESTION = "What is the diameter of the moon?"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("hf") / "model"
    tokenizer = Tokenizer(
        models.BPE(vocab={token: n for n, token in enumerate([*byte_tokens(), *SPECIALS])}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        eos_token_id=258,
        pad_token_id=256,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run_folder(model_folder, tmp_path_factory):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = tmp_path_factory.mktemp("home") / "runs" / "mine"
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(run / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.chat_template = "TEMPLATE OF THE RUN" + CHATML
    tokenizer.save_pretrained(run / "adapter")
    (run / "manifest.json").write_text(json.dumps({"base": str(model_folder)}))
    return run


def make_agent(name, home=None, **settings):
    settings = {"window": 4096, "max_tokens": 12, "threshold": 0.05, "seed": 1} | settings
    config = AssistantConfig(**settings) if home is None else AssistantConfig(home=home, **settings)
    return Agent(config, load_model(f"hf:{name}", config), PagesStore(), WordEmbedder())


def test_the_agent_streams_from_a_folder(model_folder):
    events = list(make_agent(model_folder).stream(QUESTION))
    answer = events[-1].answer
    assert answer.usage.answer_tokens == 12
    assert any("maximum length" in notice for notice in answer.notices)
    assert "".join(event.text for event in events if isinstance(event, Token)).strip() == answer.text


def test_a_training_run_answers_with_its_adapter_and_its_own_template(run_folder, monkeypatch):
    agent = make_agent("mine", home=run_folder.parent.parent)
    chat = agent.model.build(Sampling(temperature=0, max_tokens=2))
    assert chat.tokenizer.chat_template.startswith("TEMPLATE OF THE RUN")
    assert type(chat.model).__name__.startswith("PeftModel")
    assert agent.ask(QUESTION).usage.answer_tokens == 12


def test_a_seed_repeats_and_temperature_zero_repeats(model_folder):
    agent = make_agent(model_folder)
    for sampling in (Sampling(temperature=0, max_tokens=8), Sampling(temperature=1, top_k=0, seed=5, max_tokens=8)):
        assert agent.ask(QUESTION, sampling=sampling).text == agent.ask(QUESTION, sampling=sampling).text


def test_a_stop_text_ends_the_answer_before_it(model_folder):
    agent = make_agent(model_folder)
    greedy = Sampling(temperature=0, max_tokens=12, repetition_penalty=2.0)
    raw = "".join(chunk.text for chunk in agent.model.build(greedy).stream("hello"))
    end = raw[3:5]
    stopping = Sampling(temperature=0, max_tokens=12, repetition_penalty=2.0, stop=(end,))
    assert "".join(chunk.text for chunk in agent.model.build(stopping).stream("hello")) == raw[: raw.index(end)]


def test_a_cancel_ends_generation(model_folder):
    agent, cancel, after = make_agent(model_folder, max_tokens=1500), threading.Event(), 0
    for event in agent.stream(QUESTION, cancel=cancel):
        if isinstance(event, Token):
            after += cancel.is_set()
            cancel.set()
        if isinstance(event, Done):
            assert event.answer.interrupted == "stopped"
    assert after <= 1


@contextmanager
def forward_passes(after=lambda number: None):
    """Collect 1 for each forward pass of the tiny model inside the `with`; `after` is called with its number."""
    from torch.nn.modules.module import register_module_forward_hook

    passes = []

    def count(module, args, output):
        if type(module).__name__ == "Qwen2ForCausalLM":
            passes.append(1)
            after(len(passes))

    hook = register_module_forward_hook(count)
    try:
        yield passes
    finally:
        hook.remove()


def test_a_stop_ends_the_computation_within_one_forward_pass(model_folder):
    agent, cancel, at_stop = make_agent(model_folder, max_tokens=1500), threading.Event(), []

    def abort(chat):
        at_stop.append(len(passes))
        model.abort(chat)

    model = agent.model
    agent.model = replace(model, abort=abort)
    with forward_passes() as passes:
        for event in agent.stream(QUESTION, cancel=cancel):
            if isinstance(event, Token):
                cancel.set()
        with _generating:  # the thread that generates has ended
            assert 0 < at_stop[0] <= len(passes) <= at_stop[0] + 1


def test_a_stop_during_the_prompt_ends_with_that_pass(model_folder):
    chat = make_agent(model_folder).model.build(Sampling(max_tokens=200))
    with forward_passes(lambda number: chat.stop()) as passes:
        assert list(chat.stream("hello"))[-1].response_metadata["finish_reason"] == "stop"
    assert len(passes) == 1


def test_a_stopped_chat_computes_nothing(model_folder):
    chat = make_agent(model_folder).model.build(Sampling(max_tokens=200))
    chat.stop()
    with forward_passes() as passes:
        assert "".join(chunk.text for chunk in chat.stream("hello")) == ""
    assert not passes


def test_an_answer_without_a_seed_does_not_repeat_after_one_with_a_seed(model_folder):
    model = make_agent(model_folder).model

    def write(seed):
        return model.build(Sampling(temperature=1, top_k=0, seed=seed, max_tokens=8)).invoke("hello").content

    answers = [write(seed) for seed in (5, -1, 5, -1)]
    assert answers[0] == answers[2] and answers[1] != answers[3]


def test_an_unfinished_run_is_refused(tmp_path):
    (tmp_path / "runs" / "half" / "adapter").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"finished training run \(manifest\.json\)"):
        find_source("half", tmp_path)


@pytest.fixture
def adapter(run_folder, tmp_path):
    """The adapter of the run as other tools save theirs: alone, without a tokenizer."""
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(run_folder / "adapter" / name, tmp_path / name)
    return tmp_path


def test_an_adapter_of_another_tool_has_the_tokenizer_and_template_of_its_base(adapter):
    chat = make_agent(adapter).model.build(Sampling(temperature=0, max_tokens=2))
    assert chat.tokenizer.chat_template == CHATML
    assert type(chat.model).__name__.startswith("PeftModel")
    assert chat.invoke("hello").usage_metadata["output_tokens"] == 2


def test_an_adapter_whose_base_has_moved_is_refused(adapter):
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "/gone"}))
    with pytest.raises(ModelNotFound, match=r"is not in /gone \(move it back, or correct base_model_name_or_path"):
        find_source(str(adapter), adapter)


def test_pickled_adapter_weights_are_refused(adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match="can run code"):
        find_source(str(adapter), adapter)


def test_a_folder_with_a_gguf_file_is_loaded_by_llama_cpp(tmp_path):
    pytest.importorskip("xllamacpp")
    path = write_gguf(tmp_path / "tiny.gguf", context=4096)
    assert make_agent(tmp_path).model.name == f"gguf:{path}"
    (tmp_path / "second.gguf").touch()
    with pytest.raises(ModelError, match="contains 2 GGUF files"):
        make_agent(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ModelNotFound, match="there is no folder"):
        find_source("./gone", tmp_path)
    assert find_source("Qwen/Qwen2.5-0.5B-Instruct", tmp_path) == Source("Qwen/Qwen2.5-0.5B-Instruct")


def test_a_missing_folder_is_reported_before_anything_heavy_is_imported(tmp_path):
    code = (
        "import sys\nfrom assistant.config import AssistantConfig\nfrom assistant.errors import ModelNotFound\n"
        "from assistant.llm.kinds import load_model\n"
        "try:\n    load_model('hf:/nope', AssistantConfig())\n"
        "except ModelNotFound as exc:\n    print(exc, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("there is no folder /nope")
    assert done.stdout.endswith("False\n")
