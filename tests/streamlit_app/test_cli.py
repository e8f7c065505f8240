"""`quire app`: what it serves, where it listens, and when it does not start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request

import pytest

from streamlit_app.cli import command, environment, main, url
from streamlit_app.settings import AppConfig
from tests.streamlit_app.browsing import ROOT, app


def test_the_command_listens_on_loopback_without_statistics_or_stack_traces() -> None:
    words = command(AppConfig())
    options = dict(zip(words[5::2], words[6::2], strict=True))
    assert words[1:4] == ["-m", "streamlit_app.serve", "run"]
    assert options["--server.address"] == "127.0.0.1"
    assert options["--browser.gatherUsageStats"] == "false"
    assert options["--server.headless"] == "true"
    assert options["--client.showErrorDetails"] == "none"
    assert options["--server.maxUploadSize"] == "200"


def test_the_password_is_not_on_the_command_line() -> None:
    assert "open sesame" not in " ".join(command(AppConfig(address="0.0.0.0", password="open sesame")))


def test_the_page_can_import_the_packages() -> None:
    assert environment(AppConfig())["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8501"),
        ("::1", "http://[::1]:8501"),
        ("0.0.0.0", f"http://{socket.gethostname()}:8501"),
    ],
)
def test_the_url_can_be_opened_in_a_browser(address: str, expected: str) -> None:
    assert url(AppConfig(address=address, password="long enough")) == expected


def test_it_does_not_start_on_the_network_without_a_password(capsys) -> None:
    assert main(["--address", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert "no password is set" in said and "QUIRE_APP_PASSWORD" in said


def test_a_port_in_use_is_named(capsys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    assert f"port {port}" in capsys.readouterr().err


def test_help_ends_with_commands_that_work() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "quire", "app", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "examples:\n  quire app" in done.stdout


def test_the_page_is_served_and_other_sites_cannot_connect_to_it(tmp_path) -> None:
    named = "https://quire.example"
    with app(tmp_path / "home", tmp_path, QUIRE_MODEL="quotes", QUIRE_APP_ORIGINS=named) as address:
        assert b"<!" in urllib.request.urlopen(address, timeout=20).read(2000)
        said = (tmp_path / "app.log").read_text()
        assert f"quire is at {address}" in said
        host, port = address.removeprefix("http://").split(":")
        # a page of another site that knows the port: browsers send its origin
        for origin, allowed in (("http://evil.example", False), (named, True), (address, True)):
            with socket.create_connection((host, int(port)), timeout=30) as line:
                line.sendall(
                    f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                    f"Sec-WebSocket-Protocol: streamlit\r\nOrigin: {origin}\r\n\r\n".encode()
                )
                assert (b" 101 " in line.recv(200)) is allowed, origin
        said = (tmp_path / "app.log").read_text()
        assert "external IP" not in said, "it would have asked the internet for this machine's address"
