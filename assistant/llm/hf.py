"""Models of transformers in this process: a folder, a hub name, a training run, or a PEFT adapter."""

from __future__ import annotations

import functools
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.config import AssistantConfig, Sampling
from assistant.errors import ModelError, ModelNotFound
from assistant.llm import gguf
from assistant.llm.model import Model
from quire import require_extra

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_generating = threading.Lock()  # all models share the process's random state, so seeds need one answer at a time


@dataclass(frozen=True)
class Source:
    """What to load: a base model, and an adapter on top of it."""

    base: str
    adapter: str = ""  # folder; empty = none

    @property
    def tokenizer(self) -> str:
        """Return the folder or name that the tokenizer is read from: the adapter's folder, if one was saved there."""
        files = ("tokenizer.json", "tokenizer.model")
        own = self.adapter and any((Path(self.adapter) / file).is_file() for file in files)
        return self.adapter if own else self.base


def load(name: str, config: AssistantConfig) -> Model:
    """Return the model; raises ModelNotFound or ModelError if it cannot be loaded, UsageError without the extra.

    A folder with a GGUF file is loaded by llama.cpp, as `gguf:` does.
    """
    if path := _gguf_in(name):
        return gguf.load(path, config)
    source = find_source(name, config.home)  # before the imports, which take seconds
    require_extra("finetune", "torch", "transformers", purpose="an hf: model")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the libraries are imported
    model, tokenizer = _load(source)
    trained_window = int(getattr(model.config, "max_position_embeddings", 0) or config.window)

    def build(sampling: Sampling) -> BaseChatModel:
        chat: BaseChatModel = _chat_class()(
            model_name=f"hf:{name}", sampling=sampling, model=model, tokenizer=tokenizer
        )
        return chat

    return Model(
        name=f"hf:{name}",
        window=min(config.window, trained_window),
        build=build,
        count=lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
        counts_exactly=True,
        abort=lambda chat: chat.stop(),
    )


def find_source(name: str, home: Path) -> Source:
    """Return what a name means: the folder of a run, a model or an adapter, a run's name in the home folder, or a hub name.

    Raises ModelNotFound for a missing folder or base model, ModelError for a folder without a model, a run without a
    manifest, or an adapter whose weights are not safetensors.
    """
    for folder in (Path(name).expanduser(), home / "runs" / name):
        if not folder.is_dir():
            continue
        if (folder / "config.json").is_file():
            return Source(str(folder))
        if (folder / "adapter_config.json").is_file():
            return Source(_base_of(folder), str(folder))
        if not (folder / "manifest.json").is_file():
            raise ModelError(
                f"{folder} is no model (config.json), adapter (adapter_config.json), finished training run (manifest.json)"
                " or GGUF file",
                "resume the run, or give a folder with one of these",
            )
        adapter = folder / "adapter"
        if (adapter / "adapter_config.json").is_file():
            return Source(_base_of(adapter), str(adapter))
        if (folder / "model" / "config.json").is_file():
            return Source(str(folder / "model"))
        raise ModelError(f"{folder} contains neither an adapter nor a model", "give the folder of a finished run")
    if name.startswith((".", "/", "~")):
        raise ModelNotFound(f"there is no folder {name}", "give a folder, a hub name or the name of a run")
    return Source(name)


def _gguf_in(name: str) -> str:
    """Return the GGUF file in a folder that contains nothing else to load, or an empty text."""
    folder = Path(name).expanduser()
    if any((folder / file).is_file() for file in ("config.json", "adapter_config.json", "manifest.json")):
        return ""
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        raise ModelError(f"{folder} contains {len(files)} GGUF files", f"choose one: gguf:{files[0]}")
    return str(files[0]) if files else ""


def _base_of(adapter: Path) -> str:
    path = adapter / "adapter_config.json"
    try:
        base = str(json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path") or "")
    except ValueError as exc:
        raise ModelError(f"{path} cannot be read: {exc}", "copy it again") from exc
    if not base:
        raise ModelError(f"{adapter} does not name its base model", "give the merged model instead")
    if base.startswith((".", "/", "~")) and not Path(base).expanduser().is_dir():
        raise ModelNotFound(
            f"the base model of {adapter} is not in {base}",
            f"move it back, or correct base_model_name_or_path in {path}",
        )
    if not (adapter / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"{adapter} has no adapter_model.safetensors",
            "save the adapter as safetensors: pickle files (.bin) can run code and are not read",
        )
    return base


@functools.lru_cache(maxsize=1)
def _load(source: Source) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source.tokenizer)
        dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        model = AutoModelForCausalLM.from_pretrained(source.base, dtype=dtype, use_safetensors=True)
        if source.adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, source.adapter)
    except RuntimeError as exc:  # matrices of another size
        raise ModelError(
            f"the adapter {source.adapter} does not fit its base {source.base}: {str(exc).splitlines()[0]}",
            "correct base_model_name_or_path in its adapter_config.json",
        ) from exc
    except (OSError, ValueError) as exc:
        raise ModelNotFound(
            f"cannot load {source.base}: {str(exc).splitlines()[0]}", "check the name, the folder, and HF_HUB_OFFLINE"
        ) from exc
    if tokenizer.chat_template is None:
        raise ModelError(
            f"the tokenizer of {source.tokenizer} has no chat template",
            "save one in that folder as chat_template.jinja",
        )
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


@functools.cache
def _chat_class() -> type[Any]:
    # a function, because this module must import without LangChain
    from assistant.llm.local import Emit, Ending, LocalChat

    class HFChat(LocalChat):
        """Chats with one transformers model of this process."""

        model: Any
        tokenizer: Any

        @property
        def _llm_type(self) -> str:
            return "hf"

        def generate_text(self, messages: list[dict[str, Any]], stop: list[str], emit: Emit) -> Ending:
            import torch

            inputs = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            ).to(self.model.device)
            prompt_tokens = int(inputs["input_ids"].shape[1])
            writer = _Writer(self.tokenizer, prompt_tokens, emit, stop)
            with _generating, torch.inference_mode():
                if emit(""):  # stopped while it waited for another answer
                    return Ending("stop", 0, 0)
                if self.sampling.seed >= 0:
                    torch.manual_seed(self.sampling.seed)
                else:
                    torch.seed()  # torch itself starts every process with the same state
                output = self.model.generate(**inputs, **_options(self.sampling), stopping_criteria=[writer])
            writer.finish()
            answer_tokens = int(output.shape[1]) - prompt_tokens
            complete = writer.stopped or answer_tokens < self.sampling.max_tokens
            return Ending("stop" if complete else "length", prompt_tokens, answer_tokens)

    return HFChat


def _options(sampling: Sampling) -> dict[str, Any]:
    options: dict[str, Any] = {
        "max_new_tokens": sampling.max_tokens,
        "repetition_penalty": sampling.repetition_penalty,
        "do_sample": sampling.temperature > 0,
    }
    if sampling.temperature > 0:
        options |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    else:
        options |= {"temperature": None, "top_p": None, "top_k": None}  # unset, or transformers warns
    return options


class _Writer:
    """Decodes tokens as they are generated; holds back incomplete characters and what may be a stop text.

    A stopping criterion and not a streamer of transformers, which gets a token after it was decided whether to go on.
    """

    def __init__(self, tokenizer: Any, prompt_tokens: int, emit: Any, stop: list[str]) -> None:
        self.tokenizer, self.prompt_tokens, self.emit, self.stop = tokenizer, prompt_tokens, emit, stop
        self.tokens: list[int] = []
        self.emitted = 0  # characters
        self.stopped = False

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        self.tokens = input_ids[0, self.prompt_tokens :].tolist()
        self._emit(final=False)
        return torch.full((input_ids.shape[0],), self.stopped, device=input_ids.device)

    def finish(self) -> None:
        if not self.stopped:
            self._emit(final=True)

    def _emit(self, *, final: bool) -> None:
        text = self.tokenizer.decode(self.tokens, skip_special_tokens=True)
        ends = [at for end in self.stop if (at := text.find(end)) >= 0]
        if ends:
            text, self.stopped = text[: min(ends)], True
        elif not final:
            text = text.rstrip("\ufffd")  # an incomplete character
            keep = max((len(end) for end in self.stop), default=1) - 1
            text = text[: len(text) - keep] if keep else text
        if self.emit(text[self.emitted :]):
            self.stopped = True
        self.emitted = max(self.emitted, len(text))
