"""The command `quire app`: checks the settings, prints the URL, and starts Streamlit."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

from ingest import IngestError
from quire import command_parser, exit_code, require_extra
from streamlit_app.settings import AppConfig, check_password_set, is_loopback, load_config

PAGE = Path(__file__).resolve().parent / "app.py"


def main(argv: list[str]) -> int:
    """Serve the page until it is stopped; returns 0, 1 if it cannot start, 2 for wrong usage."""
    args = _parser().parse_args(argv)
    return exit_code(lambda: _run(args.address, args.port))


def _run(address: str | None, port: int | None) -> int:
    config, _ = load_config(flags={"address": address, "port": port})
    check_password_set(config, config.address)
    require_extra("app", "streamlit", purpose="the web page", error=IngestError)
    _check_port(config, given=port is not None)
    print(f"quire is at {url(config)}   (Ctrl-C stops it)", flush=True)
    if not is_loopback(config.address):
        print(
            "Everyone with the password shares this library and its history. The connection is not encrypted.",
            file=sys.stderr,
        )
    return _serve(config)


def _serve(config: AppConfig) -> int:
    words, environ = command(config), environment(config)
    if os.name == "posix":
        # replaces this process, so that stopping `quire app` by its process id stops the page
        os.execve(words[0], words, environ)  # noqa: S606 - the program is this Python itself
    try:
        return subprocess.run(words, check=False, env=environ).returncode
    except KeyboardInterrupt:
        return 0


def command(config: AppConfig) -> list[str]:
    """Return the command that serves the page; without the password, since every user can list processes."""
    options = {
        "server.address": config.address,
        "server.port": str(config.port),
        "server.headless": "true",
        "server.maxUploadSize": str(config.upload_megabytes),
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        # both, or the page would stay light on a dark system
        "theme.light.primaryColor": "#2b6cb0",
        "theme.dark.primaryColor": "#63a4ff",
    }
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    for origin in config.allowed_origins:
        flags += ["--server.corsAllowedOrigins", origin]
    # -m: running a script by its path would put its folder before the libraries on the path
    return [sys.executable, "-m", "streamlit_app.serve", "run", str(PAGE), *flags]


def environment(config: AppConfig) -> dict[str, str]:
    """Return the environment for the page: this one, with quire on the Python path."""
    path = os.pathsep.join(filter(None, [str(PAGE.parent.parent), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "QUIRE_APP_ADDRESS": config.address}


def url(config: AppConfig) -> str:
    """Return the URL to open in a browser."""
    host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(config.address, config.address)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port}"


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "app",
        "Serve the web page: add PDFs, ask questions, see each cited page with the passage marked.",
        "quire app",
        "quire app --port 8600",
        "QUIRE_APP_PASSWORD='a long one' quire app --address 0.0.0.0",
    )
    parser.add_argument("--address", metavar="A", help="interface to listen on (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, metavar="N", help="port (default 8501)")
    return parser


def _check_port(config: AppConfig, *, given: bool) -> None:
    family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
    with socket.socket(family) as probe:
        # without it, a port with connections that are still closing would count as in use
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.address, config.port))
        except OSError as exc:
            fix = "choose another" if given else f"choose another: quire app --port {config.port + 1}"
            raise IngestError(
                f"cannot listen on {config.address} port {config.port}: {exc.strerror}",
                f"{fix}, or stop the program that uses it",
            ) from exc
