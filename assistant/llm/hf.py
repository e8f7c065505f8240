"""A model of transformers in this process: a folder, a name of the hub, or a training run (its base with its adapter)."""

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
from assistant.llm import Model
from quire import UsageError, install_extra

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_generating = threading.Lock()  # the random state is the process's: two answers at once would draw from one seed


@dataclass(frozen=True)
class Source:
    """What is to be loaded: a base model, and the adapter of a training run on top of it ("" for none)."""

    base: str
    adapter: str = ""


def load(name: str, config: AssistantConfig) -> Model:
    """Return the model; raises UsageError without the libraries, ModelNotFound or ModelError where it cannot be had."""
    source = find(name, config.home)  # before the imports, which take seconds
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the libraries are imported
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as exc:
        raise UsageError(
            "hf: models need torch and transformers", f"install them: {install_extra('finetune')}"
        ) from exc
    model, tokenizer = _load(source)
    own = int(getattr(model.config, "max_position_embeddings", 0) or config.window)

    def build(sampling: Sampling) -> BaseChatModel:
        chat: BaseChatModel = _chat_class()(
            name_of_model=f"hf:{name}", sampling=sampling, model=model, tokenizer=tokenizer
        )
        return chat

    return Model(
        name=f"hf:{name}",
        window=min(config.window, own),
        build=build,
        count=lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
        counts_exactly=True,
        abort=lambda chat: chat.stop(),
    )


def find(name: str, home: Path) -> Source:
    """Return what a name means: a folder of a run or of a model, a run's name under the home folder, or a hub name.

    A run without a manifest is unfinished and refused.
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
                f"{folder} holds no model (config.json), and as a training run it is without a manifest: not finished",
                "resume the run, or give the folder of a model or of a finished run",
            )
        adapter = folder / "adapter"
        if (adapter / "adapter_config.json").is_file():
            return Source(_base_of(adapter), str(adapter))
        if (folder / "model" / "config.json").is_file():
            return Source(str(folder / "model"))
        raise ModelError(f"{folder} holds no adapter and no model", "give the folder of a finished run")
    if name.startswith((".", "/", "~")):
        raise ModelNotFound(f"there is no folder {name}", "give a folder, a hub name or the name of a run")
    return Source(name)


def _base_of(adapter: Path) -> str:
    base = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{adapter} does not say which base model it belongs to", "give the merged model instead")
    return str(base)


@functools.lru_cache(maxsize=1)
def _load(source: Source) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        # the adapter's folder holds the tokenizer and the chat template of the training, which must be the ones used
        tokenizer = AutoTokenizer.from_pretrained(source.adapter or source.base)
        dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        model = AutoModelForCausalLM.from_pretrained(source.base, dtype=dtype, use_safetensors=True)
        if source.adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, source.adapter)
    except (OSError, ValueError) as exc:
        raise ModelNotFound(
            f"cannot load {source.base}: {str(exc).splitlines()[0]}", "check the name, the folder, and HF_HUB_OFFLINE"
        ) from exc
    if tokenizer.chat_template is None:
        raise ModelError(
            f"the tokenizer of {source.adapter or source.base} has no chat template",
            "save one beside it: chat_template.jinja",
        )
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


@functools.cache
def _chat_class() -> type[Any]:
    # a function, since this module must import without LangChain
    from assistant.llm.local import Emit, Ended, LocalChat

    class HFChat(LocalChat):
        """One transformers model of this process."""

        model: Any
        tokenizer: Any

        @property
        def _llm_type(self) -> str:
            return "hf"

        def write(self, messages: list[dict[str, Any]], stop: list[str], emit: Emit) -> Ended:
            import torch

            inputs = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            ).to(self.model.device)
            streamer = _Streamer(self.tokenizer, emit, stop)
            with _generating, torch.inference_mode():
                if self.sampling.seed >= 0:
                    torch.manual_seed(self.sampling.seed)
                output = self.model.generate(
                    **inputs, **_options(self.sampling), streamer=streamer, stopping_criteria=[streamer.must_stop]
                )
            streamer.finish()
            read = int(inputs["input_ids"].shape[1])
            written = int(output.shape[1]) - read
            ended = streamer.stopped or written < self.sampling.max_tokens
            return Ended("stop" if ended else "length", read, written)

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
        options |= {"temperature": None, "top_p": None, "top_k": None}  # else transformers warns of unused controls
    return options


class _Streamer:
    """Turns tokens into text as they come, holding back half characters and what may be a stop text."""

    def __init__(self, tokenizer: Any, emit: Any, stop: list[str]) -> None:
        self.tokenizer, self.emit, self.stop = tokenizer, emit, stop
        self.tokens: list[int] = []
        self.shown = 0
        self.stopped = False
        self._prompt = True

    def put(self, value: Any) -> None:
        if self._prompt:  # transformers hands over the prompt first
            self._prompt = False
            return
        self.tokens += value.flatten().tolist()
        self._show(final=False)

    def end(self) -> None:
        """Required by transformers; `finish` does the work, once it is known that generation came to its end."""

    def finish(self) -> None:
        if not self.stopped:
            self._show(final=True)

    def must_stop(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        return torch.full((input_ids.shape[0],), self.stopped, device=input_ids.device)

    def _show(self, *, final: bool) -> None:
        text = self.tokenizer.decode(self.tokens, skip_special_tokens=True)
        ends = [at for end in self.stop if (at := text.find(end)) >= 0]
        if ends:
            text, self.stopped = text[: min(ends)], True
        elif not final:
            text = text.rstrip("\ufffd")  # half of a character
            keep = max((len(end) for end in self.stop), default=1) - 1
            text = text[: len(text) - keep] if keep else text
        if self.emit(text[self.shown :] if len(text) > self.shown else ""):
            self.stopped = True
        self.shown = max(self.shown, len(text))
