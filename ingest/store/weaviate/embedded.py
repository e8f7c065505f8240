"""The embedded Weaviate server: a pinned version that several processes share while they run.

The `connect_to_embedded` of Weaviate's client is not used, because its server belongs to one client: it ends with it,
and a second process cannot open the same data folder. Here a page and a command use one library at the same time.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib
import json
import os
import platform
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ingest.errors import StoreError, StoreUnreachable

VERSION = "1.39.0"  # the newest version tested; versions before 1.38 have CVE-2026-11500
_START_SECONDS = 90.0  # 3 s on an idle machine; a large library reads its logs first
_SIZES = "About 60 MB to download, 190 MB on disk"


@dataclass(frozen=True)
class Joined:
    """A running server in use; call `leave` when done. The server stops after its last user."""

    http_port: int
    grpc_port: int
    api_key: str
    server_pid: int
    leave: Callable[[], None]


def binary_path() -> Path:
    """Return the path at which Weaviate's client keeps the binary of our version; it may not exist."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache" / "weaviate-embedded"
    tag = f"v{VERSION}"
    return Path(folder) / f"weaviate-{tag}-{hashlib.sha256(tag.encode()).hexdigest()}"


def download_offer() -> str | None:
    """Return the sentence that offers the download, with size and source; None if the binary exists."""
    path = binary_path()
    if path.is_file():
        return None
    return f"The embedded Weaviate {VERSION} is not on this machine ({path}). {_SIZES}, from {_download_url()}."


def download_binary(url: str = "") -> Path:
    """Download the binary and return its path; raises StoreError. Call it only with the user's consent."""
    import httpx

    url, path = url or _download_url(), binary_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    archive, binary = path.with_name(f"{path.name}.{os.getpid()}.part"), path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=60.0) as answer, archive.open("wb") as file:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                file.write(piece)
        _unpack(archive, binary, zipped=url.endswith(".zip"))
        binary.chmod(0o755)
        binary.replace(path)
    except (httpx.HTTPError, OSError, EOFError, KeyError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as exc:
        raise StoreError(
            f"Weaviate {VERSION} could not be downloaded from {url}: {exc}",
            f"download it by hand, unpack it to {path} and make it executable; or use QUIRE_STORE=sqlite",
        ) from exc
    finally:
        archive.unlink(missing_ok=True)
        binary.unlink(missing_ok=True)
    return path


def join(home: Path, *, idle_seconds: float = 0.0) -> Joined:
    """Use the server of this home folder, starting it if it does not run.

    A server that is started here stops when it was idle for `idle_seconds`. Raises StoreError if the binary is missing
    or does not exist for this platform, and StoreUnreachable if the server does not start.
    """
    if sys.platform == "win32":
        raise StoreError("Weaviate has no embedded server for Windows", "run a server and set WEAVIATE_URL")
    if not binary_path().is_file():
        raise StoreError(
            f"{download_offer()}",
            "`quire ingest --yes` downloads it; or use QUIRE_STORE=sqlite, which needs no server",
        )
    folder = home / "weaviate"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    users = (folder / "users.lock").open("a")
    try:
        _lock(users, exclusive=False)  # waits while a supervisor is stopping its server
        os.utime(users.fileno())  # so that the supervisor sees a use shorter than its polling interval
        with (folder / "start.lock").open("a") as start:
            _lock(start, exclusive=True)
            info = _running(folder) or _started(folder, idle_seconds)
    except BaseException:
        users.close()
        raise
    return Joined(info["http"], info["grpc"], info["api_key"], info["server"], users.close)


def _started(folder: Path, idle_seconds: float) -> dict[str, Any]:
    log, script = folder / "log.txt", Path(__file__).with_name("supervisor.py")
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        # -I: modules in the script's folder have names of libraries
        supervisor = subprocess.Popen(
            [sys.executable, "-I", str(script), str(folder), str(binary_path()), str(idle_seconds)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,  # Ctrl-C ends this process, not the server that others use
        )
    # the server mostly waits for its own timers; importing the client takes a second or two, so do it now
    threading.Thread(target=importlib.import_module, args=("weaviate",), daemon=True).start()
    deadline = time.monotonic() + _START_SECONDS
    while supervisor.poll() is None and time.monotonic() < deadline:
        info = _running(folder)
        if info is not None and info["keeper"] == supervisor.pid:
            # reaps the supervisor if it ends before this process
            threading.Thread(target=supervisor.wait, daemon=True).start()
            return info
        time.sleep(0.05)
    if supervisor.poll() is None:
        supervisor.terminate()
        supervisor.wait()
    lines = log.read_text(errors="replace").strip().splitlines()
    raise StoreUnreachable(
        f"the embedded Weaviate did not start: {lines[-1][:300] if lines else 'it printed nothing'}",
        f"its log is {log}; move {folder / 'data'} away if it is damaged",
    )


def _running(folder: Path) -> dict[str, Any] | None:
    """Return the content of `server.json` if that server is ready and accepts our key."""
    try:
        info: dict[str, Any] = json.loads((folder / "server.json").read_text())
        for path in ("/v1/.well-known/ready", "/v1/meta"):
            connection = http.client.HTTPConnection("127.0.0.1", info["http"], timeout=5)
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {info['api_key']}"})
                if connection.getresponse().status != 200:
                    return None
            finally:
                connection.close()
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return None
    return info


def _lock(file: IO[str], *, exclusive: bool) -> None:
    import fcntl

    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreUnreachable(
                    f"{file.name} has been locked by another process for {_START_SECONDS:.0f} s",
                    "a server does not finish starting or stopping: end the other quire processes",
                ) from None
            time.sleep(0.05)


def _download_url() -> str:
    """Return the download address of the release for this machine, built as Weaviate's client does."""
    from weaviate.embedded import GITHUB_RELEASE_DOWNLOAD_URL

    if platform.system() == "Darwin":
        return f"{GITHUB_RELEASE_DOWNLOAD_URL}v{VERSION}/weaviate-v{VERSION}-Darwin-all.zip"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{GITHUB_RELEASE_DOWNLOAD_URL}v{VERSION}/weaviate-v{VERSION}-{platform.system()}-{machine}.tar.gz"


def _unpack(archive: Path, target: Path, *, zipped: bool) -> None:
    """Write only the archive's member `weaviate` to the target."""
    if zipped:
        with zipfile.ZipFile(archive) as opened:
            target.write_bytes(opened.read("weaviate"))
        return
    with tarfile.open(archive) as opened:
        member = opened.extractfile("weaviate")
        if member is None:
            raise KeyError("weaviate is not a file in the archive")
        with target.open("wb") as file:
            while piece := member.read(1 << 20):
                file.write(piece)
