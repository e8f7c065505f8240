"""Ollama's chat models, with a window that never changes and a stream that can be cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assistant.answering.budget import estimate_tokens
from assistant.config import AssistantConfig, Sampling
from assistant.errors import AssistantError, ModelInterrupted, ModelNotFound, ModelUnreachable
from assistant.llm import Model, servers
from assistant.llm.tokens import counter
from quire import UsageError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


def load(name: str, config: AssistantConfig) -> Model:
    """Return a model of the first Ollama that answers; raises ModelUnreachable, ModelNotFound, or UsageError for an embedder."""
    base = servers.reach(config)
    try:
        shown = servers.request(base, "POST", "/api/show", {"model": name, "verbose": True})
    except ModelNotFound as exc:
        raise ModelNotFound(
            f"Ollama at {base} has no model {name!r}", f"fetch it: `ollama pull {name}`, or repeat with --pull"
        ) from exc
    capabilities = list(shown.get("capabilities") or ["completion"])
    if "completion" not in capabilities:
        raise UsageError(f"{name} is an embedding model and cannot answer", "see `quire models` for those that can")
    window = window_of(shown, config.window)
    thinks = "thinking" in capabilities
    count = counter(shown.get("model_info") or {})

    def build(sampling: Sampling) -> BaseChatModel:
        from langchain_ollama import ChatOllama

        from assistant.llm.transport import AbortableTransport, ssl_context

        return ChatOllama(
            model=name,
            base_url=base,
            num_ctx=window,  # the same in every call: another value makes Ollama load the model again
            num_predict=min(sampling.max_tokens, window // 2),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repeat_penalty=sampling.repetition_penalty,
            seed=sampling.seed if sampling.seed >= 0 else None,
            stop=list(sampling.stop) or None,
            reasoning=False if thinks else None,  # thoughts eat the window: 16,384 tokens of them once left no answer
            client_kwargs={"timeout": config.model_seconds, "verify": ssl_context()},
            sync_client_kwargs={"transport": AbortableTransport()},
        )

    return Model(
        name=f"ollama:{name}",
        window=window,
        build=build,
        count=count or estimate_tokens,
        counts_exactly=count is not None,
        tools="tools" in capabilities,
        says_when_done=True,
        abort=abort,
        explain=lambda exc: explain(exc, base),
    )


def window_of(shown: dict[str, Any], wanted: int) -> int:
    """Return the window to ask for: what is wanted, capped by the model's own."""
    info = shown.get("model_info") or {}
    own = info.get(f"{info.get('general.architecture')}.context_length")
    return min(wanted, int(own)) if own else wanted


def abort(chat: Any) -> None:
    """Break off what a chat model built here runs now."""
    chat.sync_client_kwargs["transport"].abort()


def explain(exc: Exception, base: str) -> AssistantError | None:
    """Return an error of the Ollama client or of httpx in our words, None for what is neither."""
    import httpx
    import ollama

    if isinstance(exc, ollama.ResponseError):
        if exc.status_code < 400:  # an error line inside a stream that began well
            return ModelInterrupted(
                f"Ollama at {base} broke off: {exc.error}", "look into the server's log, then ask again"
            )
        return servers.failure(exc.status_code, exc.error, base)
    if isinstance(exc, httpx.ConnectError | ConnectionError | httpx.ConnectTimeout):
        return ModelUnreachable(f"Ollama at {base} does not answer any more", "start it again with `ollama serve`")
    if isinstance(exc, httpx.TimeoutException):
        return ModelInterrupted(
            f"Ollama at {base} was silent for too long", "raise model_seconds in quire.toml, or ask again"
        )
    if isinstance(exc, httpx.HTTPError):
        return ModelInterrupted(
            f"the connection to Ollama at {base} broke", "look whether it still runs, then ask again"
        )
    if isinstance(exc, ValueError) and "No data received" in str(exc):
        return ModelInterrupted(f"Ollama at {base} sent nothing", "look into the server's log, then ask again")
    return None
