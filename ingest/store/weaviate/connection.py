"""A live connection to one Weaviate server: its address, the checks on opening it, and calls that fail within seconds."""

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

OLDEST = (1, 38)  # servers before it let a caller past the access rules: CVE-2026-11500
_CONNECT_SECONDS = 5.0
_QUERY_SECONDS = 30
_INSERT_SECONDS = 120
_LOOK_SECONDS = 0.25  # how often a call that takes long asks whether the server is still there
_CLOUD = (".weaviate.cloud", ".weaviate.network", ".weaviate.io", ".semi.technology")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Address:
    """Where the two sides of a server are."""

    host: str
    port: int
    secure: bool
    grpc_host: str
    grpc_port: int
    grpc_secure: bool
    embedded: bool = False  # ours, which the next command starts again

    @property
    def url(self) -> str:
        """Return the address of the HTTP side."""
        return f"{'https' if self.secure else 'http'}://{_bracketed(self.host)}:{self.port}"

    @property
    def grpc(self) -> str:
        """Return the address of the gRPC side."""
        return f"{_bracketed(self.grpc_host)}:{self.grpc_port}"


def parse_address(url: str, grpc_url: str = "") -> Address:
    """Return the addresses that WEAVIATE_URL and WEAVIATE_GRPC_URL name; raises UsageError for what cannot be one."""
    url, grpc_url = url.strip(), grpc_url.strip()
    if "://" not in url:
        url = f"{'https' if url.split(':')[0].endswith(_CLOUD) else 'http'}://{url}"
    parts = _split(url, "WEAVIATE_URL")
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"WEAVIATE_URL is {url!r}", "use http://HOST:PORT or https://HOST:PORT")
    if parts.path.rstrip("/") not in ("", "/v1"):
        raise UsageError(
            f"WEAVIATE_URL has the path {parts.path!r}",
            "Weaviate's client reaches servers at the root only: give the server a host name or port of its own",
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
    """One checked connection; safe in several threads. `call` runs what speaks to the server."""

    def __init__(self, address: Address, client: Any, leave: Callable[[], None]) -> None:
        self.address, self.client, self._leave = address, client, leave
        self._closed = False

    def call(self, step: Callable[[], Result]) -> Result:
        """Run one request and return its answer; raises StoreUnreachable soon after the server has gone.

        Weaviate's client repeats a request to a dead server for a minute, a batch for half an hour. The request runs in
        a thread of its own, and whoever waits for it looks after the server.
        """
        if self._closed:
            raise StoreError("the library was closed", "open it again")
        self._check_there()
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
        while not done.wait(_LOOK_SECONDS):
            self._check_there()
        if failure:
            if not isinstance(failure[0], StoreError):
                self._check_there()  # a server that dies answers in many ways; that it is gone explains them all
            raise failure[0] if isinstance(failure[0], StoreError) else self.translate(failure[0]) from failure[0]
        return outcome[0]

    def translate(self, exc: BaseException) -> BaseException:
        """Return the error of ours for one of Weaviate's client, or the same where it is none."""
        from grpc import RpcError  # type: ignore[import-untyped]
        from httpx import HTTPError
        from weaviate import exceptions as known

        text = " ".join(str(getattr(exc, "message", "") or exc).split())
        low = text.lower()
        if getattr(exc, "status_code", None) in (401, 403) or "unauthenticated" in low or "forbidden" in low:
            return _wrong_key(self.address)
        if "vector" in low and "length" in low:
            return StoreError(
                f"the server refused a vector's length: {text[:300]}",
                "use the embedder the library was made with, or `quire docs reindex` to change it",
            )
        if "tenant not active" in low or "tenant is not active" in low:
            return StoreError(f"the tenant is switched off: {text[:200]}", "switch it on, or ask its administrator")
        if "enough weaviate nodes" in low:
            return StoreError(
                f"the server at {self.address.url} has fewer nodes than replicas are asked for: {text[-120:]}",
                "set weaviate_replicas to the number of its nodes at most",
            )
        if "read-only" in low or "readonly" in low or "no space left" in low:
            return StoreError(
                f"the server at {self.address.url} takes no writes: {text[:300]}",
                "free disk space on the server's machine",
            )
        gone = (
            known.WeaviateConnectionError,
            known.WeaviateStartUpError,
            known.WeaviateRetryError,
            known.WeaviateTimeoutError,
            known.WeaviateGRPCUnavailableError,
        )
        if isinstance(exc, (*gone, RpcError, HTTPError)) or "unavailable" in low or "deadline" in low:
            return _gone(self.address, text[:200])
        if isinstance(exc, known.WeaviateBaseError):
            return StoreError(f"the server at {self.address.url} refused: {text[:500]}", "its log may say more")
        return exc

    def close(self) -> None:
        """Close the client and give back the share in an embedded server; calling it twice does nothing."""
        if not self._closed:
            self._closed = True
            self.client.close()
            self._leave()

    def _check_there(self) -> None:
        try:
            socket.create_connection((self.address.grpc_host, self.address.grpc_port), _CONNECT_SECONDS).close()
        except OSError as exc:
            raise _gone(self.address, str(exc)) from exc


def connect(config: IngestConfig) -> Connection:
    """Return a checked connection to the server that the settings name, starting the embedded one where that is set.

    Raises StoreUnreachable, or StoreError for a wrong key, a wrong gRPC port, a server too old, or one of another kind.
    """
    if config.store == "weaviate-embedded":
        from ingest.store.weaviate.embedded import join

        joined = join(config.home, linger_seconds=config.weaviate_linger_seconds)
        address = Address("127.0.0.1", joined.http_port, False, "127.0.0.1", joined.grpc_port, False, embedded=True)
        key, leave = joined.api_key, joined.leave
    else:
        if not config.weaviate_url:
            raise UsageError(
                "no Weaviate server is named",
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
    """Return the key without the line end it was pasted with; raises UsageError for what no request can carry."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            "WEAVIATE_API_KEY holds letters that no key has", "copy the key again: ASCII only, and in one line"
        )
    return key


def _check_server(address: Address, key: str) -> None:
    """Raise unless a Weaviate that is new enough answers there and takes the key."""
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{address.url}/v1/meta", headers=headers, timeout=_CONNECT_SECONDS, trust_env=False)
    except httpx.HTTPError as exc:
        raise _gone(address, str(exc) or type(exc).__name__) from exc
    if answer.status_code in (401, 403):
        raise _wrong_key(address)
    try:
        version = str(answer.raise_for_status().json()["version"])
        numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
        raise StoreError(
            f"what answers at {address.url} is no Weaviate (status {answer.status_code})", "mend WEAVIATE_URL"
        ) from exc
    if numbers < OLDEST:
        raise StoreError(
            f"the Weaviate at {address.url} is version {version}, which carries CVE-2026-11500",
            f"update it to {'.'.join(map(str, OLDEST))} or newer",
        )


def _check_grpc(address: Address) -> None:
    """Raise unless a gRPC server that calls itself healthy answers there."""
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
            f"Weaviate answers at {address.url}, but its gRPC side does not at {address.grpc}",
            "set WEAVIATE_GRPC_URL=HOST:PORT to where the server listens for gRPC (by default port 50051), and open it",
        ) from exc
    finally:
        channel.close()


def _client(address: Address, key: str) -> Any:
    import weaviate
    from weaviate.classes.init import AdditionalConfig, Auth, Timeout

    # without a handler Python prints its errors, whole batches long, over ours
    logging.getLogger("weaviate-client").addHandler(logging.NullHandler())
    with _translated(address):
        return weaviate.connect_to_custom(
            http_host=address.host,
            http_port=address.port,
            http_secure=address.secure,
            grpc_host=address.grpc_host,
            grpc_port=address.grpc_port,
            grpc_secure=address.grpc_secure,
            auth_credentials=Auth.api_key(key) if key else None,
            # its own checks ask a package index for a newer client; ours are done
            skip_init_checks=True,
            additional_config=AdditionalConfig(
                timeout=Timeout(init=_CONNECT_SECONDS, query=_QUERY_SECONDS, insert=_INSERT_SECONDS)
            ),
        )


@contextlib.contextmanager
def _translated(address: Address) -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        raise Connection(address, None, _nothing).translate(exc) from exc


def _gone(address: Address, reason: str) -> StoreUnreachable:
    first = "it is started anew:" if address.embedded else "start it or mend WEAVIATE_URL, then"
    return StoreUnreachable(
        f"no Weaviate answers at {address.url} (gRPC {address.grpc}): {reason}",
        f"{first} run the command again; what was stored is kept, and it goes on from there",
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
            raise ValueError("it names no host")
    except ValueError as exc:
        raise UsageError(f"{name} is {url!r}: {exc}", "use HOST:PORT or http://HOST:PORT") from exc
    if "@" in parts.netloc:
        # the words themselves are not repeated: they may be a password
        raise UsageError(f"{name} holds a user or password", "leave it out: the key goes into WEAVIATE_API_KEY")
    return parts


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _nothing() -> None:
    pass


def wait_a_moment(attempt: int) -> None:
    """Sleep before the next try of something that failed: 0.1, 0.2, 0.4 seconds and so on, two at most."""
    time.sleep(min(2.0, 0.1 * 2**attempt))
