"""GGUF files in this process: llama.cpp through xllamacpp, as a LangChain chat model."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.config import AssistantConfig, Sampling
from assistant.errors import ModelError, ModelNotFound, PromptTooLong
from assistant.llm.model import Model
from quire import require_extra

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

# (path, modification time, window): its llama.cpp server. Kept, because loading takes seconds.
_servers: dict[tuple[str, float, int], Any] = {}
_servers_lock = threading.Lock()
BATCH = 512  # prompt tokens per forward pass: a stop is noticed between two passes


def load(name: str, config: AssistantConfig) -> Model:
    """Return the model in a GGUF file.

    Raises ModelNotFound if there is no such file, ModelError for a file that llama.cpp cannot read, and UsageError if
    the extra is not installed.
    """
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
        chat: BaseChatModel = _chat_class()(model_name=f"gguf:{path.name}", sampling=sampling, server=server)
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
    require_extra("gguf", "xllamacpp", purpose="a gguf: model")
    import xllamacpp

    key = (str(path), path.stat().st_mtime, window)
    with _servers_lock:
        if key not in _servers:
            params = xllamacpp.CommonParams()
            params.model.path = str(path)
            params.n_ctx = window
            params.n_batch = BATCH
            params.n_parallel = 1  # more slots would divide the window
            params.warmup = False
            params.verbosity = -1  # llama.cpp prints nothing
            try:
                _servers[key] = xllamacpp.Server(params)
            except Exception as exc:
                raise ModelError(
                    f"llama.cpp cannot load {path}: {exc}",
                    "check that the file is complete and its architecture is supported",
                ) from exc
        return _servers[key]


def _trained_window(server: Any) -> int:
    models = _request(server, "GET", "/v1/models").get("data") or [{}]
    return int((models[0].get("meta") or {}).get("n_ctx_train") or 0)


def _count(server: Any, text: str) -> int:
    return len(_request(server, "POST", "/tokenize", {"content": text})["tokens"])


def _request(server: Any, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON object that the server answers to what xllamacpp has no method for."""
    import httpx

    from assistant.llm.transport import ssl_context

    address = server.listening_address + path
    try:
        response = httpx.request(method, address, json=body, timeout=20, verify=ssl_context(), trust_env=False)
        answer: dict[str, Any] = response.raise_for_status().json()
    except httpx.HTTPError as exc:
        raise ModelError(f"llama.cpp does not answer: {exc}", "ask again, or choose another model") from exc
    return answer


@functools.cache
def _chat_class() -> type[Any]:
    # a function, because this module must import without LangChain
    from assistant.llm.local import Emit, Ending, LocalChat

    class GGUFChat(LocalChat):
        """Chats with one llama.cpp server of this process."""

        server: Any

        @property
        def _llm_type(self) -> str:
            return "gguf"

        def generate_text(self, messages: list[dict[str, Any]], stop: list[str], emit: Emit) -> Ending:
            end: dict[str, Any] = {"reason": "stop", "prompt_tokens": 0, "answer_tokens": 0}
            errors: list[Any] = []

            def receive(event: dict[str, Any]) -> bool:
                """Take one event of the stream; returns True to end generation."""
                if "error" in event:
                    errors.append(event["error"])
                    return True
                if event.get("usage"):
                    end["prompt_tokens"] = event["usage"]["prompt_tokens"]
                    end["answer_tokens"] = event["usage"]["completion_tokens"]
                for choice in event.get("choices") or []:
                    end["reason"] = choice.get("finish_reason") or end["reason"]
                    if emit(choice.get("delta", {}).get("content") or ""):
                        return True
                return False

            result = self.server.handle_chat_completions(_chat_request(messages, self.sampling, stop), receive)
            if isinstance(result, dict) and "error" in result:
                errors.append(result["error"])
            if errors:
                raise _failure(errors[0])
            return Ending(**end)

    return GGUFChat


def _chat_request(messages: list[dict[str, Any]], sampling: Sampling, stop: list[str]) -> dict[str, Any]:
    return {
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # an event after each batch of the prompt, at which a stop is noticed
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
    message = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        return PromptTooLong(f"llama.cpp: {message}", "lower max_tokens or raise window in quire.toml")
    return ModelError(f"llama.cpp: {message}", "ask again, or choose another model")
