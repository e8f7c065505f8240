"""Fetches one PDF by its http(s) address, never from an inward one unasked; it does not parse what came."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
import ssl
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import httpcore
import httpx

from ingest.errors import IngestError, LinkRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]  # host, port -> every address of the name, as text

MAX_REDIRECTS = 5
CONNECT_SECONDS = 10.0  # an address that does not answer gives way to the next one of the name
MAGIC_BYTES = 1024  # readers look for "%PDF-" in the first kilobyte, so do we
PEEK_BYTES = 65_536  # of a body that is no PDF, read to name its title
CHUNK_BYTES = 65_536
REDIRECTS = (301, 302, 303, 307, 308)

# The blocks are written out because `ipaddress.is_global` changes with the patch release of Python.
_PRIVATE = tuple(
    ipaddress.ip_network(block)
    for block in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: metadata services of clouds
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
    )
)
_RESERVED_V4 = tuple(
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")  # all that is handed out; every other block is special
_RESERVED_V6 = tuple(
    ipaddress.ip_network(block)
    for block in (
        "2001::/23",  # Teredo, benchmarking, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise, retired by RFC 7526
        "3fff::/20",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # the last 32 bits are the IPv4 address that is reached


@dataclass(frozen=True)
class FetchedLink:
    """One PDF on disk: `path` is named by its content, `name` is what a person is shown."""

    path: Path
    final_url: str  # after redirects, without fragment
    sha256: str
    size: int  # bytes
    name: str  # safe to show; never used as a path


def fetch_link(
    url: str,
    target_folder: Path,
    *,
    allow_private: bool = False,
    allow_networks: Sequence[Network] = (),
    max_megabytes: int = 200,
    seconds: float = 120.0,
    resolver: Resolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> FetchedLink:
    """Download the PDF at `url` into `target_folder` as `<sha256>.pdf`, readable by the owner only.

    Every name is resolved once, every address of it is checked, and the connection goes to a checked
    address; each redirect is checked again. Proxies named in the environment are not used: a proxy would
    resolve the name anew. `allow_private` admits private, loopback and link-local addresses,
    `allow_networks` only the ones it names.
    `seconds` bounds the whole call, `max_megabytes` (of 1,000,000 bytes) the body.
    Raises LinkRefused, and IngestError where the folder cannot be written.
    """
    fetch = _Fetch(
        deadline=time.monotonic() + seconds,
        seconds=seconds,
        max_bytes=max_megabytes * 1_000_000,
        allow_private=allow_private,
        allow_networks=tuple(allow_networks),
        resolver=resolver or system_addresses,
        ssl_context=ssl_context or _default_ssl_context(),
    )
    here = parse_link(url)
    for _ in range(MAX_REDIRECTS + 1):
        addresses = _checked_addresses(here, fetch)
        with _get(here, addresses, fetch) as response:
            headers = _headers(response)
            if response.status not in REDIRECTS:
                _check_answer(here, response.status, headers, fetch)
                return _save(here, response, headers, target_folder, fetch)
            here = _next_hop(here, headers)
    raise LinkRefused(
        f"{_shown(parse_link(url))} redirects more than {MAX_REDIRECTS} times",
        "open it in a browser and give the address where the PDF ends up",
    )


def parse_link(url: str) -> httpx.URL:
    """Return the address as it will be fetched; raises LinkRefused where it is no plain http(s) address."""
    text = url.strip()
    if any(c == "\\" or c.isspace() or unicodedata.category(c) == "Cc" for c in text):
        raise LinkRefused(
            f"{_clean(text)} holds a space, a backslash or a control character", "write them percent-encoded"
        )
    try:
        parsed = httpx.URL(text)
        port = parsed.port
    except (httpx.InvalidURL, ValueError, UnicodeError) as exc:
        raise LinkRefused(
            f"{_clean(text)} is not an address: {_clean(str(exc))}", "give a full http(s) address"
        ) from exc
    if parsed.scheme not in ("http", "https"):
        raise LinkRefused(
            f"{_clean(text)} has the scheme {parsed.scheme or 'none'!r}",
            "only http and https are fetched; give a file by its path",
        )
    if parsed.userinfo:
        raise LinkRefused(
            f"{_shown(parsed)} carries a user name before its host",
            "such addresses hide where they lead; download the file yourself and give its path",
        )
    if not parsed.raw_host:
        raise LinkRefused(f"{_clean(text)} names no host", "give a full http(s) address")
    if port is not None and not 0 < port < 65536:
        raise LinkRefused(f"{_shown(parsed)} names port {port}", "use a port from 1 to 65535")
    return parsed.copy_with(fragment=None)


def system_addresses(host: str, port: int) -> list[str]:
    """Return every address that the system's resolver knows for a name, in its order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def inward_reason(address: str, *, allow_private: bool = False, allow_networks: Iterable[Network] = ()) -> str | None:
    """Return why an address may not be connected to, None where it may."""
    plain: Address = ipaddress.ip_address(address.partition("%")[0])
    ip = _unwrapped(plain)
    if any(ip in network for network in allow_networks):
        return None
    if any(ip in network for network in _PRIVATE):
        return None if allow_private else "a private, loopback or link-local address"
    if isinstance(ip, ipaddress.IPv4Address):
        reserved = any(ip in network for network in _RESERVED_V4)
    else:
        reserved = ip not in _GLOBAL_V6 or any(ip in network for network in _RESERVED_V6)
    return "an address reserved for special use" if reserved else None


def display_name(url: httpx.URL, disposition: str = "") -> str:
    """Return a name for people, from the Content-Disposition header, else the address; it ends in .pdf."""
    header = Message()
    header["Content-Disposition"] = _clean(disposition)
    offered = header.get_filename("") if disposition else ""
    for candidate in (offered, unquote(url.path.rsplit("/", 1)[-1]), url.host):
        name = re.split(r"[/\\]", candidate)[-1]
        name = "".join(c for c in name if unicodedata.category(c)[0] != "C" and c not in '<>:"|?*').strip(" .")
        if name:
            stem = re.sub(r"\.pdf$", "", name, flags=re.IGNORECASE)
            return f"{stem[:120].strip(' .') or 'document'}.pdf"
    return "document.pdf"


@dataclass(frozen=True)
class _Fetch:
    """The limits and the guard of one call."""

    deadline: float  # of time.monotonic()
    seconds: float
    max_bytes: int
    allow_private: bool
    allow_networks: tuple[Network, ...]
    resolver: Resolver
    ssl_context: ssl.SSLContext

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def too_slow(self, url: httpx.URL) -> LinkRefused:
        return LinkRefused(
            f"{_shown(url)} did not finish within {self.seconds:g} s",
            "try again, raise link_seconds in quire.toml, or download the file and give its path",
        )


def _unwrapped(ip: Address) -> Address:
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _checked_addresses(url: httpx.URL, fetch: _Fetch) -> list[str]:
    host = url.raw_host.decode("ascii")
    try:
        addresses = [str(ipaddress.ip_address(host.partition("%")[0]))]
    except ValueError:
        addresses = _resolve(url, host, fetch)
    for address in addresses:
        reason = inward_reason(address, allow_private=fetch.allow_private, allow_networks=fetch.allow_networks)
        if reason is not None:
            place = host if address == host else f"{host} ({address})"
            hint = (
                "save the file and give that; quire ingest --allow-private admits it, if you trust the address"
                if "private" in reason
                else "check the address"
            )
            raise LinkRefused(f"{_shown(url)} leads to {_clean(place)}, {reason}", hint)
    return addresses


def _resolve(url: httpx.URL, host: str, fetch: _Fetch) -> list[str]:
    """Resolve in a thread of its own: getaddrinfo knows no time limit."""
    outcome: list[list[str] | Exception] = []

    def work() -> None:
        try:
            outcome.append(list(fetch.resolver(host, _port(url))))
        except Exception as exc:
            outcome.append(exc)

    thread = threading.Thread(target=work, daemon=True, name="quire-resolve")
    thread.start()
    thread.join(max(fetch.left(), 0))
    if not outcome:
        raise fetch.too_slow(url)
    found = outcome[0]
    if isinstance(found, Exception) and not isinstance(found, OSError | UnicodeError):
        raise found
    if isinstance(found, Exception) or not found:
        raise LinkRefused(
            f"the name {_clean(host)} of {_shown(url)} cannot be resolved",
            "check the spelling and your network",
        )
    return found


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose every wait ends with the call's deadline, so that a drip of bytes cannot prolong it."""

    def __init__(self, stream: httpcore.NetworkStream, fetch: _Fetch) -> None:
        self._stream, self._fetch = stream, fetch

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
        return _DeadlineStream(inner, self._fetch)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)

    def _left(self, error: type[Exception]) -> float:
        left = self._fetch.left()
        if left <= 0:
            raise error("deadline")
        return left


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were checked, whatever the host's name resolves to by now.

    The request keeps the name: Host header, TLS server name and certificate check all go by it.
    """

    def __init__(self, addresses: Sequence[str], fetch: _Fetch) -> None:
        self._addresses, self._fetch = addresses, fetch
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
            wait = min(CONNECT_SECONDS, self._fetch.left())
            if wait <= 0:
                break
            try:
                stream = self._sockets.connect_tcp(address, port, wait, local_address, socket_options)
                return _DeadlineStream(stream, self._fetch)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure


@contextmanager
def _get(url: httpx.URL, addresses: Sequence[str], fetch: _Fetch) -> Iterator[httpcore.Response]:
    """Open one GET and translate every error of the wire, those of reading the body included."""
    headers = [
        (b"Host", url.netloc),
        (b"User-Agent", b"quire"),
        (b"Accept", b"application/pdf, */*;q=0.1"),
        (b"Accept-Encoding", b"identity"),  # a compressed body could unfold past the size cap
        (b"Connection", b"close"),
    ]
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    backend = _PinnedBackend(addresses, fetch)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=fetch.ssl_context, network_backend=backend) as pool,
            pool.stream("GET", target, headers=headers) as response,
        ):
            yield response
    except httpcore.TimeoutException as exc:
        if fetch.left() <= 0:
            raise fetch.too_slow(url) from exc
        raise LinkRefused(f"{_shown(url)} does not answer", "check the address, or try again later") from exc
    except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise _wire_error(url, exc) from exc


def _wire_error(url: httpx.URL, exc: Exception) -> LinkRefused:
    why = _clean(str(exc))
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return LinkRefused(
                f"{_shown(url)}: the certificate does not prove the name: {_clean(cause.verify_message)}",
                "check the address; SSL_CERT_FILE adds a certificate authority of your own",
            )
        if isinstance(cause, ssl.SSLError):
            return LinkRefused(f"{_shown(url)}: no secure connection: {_clean(str(cause))}", "check address and port")
        cause = cause.__cause__ or cause.__context__
    if isinstance(exc, httpcore.ConnectError):
        return LinkRefused(f"{_shown(url)}: no connection: {why}", "check address and port, or try again later")
    return LinkRefused(f"{_shown(url)}: the connection broke off: {why}", "try again, or download the file yourself")


def _next_hop(here: httpx.URL, headers: Mapping[str, str]) -> httpx.URL:
    location = headers.get("location", "")
    if not location:
        raise LinkRefused(f"{_shown(here)} redirects to nowhere", "give the address of the PDF itself")
    try:
        joined = here.join(location)
    except (httpx.InvalidURL, ValueError) as exc:
        raise LinkRefused(f"{_shown(here)} redirects to {_clean(location)}, no address", "give the PDF's own") from exc
    there = parse_link(str(joined))
    if here.scheme == "https" and there.scheme == "http":
        raise LinkRefused(
            f"{_shown(here)} redirects to {_shown(there)}, which is not encrypted",
            "give that address yourself if you accept it",
        )
    return there


def _check_answer(url: httpx.URL, status: int, headers: Mapping[str, str], fetch: _Fetch) -> None:
    if status != 200:
        hints = {
            401: "it asks for a login: download the file in a browser and give its path",
            403: "the server denies it: download the file in a browser and give its path",
            404: "check the address",
            410: "check the address",
            429: "the server asks for patience: try again later",
        }
        hint = hints.get(status, "the server has a problem: try again later" if status >= 500 else "check the address")
        raise LinkRefused(f"{_shown(url)} answered with status {status}", hint)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise LinkRefused(
            f"{_shown(url)} sent its body encoded as {_clean(encoding)}, though plain bytes were asked for",
            "download the file and give its path",
        )
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > fetch.max_bytes:
        raise _too_big(url, fetch, f"{int(announced) / 1e6:,.1f} MB")


def _save(
    url: httpx.URL, response: httpcore.Response, headers: Mapping[str, str], folder: Path, fetch: _Fetch
) -> FetchedLink:
    """Stream the body to a temporary file beside its final place, then rename it to the hash of its bytes."""
    blocks = _capped(url, response, fetch)
    head = b""
    for block in blocks:
        head += block
        if len(head) >= MAGIC_BYTES:
            break
    if b"%PDF-" not in head[:MAGIC_BYTES]:
        raise _not_a_pdf(url, head, blocks, headers)
    with _temporary(folder) as (file, temporary):
        digest = hashlib.sha256(head)
        size = file.write(head)
        for block in blocks:
            digest.update(block)
            size += file.write(block)
        file.flush()
        os.fsync(file.fileno())
        path = folder / f"{digest.hexdigest()}.pdf"
        temporary.replace(path)
    name = display_name(url, headers.get("content-disposition", ""))
    return FetchedLink(path, str(url), digest.hexdigest(), size, name)


def _capped(url: httpx.URL, response: httpcore.Response, fetch: _Fetch) -> Iterator[bytes]:
    size = 0
    for block in response.iter_stream():
        size += len(block)
        if size > fetch.max_bytes:
            raise _too_big(url, fetch, "more")
        if fetch.left() <= 0:
            raise fetch.too_slow(url)
        yield block


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a file that is gone afterwards unless it was renamed; a full disk is told with its folder."""
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix="link-", suffix=".part", dir=folder)  # made with mode 0600
        temporary = Path(name)
        with os.fdopen(number, "wb") as file:
            yield file, temporary
    except OSError as exc:
        raise IngestError(
            f"{folder} cannot be written: {exc.strerror or exc}", "make room, or check its rights"
        ) from exc
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _not_a_pdf(url: httpx.URL, head: bytes, blocks: Iterator[bytes], headers: Mapping[str, str]) -> LinkRefused:
    ended = False
    while len(head) < PEEK_BYTES and not ended:
        block = next(blocks, b"")
        ended = not block
        head += block
    if not head:
        return LinkRefused(f"{_shown(url)} answered with an empty body, not a PDF", "check the address")
    kind = _clean(headers.get("content-type", "")) or "no content type"
    announced = headers.get("content-length", "")
    size = f"{int(announced):,} bytes" if announced.isdigit() else f"{'' if ended else 'at least '}{len(head):,} bytes"
    title = re.search(rb"<title[^>]*>(.*?)</title>", head[:PEEK_BYTES], re.IGNORECASE | re.DOTALL)
    named = f", titled “{_clean(title[1].decode('utf-8', 'replace'))}”" if title else ""
    hint = (
        "it is a web page: open it in a browser and copy the address of the PDF itself"
        if title or "html" in kind.lower()
        else "give the address of a PDF"
    )
    return LinkRefused(f"{_shown(url)} is not a PDF but {kind}, {size}{named}", hint)


def _too_big(url: httpx.URL, fetch: _Fetch, size: str) -> LinkRefused:
    return LinkRefused(
        f"{_shown(url)} holds {size}; a link may have {fetch.max_bytes / 1e6:,.0f} MB",
        "raise link_megabytes in quire.toml, or download the file and give its path",
    )


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {key.decode("ascii").lower(): value.decode("latin-1") for key, value in response.headers}


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _default_ssl_context() -> ssl.SSLContext:
    """Trust the system's authorities (SSL_CERT_FILE honoured) and certifi's, since a bare Debian has none."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _shown(url: httpx.URL) -> str:
    """Return the address for a message: without user name, password and fragment."""
    return _clean(str(url.copy_with(userinfo=b"", fragment=None)))


def _clean(text: str, limit: int = 200) -> str:
    """Return text of a stranger as one printable line."""
    line = " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
