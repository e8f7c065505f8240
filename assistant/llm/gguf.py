"""A GGUF file in this process: llama.cpp through xllamacpp, as a LangChain chat model."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.config import AssistantConfig, Sampling
from assistant.errors import ModelError, ModelNotFound, PromptTooLong
from assistant.llm import Model, servers
from quire import UsageError, install_extra

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_loaded: dict[tuple[str, float, int], Any] = {}  # (path, time of change, window) -> server: loading takes seconds
_lock = threading.Lock()


def load(name: str, config: AssistantConfig) -> Model:
    """Return the model in a GGUF file; raises ModelNotFound for no file, ModelError for one llama.cpp cannot read."""
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise ModelNotFound(f"there is no file {path}", "give the path of a .gguf file: gguf:/path/model.gguf")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(
                f"{path} is not a GGUF file", "export one with `quire finetune gguf`, or give another file"
            )
    server = _server(path, config.window)
    window = min(config.window, _trained_window(server) or config.window)

    def build(sampling: Sampling) -> BaseChatModel:
        chat: BaseChatModel = _chat_class()(name_of_model=f"gguf:{path.name}", sampling=sampling, server=server)
        return chat

    return Model(
        name=f"gguf:{name}",
        window=window,
        build=build,
        count=lambda text: _count(server, text),
        counts_exactly=True,
        abort=lambda chat: chat.stop(),
    )


def _server(path: Path, window: int) -> Any:
    try:
        import xllamacpp
    except ImportError as exc:
        raise UsageError("gguf: models need xllamacpp", f"install it: {install_extra('gguf')}") from exc
    key = (str(path), path.stat().st_mtime, window)
    with _lock:
        if key not in _loaded:
            params = xllamacpp.CommonParams()
            params.model.path = str(path)
            params.n_ctx = window
            params.n_parallel = 1  # slots would divide the window
            params.warmup = False
            params.verbosity = -1  # nothing of llama.cpp on the terminal
            try:
                _loaded[key] = xllamacpp.Server(params)
            except Exception as exc:
                raise ModelError(
                    f"llama.cpp cannot load {path}: {exc}", "is the file whole and its architecture known?"
                ) from exc
        return _loaded[key]


def _trained_window(server: Any) -> int:
    models = servers.request(server.listening_address, "GET", "/v1/models").get("data") or [{}]
    return int((models[0].get("meta") or {}).get("n_ctx_train") or 0)


def _count(server: Any, text: str) -> int:
    return len(servers.request(server.listening_address, "POST", "/tokenize", {"content": text})["tokens"])


@functools.cache
def _chat_class() -> type[Any]:
    # a function, since this module must import without LangChain
    from assistant.llm.local import Emit, Ended, LocalChat

    class GGUFChat(LocalChat):
        """One llama.cpp server of this process."""

        server: Any

        @property
        def _llm_type(self) -> str:
            return "gguf"

        def write(self, messages: list[dict[str, Any]], stop: list[str], emit: Emit) -> Ended:
            end: dict[str, Any] = {"reason": "stop", "prompt_tokens": 0, "answer_tokens": 0}

            def take(part: dict[str, Any]) -> bool:
                if "error" in part:
                    failed.append(part["error"])
                    return True
                if part.get("usage"):
                    end["prompt_tokens"] = part["usage"]["prompt_tokens"]
                    end["answer_tokens"] = part["usage"]["completion_tokens"]
                for choice in part.get("choices") or []:
                    end["reason"] = choice.get("finish_reason") or end["reason"]
                    if emit(choice.get("delta", {}).get("content") or ""):
                        return True
                return False

            failed: list[Any] = []
            result = self.server.handle_chat_completions(_request(messages, self.sampling, stop), take)
            if isinstance(result, dict) and "error" in result:
                failed.append(result["error"])
            if failed:
                raise _failure(failed[0])
            return Ended(end["reason"], end["prompt_tokens"], end["answer_tokens"])

    return GGUFChat


def _request(messages: list[dict[str, Any]], sampling: Sampling, stop: list[str]) -> dict[str, Any]:
    return {
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "repeat_penalty": sampling.repetition_penalty,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": stop,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def _failure(error: Any) -> Exception:
    said = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        return PromptTooLong(f"llama.cpp: {said}", "lower max_tokens or raise window in quire.toml")
    return ModelError(f"llama.cpp: {said}", "ask again, or choose another model")
