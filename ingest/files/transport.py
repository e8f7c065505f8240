"""HTTP GET to checked addresses only, within a deadline, with every error of the wire translated."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import httpcore
import httpx

from ingest.errors import LinkRefused
from quire import one_line

_CONNECT_TIMEOUT_SECONDS = 10.0  # of one address; then the next address of the name is tried
_MAX_SHOWN = 200  # characters of an address or of a server's words in a message


class Deadline:
    """The end of a whole call."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, negative after the end."""
        return self._end - time.monotonic()

    def error(self, url: httpx.URL) -> LinkRefused:
        """Return the error of a call that took too long."""
        return LinkRefused(
            f"{shown_url(url)} did not finish within {self._seconds:g} s",
            "try again, raise link_seconds in quire.toml, or download the file and give its path",
        )


def clean(text: str) -> str:
    """Return the text of a server as one short printable line."""
    return one_line(text, limit=_MAX_SHOWN)


def shown_url(url: httpx.URL) -> str:
    """Return the address for a message, without user name, password and fragment."""
    return clean(str(url.copy_with(userinfo=b"", fragment=None)))


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose waits all end at the deadline, so that a drip of bytes cannot prolong the call."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, self._left(httpcore.ConnectTimeout))
        return _DeadlineStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)

    def _left(self, error: type[Exception]) -> float:
        left = self._deadline.left()
        if left <= 0:
            raise error("deadline")
        return left


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to the checked addresses, even if the name resolves to others by now.

    The request keeps the name: Host header, TLS server name and certificate check all use it.
    """

    def __init__(self, addresses: Sequence[str], deadline: Deadline) -> None:
        self._addresses, self._deadline = addresses, deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectTimeout("deadline")
        for address in self._addresses:
            wait = min(_CONNECT_TIMEOUT_SECONDS, self._deadline.left())
            if wait <= 0:
                break
            try:
                stream = self._sockets.connect_tcp(address, port, wait, local_address, socket_options)
                return _DeadlineStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure


@contextmanager
def get(
    url: httpx.URL, addresses: Sequence[str], deadline: Deadline, ssl_context: ssl.SSLContext
) -> Iterator[httpcore.Response]:
    """Open the response of one GET; raise LinkRefused for every error of the wire, also while the body is read."""
    headers = [
        (b"Host", url.netloc),
        (b"User-Agent", b"quire"),
        (b"Accept", b"application/pdf, */*;q=0.1"),
        (b"Accept-Encoding", b"identity"),  # a compressed body could expand past the size limit
        (b"Connection", b"close"),
    ]
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    backend = _PinnedBackend(addresses, deadline)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=ssl_context, network_backend=backend) as pool,
            pool.stream("GET", target, headers=headers) as response,
        ):
            yield response
    except httpcore.TimeoutException as exc:
        if deadline.left() <= 0:
            raise deadline.error(url) from exc
        raise LinkRefused(f"{shown_url(url)} does not answer", "check the address, or try again later") from exc
    except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise _wire_error(url, exc) from exc


def _wire_error(url: httpx.URL, exc: Exception) -> LinkRefused:
    why = clean(str(exc))
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return LinkRefused(
                f"{shown_url(url)}: the certificate could not be verified for this name: {clean(cause.verify_message)}",
                "check the address; SSL_CERT_FILE adds a certificate authority",
            )
        if isinstance(cause, ssl.SSLError):
            return LinkRefused(f"{shown_url(url)}: no secure connection: {clean(str(cause))}", "check address and port")
        cause = cause.__cause__ or cause.__context__
    if isinstance(exc, httpcore.ConnectError):
        return LinkRefused(f"{shown_url(url)}: no connection: {why}", "check address and port, or try again later")
    return LinkRefused(
        f"{shown_url(url)}: the connection was interrupted: {why}", "try again, or download the file yourself"
    )


def default_ssl_context() -> ssl.SSLContext:
    """Return a context with the certificate authorities of the system (or SSL_CERT_FILE) and of certifi.

    A bare Debian has none.
    """
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
