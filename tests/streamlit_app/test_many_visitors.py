"""Fifty visitors of one server, each with a socket like a browser's: right answers, flat memory."""

from __future__ import annotations

import asyncio
import html
import os
import re
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from tests.streamlit_app.browsing import app
from tests.streamlit_app.pages import HEART, QUESTION

websockets = pytest.importorskip("websockets")  # comes with Streamlit's server

VISITORS = 50
ROUNDS = 6
BRIDGE = "When was the Forth Bridge opened?"
OPENED = "opened in March 1890"


class Visitor:
    """The browser's side of a socket: sends its messages and keeps the texts that it would show."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.input_id = ""
        self.errors: list[str] = []

    async def run(self, question: str | None = None) -> list[str]:
        """Run the page, with a question if there is one, and return its texts when it is complete."""
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        message.rerun_script.query_string = ""
        if question is not None:
            state = message.rerun_script.widget_states.widgets.add()
            state.id = self.input_id
            state.chat_input_value.data = question
        await self.socket.send(message.SerializeToString())
        texts: list[str] = []
        while not texts or (question is not None and not self._answered(texts)):
            texts = await self._finished()
            if question is None:
                break
        return texts

    async def _finished(self) -> list[str]:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        shown: list[str] = []
        while True:
            message = ForwardMsg()
            message.ParseFromString(await asyncio.wait_for(self.socket.recv(), 60))
            kind = message.WhichOneof("type")
            if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                element = message.delta.new_element
                which = element.WhichOneof("type")
                if which == "chat_input":
                    self.input_id = element.chat_input.id
                elif which == "exception":
                    self.errors.append(element.exception.message)
                elif which == "html" and 'class="quire-text"' in element.html.body:
                    shown.append(html.unescape(re.sub(r"<[^>]*>", "", element.html.body)))
            elif kind == "script_finished":
                return shown

    @staticmethod
    def _answered(texts: list[str]) -> bool:
        return any("”" in text or "cannot answer" in text for text in texts)


async def visit(url: str, question: str, expected: str, other: str) -> tuple[list[str], float]:
    """Open the page and ask; return what was wrong and how many seconds the answer took."""
    address = url.replace("http://", "ws://") + "/_stcore/stream"
    async with websockets.connect(
        address, subprotocols=["streamlit"], origin=url, max_size=None, open_timeout=60
    ) as socket:
        visitor = Visitor(socket)
        await visitor.run()
        started = time.monotonic()
        texts = await visitor.run(question)
        seconds = time.monotonic() - started
        said = "\n".join(texts)
        wrong = list(visitor.errors)
        if expected not in said or other in said:
            wrong.append(f"{question}: {texts}")
        return wrong, seconds


def resident_mb(port: str) -> float:
    """Return the memory of the process that listens on this port."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"--server.port" in words and port.encode() in words:
                pages = int((process / "statm").read_text().split()[1])
                return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
        except OSError:
            continue
    raise AssertionError("the server is gone")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_fifty_visitors_at_once_get_their_own_answers_and_memory_stays_flat(tmp_path: Path, home: Path) -> None:
    async def everybody(url: str) -> list[tuple[list[str], float]]:
        pairs = [(QUESTION, HEART, OPENED), (BRIDGE, OPENED, HEART)]
        return await asyncio.gather(*(visit(url, *pairs[n % 2]) for n in range(VISITORS)))

    # nothing is saved: a growing list of conversations would rightly need more memory
    (home / "quire.toml").write_text("[assistant]\nkeep_conversations = false\n")
    with app(home, tmp_path, QUIRE_MODEL="quotes") as url:
        sizes, seconds = [], []
        for _ in range(ROUNDS):
            results = asyncio.run(everybody(url))
            assert not [wrong for wrong, _ in results if wrong]
            seconds += [took for _, took in results]
            time.sleep(1)
            sizes.append(resident_mb(url.rsplit(":", 1)[1]))
    print(f"resident MB after each round of {VISITORS}: {sizes}")
    print(f"seconds to the answer: median {statistics.median(seconds):.2f}, worst {max(seconds):.2f}")
    assert "Traceback" not in (tmp_path / "app.log").read_text()
    assert sizes[-1] - sizes[2] < 40, sizes
