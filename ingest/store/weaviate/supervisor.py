"""The supervisor process of an embedded Weaviate server: starts it, and stops it when it is idle.

It runs as a script with the folder, the server's binary and the idle seconds as arguments, and imports only the
standard library. It ends when no process has held the shared lock on `users.lock` for the idle seconds. The system
releases a lock when its process ends, even after kill -9.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STOP_SECONDS = 20.0  # the server writes its logs before it stops
_POLL_SECONDS = 0.1  # between two tries of the lock


def main(folder: Path, binary: Path, idle_seconds: float) -> int:
    """Start the server, write its address to `server.json`, wait until it is idle, and stop it."""
    signal.signal(signal.SIGTERM, _exit)
    _end_stale(folder, binary)
    process = _start(folder, binary)
    try:
        with (folder / "users.lock").open("a") as users:
            _wait_until_idle(process, users, folder, idle_seconds)
            _stop(process)
            # The lock is held until the file is deleted: a process that joins now finds no server and starts one.
            if _names_us(folder):
                (folder / "server.json").unlink(missing_ok=True)
    finally:
        _stop(process)
    return 0


def _exit(*_: object) -> None:
    raise SystemExit(0)


def _wait_until_idle(process: subprocess.Popen[bytes], users: Any, folder: Path, idle_seconds: float) -> None:
    """Return when the server has ended, or holding the lock after nobody has used it for `idle_seconds`."""
    last_use, joined = time.monotonic(), 0
    while process.poll() is None:
        alone, seen = _alone(users), os.fstat(users.fileno()).st_mtime_ns
        if not alone or seen != joined:  # a short use may fall between two polls, but it changes the file time
            last_use, joined = time.monotonic(), seen
        elif time.monotonic() - last_use >= idle_seconds or not _names_us(folder):
            return
        fcntl.flock(users, fcntl.LOCK_UN)
        time.sleep(_POLL_SECONDS)


def _alone(users: Any) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names_us(folder: Path) -> bool:
    """Return whether `server.json` still names this server; the home folder may have been removed."""
    try:
        return bool(json.loads((folder / "server.json").read_text())["keeper"] == os.getpid())
    except (OSError, ValueError, KeyError):
        return False


def _start(folder: Path, binary: Path) -> subprocess.Popen[bytes]:
    http, grpc, gossip, raft = _free_ports()
    key, password = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ} | {
        "PERSISTENCE_DATA_PATH": str(folder / "data"),
        "CLUSTER_HOSTNAME": "quire",  # raft identifies the node of this data folder by it
        "CLUSTER_IN_LOCALHOST": "true",
        "CLUSTER_BIND_ADDR": "127.0.0.1",
        "CLUSTER_GOSSIP_BIND_PORT": str(gossip),
        "CLUSTER_DATA_BIND_PORT": str(gossip + 1),
        "RAFT_PORT": str(raft),
        "RAFT_INTERNAL_RPC_PORT": str(raft + 1),
        "RAFT_BOOTSTRAP_EXPECT": "1",
        # a single node elects itself after one to two seconds without others, instead of five to ten
        "RAFT_TIMEOUTS_MULTIPLIER": "1",
        # gRPC and the data port always listen on all interfaces, so keys protect them
        "GRPC_PORT": str(grpc),
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": key,
        "AUTHENTICATION_APIKEY_USERS": "quire",
        "CLUSTER_BASIC_AUTH_USERNAME": "quire",
        "CLUSTER_BASIC_AUTH_PASSWORD": password,
        "DISABLE_TELEMETRY": "true",
        "GO_PROFILING_DISABLE": "true",
        "ENABLE_MODULES": "",
        "API_BASED_MODULES_DISABLED": "true",
        "DEFAULT_VECTORIZER_MODULE": "none",
        "AUTOSCHEMA_ENABLED": "false",
        "LOG_LEVEL": "warning",
    }
    command = [str(binary), "--host", "127.0.0.1", "--port", str(http), "--scheme", "http"]
    command += ["--read-timeout=600s", "--write-timeout=600s"]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, preexec_fn=_die_with_supervisor)
    info = {"keeper": os.getpid(), "server": process.pid, "http": http, "grpc": grpc, "api_key": key}
    draft = folder / "server.json.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(info, file)
    draft.replace(folder / "server.json")
    return process


def _die_with_supervisor() -> None:
    """Have Linux end the server if this process is killed; elsewhere the next supervisor ends it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_stale(folder: Path, binary: Path) -> None:
    """End the supervisor and the server that `server.json` names, if these processes still are those."""
    try:
        info = json.loads((folder / "server.json").read_text())
    except (OSError, ValueError):
        return
    for pid, part in ((info.get("keeper"), str(folder)), (info.get("server"), str(binary))):
        if isinstance(pid, int) and part in _command_line(pid):
            _end(pid, part)
    (folder / "server.json").unlink(missing_ok=True)


def _end(pid: int, part: str) -> None:
    for sign, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + seconds
        while part in _command_line(pid) and time.monotonic() < deadline:
            time.sleep(0.1)


def _command_line(pid: int) -> str:
    """Return the command line of a running process, empty if it does not run (a zombie has none)."""
    if Path("/proc/self/cmdline").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    answer = subprocess.run(["ps", "-o", "stat=,args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "" if answer.stdout.lstrip().startswith("Z") else answer.stdout


def _free_ports() -> tuple[int, int, int, int]:
    """Return free ports for HTTP and gRPC, and the first of two adjacent ports each for gossip and raft."""
    taken: list[socket.socket] = []
    try:
        found: list[int] = []
        for size in (1, 1, 2, 2):
            found.append(_free_run(size, taken))
        return found[0], found[1], found[2], found[3]
    finally:
        for one in taken:
            one.close()


def _free_run(size: int, taken: list[socket.socket]) -> int:
    for _ in range(200):
        first = socket.socket()
        first.bind(("127.0.0.1", 0))
        port = int(first.getsockname()[1])
        held = [first]
        try:
            for offset in range(1, size):
                other = socket.socket()
                held.append(other)
                other.bind(("127.0.0.1", port + offset))
        except OSError:
            for one in held:
                one.close()
            continue
        taken += held
        return port
    raise SystemExit("no free ports on the loopback interface")


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
