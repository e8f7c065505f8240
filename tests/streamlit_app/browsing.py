"""Runs `quire app` in its own process, and Debian's Chromium with Playwright."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: apt-get install chromium"),
]


@contextlib.contextmanager
def app(home: Path, folder: Path, **environ: str) -> Iterator[str]:
    """Serve the page on a free port of loopback and yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = ("QUIRE_", "WEAVIATE_", "OPENAI_", "HF_", "OLLAMA_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(own)}
    environment = {**clean, "QUIRE_HOME": str(home), "OLLAMA_HOST": "http://127.0.0.1:9", **environ}
    log = (folder / "app.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "quire", "app", "--port", str(port)],
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process, folder / "app.log")
        yield url
    except Exception:
        print(f"the log of the page:\n{(folder / 'app.log').read_text()[-3000:]}")
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@contextlib.contextmanager
def browser(folder: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Any]:
    """Yield a browser context with its own profile; fails if any request went to another host."""
    from playwright.sync_api import sync_playwright

    foreign: list[str] = []
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder),
            executable_path=str(CHROMIUM),
            args=_FLAGS,
            headless=True,
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(30_000)
        context.on("request", lambda request: foreign.append(request.url) if _is_foreign(request.url) else None)
        try:
            yield context
        except Exception:
            for page in context.pages:  # pytest shows it beside the failure
                print(f"the page at {page.url} showed:\n{page.inner_text('body')[:3000]}")
            raise
        finally:
            context.close()
    assert not foreign, f"requests to the internet: {foreign}"


def ask(page: Any, question: str) -> None:
    """Type a question and send it."""
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(question)
    box.press("Enter")


def open_view(page: Any, name: str) -> None:
    """Open a view by its name in the control at the top."""
    page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True).click()


def answers(page: Any) -> list[str]:
    """Return the texts of questions and answers, in order."""
    return [text.strip() for text in page.locator(".quire-text").all_inner_texts()]


def _is_foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:", "chrome"))


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"the page did not start:\n{log.read_text()}")
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=2),
        ):
            return
        time.sleep(0.1)
    raise AssertionError(f"the page did not answer in a minute:\n{log.read_text()}")


def stop_button(page: Any) -> Any:
    """Return the Stop button below the answer: until the style has arrived, Streamlit's own shows in its header."""
    return page.get_by_role("button", name="Stop").and_(page.locator("button[kind=secondary]"))
