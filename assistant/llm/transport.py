"""An httpx transport whose running request another thread can abort."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from typing import Any

import httpx


class AbortableTransport(httpx.HTTPTransport):
    """A transport that opens one connection for each request, so that `abort` ends exactly what runs through it.

    Neither httpx nor the `ollama` and `openai` clients can stop a request that another thread is reading: closing the
    socket does not wake that thread, and the server would go on generating. Shutting the socket down does both. The
    socket comes from httpcore's trace events, because before the first byte there is no response to take it from.
    """

    def __init__(self) -> None:
        super().__init__(verify=ssl_context(), limits=httpx.Limits(max_keepalive_connections=0))
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.aborted = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; raises httpx.ReadError once `abort` was called."""
        if self.aborted:
            raise httpx.ReadError("aborted", request=request)
        request.extensions = {**request.extensions, "trace": self._trace}
        return super().handle_request(request)

    def abort(self) -> None:
        """Abort the running requests and refuse later ones; safe to call from any thread, and more than once."""
        self.aborted = True
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for connection in sockets:
            with contextlib.suppress(OSError):  # already closed
                connection.shutdown(socket.SHUT_RDWR)

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            connection = info["return_value"].get_extra_info("socket")
            if isinstance(connection, socket.socket):
                with self._lock:
                    self._sockets.append(connection)
                if self.aborted:
                    self.abort()


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """Return one TLS context for all clients: loading the certificates takes 20 ms each time."""
    return httpx.create_ssl_context()
