"""A GGUF file opened by llama.cpp in this process, for measuring: its tokens, its rendering, its probabilities; not for chat."""

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

SECONDS = 600.0  # a request of a large model on a slow processor
TOP = 2048  # probabilities asked for a position; the rest of the vocabulary is one remainder


@dataclass(frozen=True, slots=True)
class Spread:
    """What a model expects next: its likeliest tokens by falling log-probability."""

    ids: NDArray[np.int64]
    log_probs: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Written:
    """Greedy tokens after a prompt, and whether the model ended them itself."""

    ids: list[int]
    text: str
    ended: bool


class Engine:
    """One llama.cpp server of this process; use it in a `with` statement, which frees the model."""

    def __init__(self, path: Path, *, context: int = 2048, threads: int = 0, lora: Path | None = None) -> None:
        try:
            import xllamacpp
        except ImportError as exc:
            raise MissingLibrary("running a GGUF needs xllamacpp, not installed here", install_extra("gguf")) from exc
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context
        params.n_parallel = 1  # slots would divide the context
        params.warmup = False
        params.verbosity = -1
        params.no_extra_bufts = True  # repacked weights crash on AMX processors (llama.cpp#20824)
        params.cpuparams.n_threads = threads or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
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

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """Cut a text into tokens; with `special`, names of control tokens become those tokens."""
        body = {"content": text, "parse_special": special, "add_special": False}
        return [int(token) for token in self._post("/tokenize", body)["tokens"]]

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """Render a prompt with the chat template inside the file."""
        return str(self._post("/apply-template", {"messages": list(messages)})["prompt"])

    def spread(self, ids: Sequence[int], top: int = TOP) -> Spread:
        """Say what the model expects after these tokens; earlier calls with the same beginning are not computed again."""
        body = {
            "prompt": list(ids),
            "n_predict": 1,
            "n_probs": top,
            "temperature": -1,
            "cache_prompt": True,
            # half of a character would be held back, and its probabilities with it: a whole one is written instead;
            # the probabilities told are those before this
            "logit_bias": [[self._letter, 1000.0]],
        }
        answer = self._post("/completion", body)["completion_probabilities"][0]["top_logprobs"]
        return Spread(
            np.array([entry["id"] for entry in answer], dtype=np.int64),
            np.array([entry["logprob"] for entry in answer], dtype=np.float64),
        )

    def write(self, ids: Sequence[int], *, max_tokens: int) -> Written:
        """Write greedily after these tokens until the file's own end of turn, or `max_tokens`."""
        body = {
            "prompt": list(ids),
            "n_predict": max_tokens,
            "temperature": -1,
            "samplers": ["temperature"],
            "cache_prompt": True,
            "return_tokens": True,
        }
        answer = self._post("/completion", body)
        return Written(
            [int(t) for t in answer["tokens"]], str(answer["content"]), answer["stop_type"] in ("eos", "word")
        )

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        address = self._server.listening_address
        request = urllib.request.Request(  # noqa: S310 - the address is this process's own server
            f"{address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=SECONDS) as answer:
                found: dict[str, Any] = json.loads(answer.read())
        except urllib.error.HTTPError as exc:
            text = exc.read().decode(errors="replace")[:300]
            raise ExportError(
                f"llama.cpp refused {path} for {self.path}: {text}", "is the prompt longer than the context?"
            ) from exc
        return found
