"""Ollama: addresses, versions, and a real server where one is installed."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from finetune.errors import AlreadyExists, OllamaFailed, OllamaTooOld, ParityFailed
from finetune.export.gguf import write_gguf
from finetune.export.handover import check_served, to_ollama
from finetune.export.modelfile import modelfile_for
from finetune.export.ollama import Ollama, ollama_address
from finetune.export.ollama_tags import record_path
from quire import UsageError
from tests.finetune.export_home import Tuned


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("myhost", "http://myhost:11434"),
        (":1234", "http://127.0.0.1:1234"),
        ("0.0.0.0:99", "http://127.0.0.1:99"),
        ("https://x.example/", "https://x.example"),
    ],
)
def test_addresses_are_read_as_ollama_reads_them(given: str, wanted: str) -> None:
    assert ollama_address(given) == wanted


@pytest.mark.parametrize("given", ["http://127.0.0.1:70000", "h:port", "http://h:0", "ftp://h", "http://[::1"])
def test_an_invalid_address_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="give host:port"):
        ollama_address(given)


def test_no_server_says_how_to_start_one() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OllamaFailed, match="ollama serve"):
        Ollama(f"127.0.0.1:{port}").version()


@pytest.fixture
def stamped(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that tells a version, and nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"version": request.param}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("stamped", ["0.17.0", "0.9.6"], indirect=True)
def test_a_vulnerable_version_is_refused(stamped: str) -> None:
    with pytest.raises(OllamaTooOld, match=r"CVE-2026-7482.*0\.17\.1 or newer"):
        Ollama(stamped).check_version(lambda line: None)


@pytest.mark.parametrize("stamped", ["0.17.1", "0.24.0", "0.33.0-rc2"], indirect=True)
def test_a_fixed_version_passes_silently(stamped: str) -> None:
    said: list[str] = []
    Ollama(stamped).check_version(said.append)
    assert said == []


@pytest.mark.parametrize("stamped", ["0.0.0"], indirect=True)
def test_an_unknown_version_passes_with_a_warning(stamped: str) -> None:
    said: list[str] = []
    Ollama(stamped).check_version(said.append)
    assert len(said) == 1 and "0.17.1 or newer" in said[0]


# -- a real server


class Server:
    """A real Ollama on a port and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {**os.environ, "OLLAMA_HOST": self.host, "OLLAMA_MODELS": str(self.folder), "HOME": str(self.folder)}
        self.process = subprocess.Popen(
            ["ollama", "serve"],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                httpx.get(f"http://{self.host}/api/version", timeout=1, trust_env=False)
                return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError("ollama did not start")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)  # with the runners, which outlive a killed server
            self.process.wait(10)
            self.process = None


@pytest.fixture
def ollama(tmp_path: Path) -> Iterator[Server]:
    if shutil.which("ollama") is None:
        pytest.skip("no ollama on the PATH")
    server = Server(tmp_path / "ollama")
    server.start()
    yield server
    server.kill()


@pytest.mark.server
@pytest.mark.parametrize("quantize", ["", "q8_0", "q4_K_M"])
def test_ollama_takes_a_run_answers_and_lets_it_go(tuned: Tuned, ollama: Server, quantize: str) -> None:
    record = to_ollama(tuned.run, "tiny", quantize=quantize, host=ollama.host, limits={"F16.mean_kl": 0.5})
    assert record.parity["limits"] == {"F16.mean_kl": 0.5} and record.onto in ("dequantised", "original")
    server = Ollama(ollama.host)
    assert list(server.digests()) == ["tiny:latest"]
    assert record.parity["passed"] and record.quantization == (quantize.upper() or "F16")
    assert json.loads(record_path("tiny").read_text())["run"] == str(tuned.run)
    answer = server.chat("tiny", [{"role": "user", "content": "What does the cow say?"}])
    assert answer["message"]["content"].strip() == "The cow says moo."
    assert answer["done_reason"] == "stop"
    server.remove("tiny")
    assert server.digests() == {}
    record_path("tiny").unlink()


@pytest.mark.server
def test_ollama_renders_what_training_rendered(tuned: Tuned, ollama: Server, tmp_path: Path) -> None:
    from finetune.export.reference import CONVERSATIONS

    path = write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    server = Ollama(ollama.host)
    server.create("tiny", path, modelfile_for(tuned.template, context_length=2048))
    for messages in CONVERSATIONS:
        plain = [{"role": m.role, "content": m.content} for m in messages]
        assert server.render("tiny", plain) == tuned.template.render(messages, add_generation_prompt=True)
    check_served(server, "tiny", tuned.reference)


@pytest.mark.server
def test_ollama_killed_in_mid_create_leaves_no_tag_and_the_second_try_succeeds(tuned: Tuned, ollama: Server) -> None:
    def kill_at(line: str) -> None:
        if line.startswith(("quantizing", "parsing", "verifying")):
            ollama.kill()

    with pytest.raises(OllamaFailed, match="try again"):
        to_ollama(tuned.run, "tiny", quantize="q4_K_M", host=ollama.host, progress=kill_at)
    ollama.kill()
    assert not record_path("tiny").exists()
    ollama.start()
    assert Ollama(ollama.host).digests() == {}
    assert to_ollama(tuned.run, "tiny", quantize="q4_K_M", host=ollama.host).parity["passed"]
    record_path("tiny").unlink()


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def differ(*_: object, **__: object) -> None:
    raise ParityFailed("it says something else", steps=("weights",))


@pytest.fixture
def qwen2(tuned_models: dict[str, Tuned], monkeypatch: pytest.MonkeyPatch) -> Tuned:
    monkeypatch.setenv("QUIRE_HOME", str(tuned_models["qwen2"].home))
    return tuned_models["qwen2"]


@pytest.mark.server
@pytest.mark.parametrize("stop", [interrupt, differ])
def test_ollama_keeps_its_model_when_a_later_export_fails(
    tuned_models: dict[str, Tuned], qwen2: Tuned, ollama: Server, monkeypatch: pytest.MonkeyPatch, stop: Any
) -> None:
    record = to_ollama(qwen2.run, "tiny", host=ollama.host)
    kept = record_path("tiny").read_text()
    with monkeypatch.context() as patch:
        for step in ("compare" if stop is differ else "difference", "check_served"):
            patch.setattr(f"finetune.export.handover.{step}", stop)
        with pytest.raises((ParityFailed, KeyboardInterrupt)):
            to_ollama(tuned_models["phi"].run, "tiny", host=ollama.host)
    tags = Ollama(ollama.host).digests()
    assert list(tags) == ["tiny:latest"] and tags["tiny:latest"] == record.digest
    assert record_path("tiny").read_text() == kept
    again = to_ollama(tuned_models["phi"].run, "tiny", host=ollama.host)
    tags = Ollama(ollama.host).digests()
    assert list(tags) == ["tiny:latest"] and tags["tiny:latest"] == again.digest != record.digest
    weights = [p for p in (ollama.folder / "blobs").iterdir() if p.stat().st_size > 2**20]
    assert len(weights) == 1  # those of the replaced tag are gone from the disk
    record_path("tiny").unlink()


@pytest.mark.server
@pytest.mark.slow
def test_ollama_has_no_model_of_a_command_killed_in_the_parity_check(qwen2: Tuned, ollama: Server) -> None:
    code = (
        "import os, sys\nfrom finetune.export import handover\n"
        "handover.check_served = lambda *_, **__: os.kill(os.getpid(), 9)\n"
        "handover.to_ollama(sys.argv[1], 'tiny', host=sys.argv[2])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(qwen2.run), ollama.host], check=False, timeout=120)
    assert done.returncode == -9
    assert "tiny:latest" not in Ollama(ollama.host).digests() and not record_path("tiny").exists()
    to_ollama(qwen2.run, "tiny", host=ollama.host)
    assert list(Ollama(ollama.host).digests()) == ["tiny:latest"]
    assert not list(qwen2.home.glob("scratch-*"))
    record_path("tiny").unlink()


@pytest.mark.server
def test_ollama_keeps_a_model_of_the_same_name_that_is_not_ours(qwen2: Tuned, ollama: Server, tmp_path: Path) -> None:
    server = Ollama(ollama.host)
    path = write_gguf(qwen2.merged, tmp_path / "m.gguf", template=qwen2.template, kind="Q8_0")
    server.create("theirs", path, modelfile_for(qwen2.template, context_length=2048))
    before = server.digests()["theirs:latest"]
    said: list[str] = []
    for name in ("theirs", "Theirs", "THEIRS:Latest"):  # one model to Ollama
        with pytest.raises(AlreadyExists, match=r"that quire did not create.*--replace"):
            to_ollama(qwen2.run, name, host=ollama.host, progress=said.append)
    assert server.digests()["theirs:latest"] == before and "merging the adapter into its base" not in said
    record = to_ollama(qwen2.run, "Theirs", host=ollama.host, replace=True)
    assert list(server.digests().values()) == [record.digest] and record.digest != before
    record_path("theirs").unlink()


@pytest.mark.server
def test_ollama_that_does_not_end_its_answers_is_caught_as_stop(tuned: Tuned, ollama: Server, tmp_path: Path) -> None:
    path = write_gguf(tuned.base, tmp_path / "m.gguf", template=tuned.template)  # nobody taught it to end
    server = Ollama(ollama.host)
    server.create("tiny", path, modelfile_for(tuned.template, context_length=2048))
    with pytest.raises(ParityFailed, match=r"stop: . of . answers in Ollama do not end"):
        check_served(server, "tiny", tuned.reference)


@pytest.mark.server
def test_ollama_reads_our_modelfile_as_it_was_meant(qwen2: Tuned, ollama: Server, tmp_path: Path) -> None:
    write_gguf(qwen2.merged, tmp_path / "m.gguf", template=qwen2.template)
    system = 'Say "yes" {{ .System }} {% if %}\nuse ``` and """ in between, and end with "this"'
    meant = modelfile_for(qwen2.template, context_length=2048, system=system)
    meant = replace(meant, stops=(*meant.stops, 'say "no"', "\nInstruct:"))
    (tmp_path / "Modelfile").write_text(meant.to_text("./m.gguf"))
    environ = {**os.environ, "OLLAMA_HOST": ollama.host, "HOME": str(tmp_path)}
    command = ["ollama", "create", "byhand", "-f", str(tmp_path / "Modelfile")]
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)
    shown = Ollama(ollama.host).show("byhand")
    assert shown["system"] == system and shown["template"] == meant.template
    stops = [line.split(None, 1)[1] for line in shown["parameters"].splitlines() if line.startswith("stop")]
    assert [json.loads(stop) for stop in stops] == list(meant.stops)


@pytest.mark.server
def test_ollama_compared_by_its_log_probabilities_agrees(tuned: Tuned, ollama: Server, tmp_path: Path) -> None:
    from finetune.export.parity import compare_served

    path = write_gguf(tuned.merged, tmp_path / "m.gguf", template=tuned.template)
    server = Ollama(ollama.host)
    server.create("tiny", path, modelfile_for(tuned.template, context_length=2048))
    found = compare_served(tuned.reference, lambda prompt: server.next_tokens("tiny", prompt), kind="F16")
    assert found.differences == {} and found.positions > 10


@pytest.mark.server
def test_an_unsupported_quantization_is_refused_before_ollama_is_used(tuned: Tuned, ollama: Server) -> None:
    with pytest.raises(UsageError, match="Q4_K_M"):
        to_ollama(tuned.run, "tiny", quantize="q5_K_M", host=ollama.host)
    assert Ollama(ollama.host).digests() == {}
