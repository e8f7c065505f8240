"""Tags of our own in Ollama: created, looked at, removed, and recorded in `models/` of the home folder.

The record `models/TAG.json` is how the assistant and the page know a tuned model.
"""

import hashlib
import json
import os
import re
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.errors import OllamaFailed, OllamaTooOld
from finetune.export.modelfile import Modelfile
from quire import UsageError, home_folder

QUANTIZATIONS = ("F16", "Q8_0", "Q4_K_S", "Q4_K_M")
SAFE_FROM = (0, 17, 1)  # CVE-2026-7482: older ones can be made to write outside their folder by an import
PIECE = 4 * 2**20  # bytes a read of an upload
_TAG = re.compile(r"^(?:[A-Za-z0-9][A-Za-z0-9._-]*/){0,2}[A-Za-z0-9][A-Za-z0-9._-]{0,79}(?::[A-Za-z0-9_.-]{1,80})?$")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TagRecord:
    """What is remembered of a tag that was handed over."""

    tag: str
    base: str
    data: dict[str, str]  # sha256 by file
    run: str
    quantization: str
    parity: dict[str, Any]
    template: str = ""
    digest: str = ""  # of the model in Ollama
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def models_folder() -> Path:
    """Give the folder of the records."""
    return home_folder() / "models"


def record_path(tag: str) -> Path:
    """Give the file of a tag's record; characters that file systems mind are written as %XX."""
    return models_folder() / (urllib.parse.quote(full_tag(tag), safe="") + ".json")


def full_tag(tag: str) -> str:
    """Write a tag in full, as Ollama lists it.

    Raises UsageError for a name that Ollama would refuse.
    """
    if not _TAG.match(tag):
        raise UsageError(f"{tag!r} is no name for a model", "use letters, digits, '.', '_', '-', at most one ':'")
    return tag if ":" in tag.rsplit("/", 1)[-1] else tag + ":latest"


def check_quantization(name: str) -> str:
    """Give a quantisation's name as GGUF writes it.

    Raises UsageError for one that is not handed over.
    """
    if name.upper() not in QUANTIZATIONS:
        raise UsageError(f"a tag cannot be stored as {name!r}", f"use one of {', '.join(QUANTIZATIONS)}")
    return name.upper()


def write_record(record: TagRecord) -> Path:
    """Keep a record, in one step."""
    path = record_path(record.tag)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def read_records() -> list[dict[str, Any]]:
    """Read every record, by tag; one that cannot be read is listed with what is wrong."""
    found = []
    for path in sorted(models_folder().glob("*.json")):
        try:
            record = dict(json.loads(path.read_text(encoding="utf-8")))
            lacks = [name for name in ("tag", "base", "run", "quantization", "date") if name not in record]
            if lacks:
                raise ValueError(f"it lacks {', '.join(lacks)}")
            found.append(record)
        except (OSError, ValueError, TypeError) as exc:
            found.append({"tag": urllib.parse.unquote(path.stem), "problem": f"{path} cannot be read: {exc}"})
    return found


class Ollama:
    """A running Ollama, spoken to over HTTP."""

    def __init__(self, host: str = "", *, seconds: float = 600.0) -> None:
        self.address = address(host)
        self._seconds = seconds  # one read; creating a large model is silent for minutes

    def version(self) -> str:
        """Tell the version; a build without a stamp says 0.0.0."""
        return str(self._json("GET", "/api/version").get("version", ""))

    def check_version(self, say: Say) -> None:
        """Raise OllamaTooOld for a version that may not be given files; say a word of an unstamped one."""
        told = self.version()
        numbers = tuple(int(n) for n in re.findall(r"\d+", told)[:3])
        if not any(numbers):
            say(f"this Ollama does not tell its version ({told or 'nothing'}); make sure it is 0.17.1 or newer")
        elif numbers < SAFE_FROM:
            raise OllamaTooOld(
                f"Ollama {told} at {self.address} has a known hole in its import (CVE-2026-7482)",
                "update Ollama to 0.17.1 or newer",
            )

    def upload(self, path: Path, say: Say) -> str:
        """Give a file to Ollama, unless it has it already, and tell its digest."""
        import httpx

        with path.open("rb") as stream:
            digest = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
        with self._client() as client, translated(self.address):
            if client.head(f"/api/blobs/{digest}").status_code == httpx.codes.OK:
                say("the weights are there already")
                return digest
            size = path.stat().st_size
            say(f"uploading {size / 2**20:,.0f} MiB")
            answer = client.post(f"/api/blobs/{digest}", content=_read(path), headers={"Content-Length": str(size)})
        _check(answer.status_code, answer.text, "the upload")
        return digest

    def create(
        self, tag: str, path: Path, modelfile: Modelfile, *, quantize: str = "", say: Say = lambda line: None
    ) -> None:
        """Make a tag of a GGUF file, quantised by Ollama if asked.

        Raises UsageError for a quantisation that Ollama does not make, OllamaFailed for anything it refuses.
        """
        if quantize:
            check_quantization(quantize)
        body: dict[str, Any] = {
            "model": full_tag(tag),
            "files": {path.name: self.upload(path, say)},
            "template": modelfile.template,
            "parameters": modelfile.parameters(),
            "stream": True,
        }
        if modelfile.system:
            body["system"] = modelfile.system
        if quantize:
            body["quantize"] = quantize
        last, ended = "", False
        for line in self._lines("/api/create", body):
            if line.get("error"):
                raise OllamaFailed(f"Ollama did not make {tag}: {line['error']}", "nothing was recorded; try again")
            status = str(line.get("status", ""))
            if status != last:
                say(status)
                last = status
            ended = status == "success"
        if not ended:
            raise OllamaFailed(
                f"Ollama stopped while it made {tag} (last: {last or 'nothing'})", "start it and try again"
            )

    def chat(self, tag: str, messages: Sequence[dict[str, str]], **options: Any) -> dict[str, Any]:
        """Ask once, greedily, and give the final object with the whole message."""
        body = {
            "model": tag,
            "messages": list(messages),
            "stream": False,
            "options": {"temperature": 0, "seed": 0, **options},
        }
        return self._json("POST", "/api/chat", body)

    def render(self, tag: str, messages: Sequence[dict[str, str]]) -> str:
        """Give the prompt that Ollama makes of messages, without running the model."""
        body = {"model": tag, "messages": list(messages), "stream": False, "_debug_render_only": True}
        return str((self._json("POST", "/api/chat", body).get("_debug_info") or {}).get("rendered_template", ""))

    def next_tokens(self, tag: str, prompt: str, top: int = 20) -> list[tuple[str, float]]:
        """Give the likeliest next tokens after a raw prompt as (text, log-probability)."""
        body = {
            "model": tag,
            "prompt": prompt,
            "raw": True,
            "stream": False,
            "logprobs": True,
            "top_logprobs": top,
            "options": {"temperature": 0, "num_predict": 1, "seed": 0},
        }
        told = self._json("POST", "/api/generate", body).get("logprobs") or []
        entries = told[0].get("top_logprobs") or [] if told else []
        return [(str(e["token"]), float(e["logprob"])) for e in entries]

    def write(self, tag: str, prompt: str, num_predict: int) -> str:
        """Let a tag write greedily after a raw prompt, and tell why it ended: `stop` or `length`."""
        body = {
            "model": tag,
            "prompt": prompt,
            "raw": True,
            "stream": False,
            "options": {"temperature": 0, "num_predict": num_predict, "seed": 0},
        }
        return str(self._json("POST", "/api/generate", body).get("done_reason", ""))

    def copy(self, tag: str, to: str) -> None:
        """Give a tag another name as well; a tag that had that name loses it."""

        with self._client() as client, translated(self.address):
            answer = client.post("/api/copy", json={"source": tag, "destination": to})
        _check(answer.status_code, answer.text, f"naming {to}")

    def show(self, tag: str) -> dict[str, Any]:
        """Give what Ollama tells of a tag."""
        return self._json("POST", "/api/show", {"model": tag})

    def tags(self) -> dict[str, dict[str, Any]]:
        """List all tags that Ollama has."""
        return {str(m["name"]): m for m in self._json("GET", "/api/tags").get("models") or []}

    def remove(self, tag: str) -> None:
        """Delete a tag; one that is not there is no error."""
        import httpx

        with self._client() as client, translated(self.address):
            answer = client.request("DELETE", "/api/delete", json={"model": tag})
        if answer.status_code != httpx.codes.NOT_FOUND:
            _check(answer.status_code, answer.text, f"removing {tag}")

    def weights_of(self, tag: str) -> Path | None:
        """Give the file of a tag's weights where this process can read it, else None."""
        for line in str(self.show(tag).get("modelfile", "")).splitlines():
            if line.startswith("FROM "):
                path = Path(line.removeprefix("FROM ").strip())
                if path.is_file() and os.access(path, os.R_OK):
                    return path
        return None

    def _client(self) -> Any:
        import httpx

        return httpx.Client(base_url=self.address, timeout=httpx.Timeout(self._seconds, connect=5.0), trust_env=False)

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        with self._client() as client, translated(self.address):
            answer = client.request(method, path, json=body)
            _check(answer.status_code, answer.text, path)
            found: dict[str, Any] = answer.json()
        return found

    def _lines(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with self._client() as client, translated(self.address), client.stream("POST", path, json=body) as answer:
            if answer.status_code >= 400:
                answer.read()
                _check(answer.status_code, answer.text, path)
            for line in answer.iter_lines():
                if line.strip():
                    yield json.loads(line)


def address(host: str = "") -> str:
    """Give the address of Ollama: the one given, else OLLAMA_HOST, OLLAMA_BASE_URL, else its usual port here."""
    told = host or os.environ.get("OLLAMA_HOST") or os.environ.get("OLLAMA_BASE_URL") or "127.0.0.1:11434"
    told = told.strip().strip("\"'").rstrip("/")
    if "://" not in told:
        name, _, port = told.partition(":")
        told = f"http://{name or '127.0.0.1'}:{port or '11434'}"
    try:
        sound = told.startswith(("http://", "https://")) and urllib.parse.urlsplit(told).port != 0
    except ValueError:  # beyond 65535, or no number
        sound = False
    if not sound:
        raise UsageError(f"the address of Ollama is {told!r}, which is none", "give host:port, e.g. 127.0.0.1:11434")
    return told.replace("://0.0.0.0", "://127.0.0.1")  # a server binds it, nobody can call it


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece


def _check(status: int, text: str, what: str) -> None:
    if status < 400:
        return
    try:
        told = str(json.loads(text).get("error", text))
    except ValueError:
        told = text
    raise OllamaFailed(f"Ollama refused {what}: {told[:300]} (HTTP {status})", "its log tells more")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn the HTTP library's errors into OllamaFailed."""
    import httpx

    try:
        yield
    except httpx.ConnectError as exc:
        raise OllamaFailed(f"no Ollama answers at {where}", "start it with `ollama serve`, or set OLLAMA_HOST") from exc
    except (httpx.HTTPError, json.JSONDecodeError) as exc:
        raise OllamaFailed(
            f"Ollama at {where} broke off: {exc or type(exc).__name__}", "start it and try again"
        ) from exc
