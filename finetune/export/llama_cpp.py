"""Runs a GGUF file in llama.cpp to measure it: tokens, rendered prompts, log-probabilities."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.errors import ExportError, MissingLibrary
from quire import install_extra

REQUEST_TIMEOUT_SECONDS = 600.0  # enough for a large model on a slow CPU
TOP = 2048  # log-probabilities requested for each position


@dataclass(frozen=True, slots=True)
class NextTokenLogProbs:
    """The most likely next tokens with their log-probabilities, most likely first."""

    ids: NDArray[np.int64]
    log_probs: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Generation:
    """Greedy tokens after a prompt, and whether the model ended them with its end token."""

    ids: list[int]
    text: str
    ended: bool


class Engine:
    """A llama.cpp server inside this process; leaving its `with` block frees the model."""

    def __init__(self, path: Path, *, context: int = 2048, lora: Path | None = None) -> None:
        try:
            import xllamacpp
        except ImportError as exc:
            raise MissingLibrary(
                "running a GGUF needs xllamacpp, which is not installed", install_extra("gguf")
            ) from exc
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context
        params.n_parallel = 1  # parallel slots would share the context
        params.warmup = False
        params.verbosity = -1
        params.no_extra_bufts = True  # repacked weights crash on AMX CPUs (llama.cpp#20824)
        params.cpuparams.n_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        if lora is not None:
            adapter = xllamacpp.CommonAdapterLoraInfo()
            adapter.path, adapter.scale = str(lora), 1.0
            params.lora_adapters = [adapter]
        try:
            self._server: Any = xllamacpp.Server(params)
        except Exception as exc:
            raise ExportError(
                f"llama.cpp cannot load {path}: {exc}", "write it again with `quire finetune gguf`"
            ) from exc
        self.path = path
        self._letter = self.tokens("a")[0]

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server = None

    def tokens(self, text: str) -> list[int]:
        """Return the token ids of a text; names of control tokens become those tokens."""
        body = {"content": text, "parse_special": True, "add_special": False}
        return [int(token) for token in self._post("/tokenize", body)["tokens"]]

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """Return the prompt that the chat template inside the file renders."""
        return str(self._post("/apply-template", {"messages": list(messages)})["prompt"])

    def next_token_log_probs(self, ids: Sequence[int], top: int = TOP) -> NextTokenLogProbs:
        """Return the log-probabilities after these tokens; a prefix shared with the previous call is not recomputed."""
        body = {
            "prompt": list(ids),
            "n_predict": 1,
            "n_probs": top,
            "temperature": -1,
            "cache_prompt": True,
            # llama.cpp holds back half a character, with its log-probabilities; so it is made to generate this letter,
            # and still reports the log-probabilities before the bias
            "logit_bias": [[self._letter, 1000.0]],
        }
        answer = self._post("/completion", body)["completion_probabilities"][0]["top_logprobs"]
        return NextTokenLogProbs(
            np.array([entry["id"] for entry in answer], dtype=np.int64),
            np.array([entry["logprob"] for entry in answer], dtype=np.float64),
        )

    def generate(self, ids: Sequence[int], *, max_tokens: int) -> Generation:
        """Generate greedily after these tokens until the file's own end token, or `max_tokens`."""
        body = {
            "prompt": list(ids),
            "n_predict": max_tokens,
            "temperature": -1,
            "samplers": ["temperature"],
            "cache_prompt": True,
            "return_tokens": True,
        }
        answer = self._post("/completion", body)
        return Generation(
            [int(t) for t in answer["tokens"]], str(answer["content"]), answer["stop_type"] in ("eos", "word")
        )

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        address = self._server.listening_address
        request = urllib.request.Request(  # noqa: S310 - the address is this process's own server
            f"{address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS) as answer:
                found: dict[str, Any] = json.loads(answer.read())
        except urllib.error.HTTPError as exc:
            text = exc.read().decode(errors="replace")[:300]
            raise ExportError(
                f"llama.cpp rejected {path} for {self.path}: {text}", "check that the prompt fits into the context"
            ) from exc
        return found
