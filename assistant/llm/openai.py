"""Chat models behind any OpenAI-compatible endpoint, such as vLLM and llama-server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from assistant.config import AssistantConfig, Sampling
from assistant.errors import AssistantError, ModelBusy, ModelError, ModelInterrupted, ModelNotFound, ModelUnreachable
from assistant.llm.model import Model
from quire import UsageError, require_extra

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_OPENAI = "OpenAI's own endpoint"
_NO_STREAM = "No generations found in stream"  # LangChain's message for a response without a single event


def load(name: str, config: AssistantConfig) -> Model:
    """Return a model of the endpoint `openai_base_url`.

    Raises UsageError if the extra is not installed, or the address is missing or invalid.
    """
    require_extra("openai", "langchain_openai", purpose="an openai: model")
    base = config.openai_base_url or None
    if base is None and not config.openai_api_key:
        raise UsageError(
            "neither OPENAI_BASE_URL nor OPENAI_API_KEY is set",
            "set OPENAI_BASE_URL to your endpoint's address, e.g. …/v1",
        )
    if base is not None and not re.match(r"https?://[^/]", base, re.I):
        raise UsageError(
            f"OPENAI_BASE_URL is {base!r}", "write it with http:// or https://, e.g. http://127.0.0.1:8000/v1"
        )

    def build(sampling: Sampling) -> BaseChatModel:
        import httpx
        from langchain_openai import ChatOpenAI
        from pydantic import SecretStr

        from assistant.llm.transport import AbortableTransport

        # not part of OpenAI's API, but every local server understands them
        local = {"top_k": sampling.top_k or -1, "repetition_penalty": sampling.repetition_penalty}
        return ChatOpenAI(
            model=name,
            base_url=base,
            api_key=SecretStr(config.openai_api_key or "none"),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,  # type: ignore[call-arg]  # pydantic alias
            seed=sampling.seed if sampling.seed >= 0 else None,
            stop_sequences=list(sampling.stop) or None,
            extra_body=local if base else None,
            stream_usage=True,
            max_retries=1,
            http_client=httpx.Client(transport=AbortableTransport(), timeout=config.model_seconds),
        )

    return Model(
        name=f"openai:{name}",
        window=config.window,
        build=build,
        tools=True,
        reports_finish_reason=True,  # without the check, a server that dies between two events seems to have finished
        abort=lambda chat: chat.http_client._transport.abort(),
        explain=lambda exc: explain(exc, base or _OPENAI),
        notices=() if _is_local(base) else (f"Passages and questions are sent to {base or _OPENAI}.",),
    )


def explain(exc: Exception, base: str) -> AssistantError | None:
    """Return the error to show for one of the OpenAI client or of httpx; None for any other."""
    import httpx
    import openai

    if isinstance(exc, openai.APITimeoutError | httpx.TimeoutException):
        return ModelInterrupted(f"{base} did not respond in time", "raise model_seconds in quire.toml, or ask again")
    if isinstance(exc, openai.APIConnectionError):
        return ModelUnreachable(
            f"{base} does not answer", "check that the server is running and OPENAI_BASE_URL is right"
        )
    if isinstance(exc, openai.NotFoundError):
        return ModelNotFound(f"{base}: {exc.message}", "check the model's name, and that the address ends in /v1")
    if isinstance(exc, openai.AuthenticationError | openai.PermissionDeniedError):
        return ModelError(f"{base} refused the key: {exc.message}", "set OPENAI_API_KEY")
    if isinstance(exc, openai.RateLimitError):
        return ModelBusy(f"{base} is busy: {exc.message}", "try again in a moment")
    if isinstance(exc, openai.BadRequestError) and "context length" in exc.message:
        return ModelError(f"{base}: {exc.message}", "set `window` in quire.toml to the model's context length")
    if isinstance(exc, openai.APIError):
        return ModelError(f"{base}: {exc.message}", "see the server's log")
    if isinstance(exc, httpx.HTTPError):
        return ModelInterrupted(f"the connection to {base} broke", "check that it runs, then ask again")
    if isinstance(exc, json.JSONDecodeError) or _NO_STREAM in str(exc):
        return ModelError(
            f"{base} did not respond like a chat model",
            "check that it is an OpenAI-compatible endpoint and that OPENAI_BASE_URL is complete: it often ends in /v1",
        )
    return None


def _is_local(base: str | None) -> bool:
    host = urlsplit(base or "").hostname or ""
    return host in ("localhost", "host.docker.internal", "::1") or host.startswith("127.")
