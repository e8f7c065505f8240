"""A connection to one Weaviate server: address, checks, and calls that fail within seconds."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ingest.config import IngestConfig
from ingest.errors import StoreError, StoreUnreachable
from quire import UsageError

MIN_VERSION = (1, 38)  # older servers let a caller past the access rules: CVE-2026-11500
_CONNECT_SECONDS = 5.0
_QUERY_SECONDS = 30
_INSERT_SECONDS = 120
_POLL_SECONDS = 0.25  # between two checks that the server still answers, during a long call
_CLOUD = (".weaviate.cloud", ".weaviate.network", ".weaviate.io", ".semi.technology")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Address:
    """The HTTP and gRPC addresses of a server."""

    host: str
    port: int
    secure: bool
    grpc_host: str
    grpc_port: int
    grpc_secure: bool
    embedded: bool = False  # our own server, which the next command starts again

    @property
    def url(self) -> str:
        """Return the address of the HTTP side."""
        return f"{'https' if self.secure else 'http'}://{_bracketed(self.host)}:{self.port}"

    @property
    def grpc(self) -> str:
        """Return the address of the gRPC side."""
        return f"{_bracketed(self.grpc_host)}:{self.grpc_port}"


def parse_address(url: str, grpc_url: str = "") -> Address:
    """Return the addresses in WEAVIATE_URL and WEAVIATE_GRPC_URL; raises UsageError for an invalid one."""
    url, grpc_url = url.strip(), grpc_url.strip()
    if "://" not in url:
        url = f"{'https' if url.split(':')[0].endswith(_CLOUD) else 'http'}://{url}"
    parts = _split(url, "WEAVIATE_URL")
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"WEAVIATE_URL is {url!r}", "use http://HOST:PORT or https://HOST:PORT")
    if parts.path.rstrip("/") not in ("", "/v1"):
        raise UsageError(
            f"WEAVIATE_URL has the path {parts.path!r}",
            "Weaviate's client only supports servers at the root path: give the server its own host name or port",
        )
    host, secure = str(parts.hostname), parts.scheme == "https"
    cloud = host.endswith(_CLOUD)
    port = parts.port or (443 if secure else (80 if cloud else 8080))
    if grpc_url:
        given = _split(grpc_url, "WEAVIATE_GRPC_URL")
        grpc_secure = secure if given.scheme in ("", "grpc") else given.scheme in ("https", "grpcs")
        return Address(host, port, secure, str(given.hostname), given.port or (443 if cloud else 50051), grpc_secure)
    if cloud:
        first, _, rest = host.partition(".")
        grpc_host = f"{first}.grpc.{rest}" if host.endswith(".weaviate.network") else f"grpc-{host}"
        return Address(host, port, secure, grpc_host, 443, True)
    return Address(host, port, secure, host, 50051, secure)


class Connection:
    """One checked connection; safe in several threads. All requests go through `call`."""

    def __init__(self, address: Address, client: Any, leave: Callable[[], None]) -> None:
        self.address, self.client, self._leave = address, client, leave
        self._closed = False

    def call(self, step: Callable[[], Result]) -> Result:
        """Run one request and return its answer; raises StoreUnreachable soon after the server stops answering.

        Weaviate's client retries a request to a dead server for a minute, a batch for half an hour. So the request runs
        in its own thread, and this one polls the server. The client's WEAVIATE_BATCH_MAX_RETRIES shortens batches only.
        """
        if self._closed:
            raise StoreError("the library was closed", "open it again")
        self._check_reachable()
        outcome: list[Result] = []
        failure: list[BaseException] = []
        done = threading.Event()

        def run() -> None:
            try:
                outcome.append(step())
            except BaseException as exc:
                failure.append(exc)
            finally:
                done.set()

        threading.Thread(target=run, daemon=True).start()
        while not done.wait(_POLL_SECONDS):
            self._check_reachable()
        if failure:
            if not isinstance(failure[0], StoreError):
                self._check_reachable()  # a dying server causes many kinds of errors; that it is unreachable explains them all
            raise failure[0] if isinstance(failure[0], StoreError) else self.translate(failure[0]) from failure[0]
        return outcome[0]

    def translate(self, exc: BaseException) -> BaseException:
        """Return our error for one of Weaviate's client; any other exception is returned as it is."""
        from grpc import RpcError  # type: ignore[import-untyped]
        from httpx import HTTPError
        from weaviate import exceptions as known

        text = " ".join(str(getattr(exc, "message", "") or exc).split())
        low = text.lower()
        if getattr(exc, "status_code", None) in (401, 403) or "unauthenticated" in low or "forbidden" in low:
            return _wrong_key(self.address)
        if "vector" in low and "length" in low:
            return StoreError(
                f"the server refused the vector length: {text[:300]}",
                "use the embedder the library was made with, or `quire docs reindex` to change it",
            )
        if "tenant not active" in low or "tenant is not active" in low:
            return StoreError(
                f"the tenant is not active: {text[:200]}", "activate it, or ask the administrator of the server"
            )
        if "enough weaviate nodes" in low:
            return StoreError(
                f"the server at {self.address.url} has fewer nodes than weaviate_replicas: {text[-120:]}",
                "set weaviate_replicas to at most the number of its nodes",
            )
        if "read-only" in low or "readonly" in low or "no space left" in low:
            return StoreError(
                f"the server at {self.address.url} refuses to write: {text[:300]}",
                "free disk space on the server's machine",
            )
        unreachable = (
            known.WeaviateConnectionError,
            known.WeaviateStartUpError,
            known.WeaviateRetryError,
            known.WeaviateTimeoutError,
            known.WeaviateGRPCUnavailableError,
        )
        if isinstance(exc, (*unreachable, RpcError, HTTPError)) or "unavailable" in low or "deadline" in low:
            return _unreachable(self.address, text[:200])
        if isinstance(exc, known.WeaviateBaseError):
            return StoreError(
                f"the server at {self.address.url} refused the request: {text[:500]}", "see the log of the server"
            )
        return exc

    def close(self) -> None:
        """Close the client and stop using the embedded server; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self.client.close()
            self._leave()

    def _check_reachable(self) -> None:
        try:
            socket.create_connection((self.address.grpc_host, self.address.grpc_port), _CONNECT_SECONDS).close()
        except OSError as exc:
            raise _unreachable(self.address, str(exc)) from exc


def connect(config: IngestConfig) -> Connection:
    """Return a checked connection to the server of the settings, starting the embedded one if needed.

    Raises StoreUnreachable, or StoreError for a wrong key, a wrong gRPC port, an old server, or a server that is not Weaviate.
    """
    if config.store == "weaviate-embedded":
        from ingest.store.weaviate.embedded import join

        joined = join(config.home, idle_seconds=config.weaviate_idle_seconds)
        address = Address("127.0.0.1", joined.http_port, False, "127.0.0.1", joined.grpc_port, False, embedded=True)
        key, leave = joined.api_key, joined.leave
    else:
        if not config.weaviate_url:
            raise UsageError(
                "no Weaviate server is set",
                "set WEAVIATE_URL=http://localhost:8080, or use QUIRE_STORE=weaviate-embedded or sqlite",
            )
        address = parse_address(config.weaviate_url, config.weaviate_grpc_url)
        key, leave = _usable_key(config.weaviate_api_key), _nothing
    try:
        _check_server(address, key)
        _check_grpc(address)
        return Connection(address, _client(address, key), leave)
    except BaseException:
        leave()
        raise


def _usable_key(key: str) -> str:
    """Return the key without surrounding white space; raises UsageError if it is not printable ASCII."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            "WEAVIATE_API_KEY contains characters that are not printable ASCII", "copy the key again, on one line"
        )
    return key


def _check_server(address: Address, key: str) -> None:
    """Raise StoreError unless a recent Weaviate answers and accepts the key."""
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{address.url}/v1/meta", headers=headers, timeout=_CONNECT_SECONDS, trust_env=False)
    except httpx.HTTPError as exc:
        raise _unreachable(address, str(exc) or type(exc).__name__) from exc
    if answer.status_code in (401, 403):
        raise _wrong_key(address)
    try:
        version = str(answer.raise_for_status().json()["version"])
        numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
        raise StoreError(
            f"the server at {address.url} is not Weaviate (status {answer.status_code})", "fix WEAVIATE_URL"
        ) from exc
    if numbers < MIN_VERSION:
        raise StoreError(
            f"the Weaviate at {address.url} is version {version}, which has CVE-2026-11500",
            f"update it to {'.'.join(map(str, MIN_VERSION))} or newer",
        )


def _check_grpc(address: Address) -> None:
    """Raise StoreError unless a gRPC server answers and reports itself as healthy."""
    import grpc

    options = [("grpc.default_authority", address.grpc_host)]
    if address.grpc_secure:
        channel = grpc.secure_channel(address.grpc, grpc.ssl_channel_credentials(), options)
    else:
        channel = grpc.insecure_channel(address.grpc, options)
    try:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        reply = check(b"", timeout=_CONNECT_SECONDS)
        if reply != b"\x08\x01":  # the message {status: SERVING}
            raise StoreUnreachable(f"the Weaviate at {address.grpc} is not ready", "try again in a moment")
    except grpc.RpcError as exc:
        raise StoreError(
            f"Weaviate answers at {address.url}, but its gRPC API does not answer at {address.grpc}",
            "set WEAVIATE_GRPC_URL=HOST:PORT to where the server listens for gRPC (by default port 50051), and open it",
        ) from exc
    finally:
        channel.close()


def _client(address: Address, key: str) -> Any:
    import weaviate
    from weaviate.classes.init import AdditionalConfig, Auth, Timeout

    # without a handler, Python would print its errors, as long as whole batches
    logging.getLogger("weaviate-client").addHandler(logging.NullHandler())
    with _translate_errors(address):
        return weaviate.connect_to_custom(
            http_host=address.host,
            http_port=address.port,
            http_secure=address.secure,
            grpc_host=address.grpc_host,
            grpc_port=address.grpc_port,
            grpc_secure=address.grpc_secure,
            auth_credentials=Auth.api_key(key) if key else None,
            # its checks ask a package index for a newer client; ours were made above
            skip_init_checks=True,
            additional_config=AdditionalConfig(
                timeout=Timeout(init=_CONNECT_SECONDS, query=_QUERY_SECONDS, insert=_INSERT_SECONDS)
            ),
        )


@contextlib.contextmanager
def _translate_errors(address: Address) -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        raise Connection(address, None, _nothing).translate(exc) from exc


def _unreachable(address: Address, reason: str) -> StoreUnreachable:
    first = "it is started again:" if address.embedded else "start it or fix WEAVIATE_URL, then"
    return StoreUnreachable(
        f"no Weaviate answers at {address.url} (gRPC {address.grpc}): {reason}",
        f"{first} run the command again; stored documents are kept, and it continues from there",
    )


def _wrong_key(address: Address) -> StoreError:
    return StoreError(
        f"the Weaviate at {address.url} does not accept the key",
        "set WEAVIATE_API_KEY to a key that may read and write",
    )


def _split(url: str, name: str) -> Any:
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        if not parts.hostname or parts.port == 0:
            raise ValueError("it has no host")
    except ValueError as exc:
        raise UsageError(f"{name} is {url!r}: {exc}", "use HOST:PORT or http://HOST:PORT") from exc
    if "@" in parts.netloc:
        # not repeated here: it may be a password
        raise UsageError(f"{name} contains a user name or password", "remove it, and set WEAVIATE_API_KEY")
    return parts


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _nothing() -> None:
    pass


def wait_a_moment(attempt: int) -> None:
    """Sleep before the next attempt: 0.1, 0.2, 0.4 seconds and so on, at most 2."""
    time.sleep(min(2.0, 0.1 * 2**attempt))
