"""Ollama's chat models, with a fixed context window and answers that can be stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assistant.config import AssistantConfig, Sampling
from assistant.errors import AssistantError, ModelInterrupted, ModelNotFound, ModelUnreachable
from assistant.llm.model import Model
from assistant.llm.ollama_server import failure, reach, request
from assistant.llm.tokens import bpe_counter, estimate_tokens
from quire import UsageError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


def load(name: str, config: AssistantConfig) -> Model:
    """Return a model of the first Ollama server that answers.

    Raises ModelUnreachable, ModelNotFound, or UsageError for an embedding model.
    """
    base = reach(config)
    try:
        shown = request(base, "POST", "/api/show", {"model": name, "verbose": True})
    except ModelNotFound as exc:
        raise ModelNotFound(
            f"Ollama at {base} has no model {name!r}", f"download it: `ollama pull {name}`, or repeat with --pull"
        ) from exc
    capabilities = list(shown.get("capabilities") or ["completion"])
    if "completion" not in capabilities:
        raise UsageError(f"{name} is an embedding model and cannot answer", "see `quire models` for those that can")
    window = context_window(shown, config.window)
    thinks = "thinking" in capabilities
    count = bpe_counter(shown.get("model_info") or {})

    def build(sampling: Sampling) -> BaseChatModel:
        from langchain_ollama import ChatOllama

        from assistant.llm.transport import AbortableTransport, ssl_context

        return ChatOllama(
            model=name,
            base_url=base,
            num_ctx=window,  # the same in every call: with another value, Ollama loads the model again
            num_predict=min(sampling.max_tokens, window // 2),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repeat_penalty=sampling.repetition_penalty,
            seed=sampling.seed if sampling.seed >= 0 else None,
            stop=list(sampling.stop) or None,
            reasoning=False if thinks else None,  # reasoning fills the window: 16,384 tokens of it once left no answer
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
        reports_finish_reason=True,
        abort=lambda chat: chat.sync_client_kwargs["transport"].abort(),
        explain=lambda exc: explain(exc, base),
    )


def context_window(shown: dict[str, Any], wanted: int) -> int:
    """Return the context window to request: `wanted`, capped by the model's own; `shown` is what /api/show answers."""
    info = shown.get("model_info") or {}
    trained = info.get(f"{info.get('general.architecture')}.context_length")
    return min(wanted, int(trained)) if trained else wanted


def explain(exc: Exception, base: str) -> AssistantError | None:
    """Return the error to show for one of the Ollama client or of httpx; None for any other."""
    import httpx
    import ollama

    if isinstance(exc, ollama.ResponseError):
        if exc.status_code < 400:  # an error line inside a stream that began well
            return ModelInterrupted(
                f"Ollama at {base} interrupted the answer: {exc.error}", "see the server's log, then ask again"
            )
        return failure(exc.status_code, exc.error, base)
    if isinstance(exc, httpx.ConnectError | ConnectionError | httpx.ConnectTimeout):
        return ModelUnreachable(f"Ollama at {base} no longer answers", "start it again with `ollama serve`")
    if isinstance(exc, httpx.TimeoutException):
        return ModelInterrupted(
            f"Ollama at {base} did not respond in time", "raise model_seconds in quire.toml, or ask again"
        )
    if isinstance(exc, httpx.HTTPError):
        return ModelInterrupted(f"the connection to Ollama at {base} broke", "check that it runs, then ask again")
    if isinstance(exc, ValueError) and "No data received" in str(exc):
        return ModelInterrupted(f"Ollama at {base} sent nothing", "see the server's log, then ask again")
    return None
