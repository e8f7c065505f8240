"""Fetches the PDF at an http(s) address, but not from a private or reserved address unless allowed."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import ssl
import tempfile
import threading
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import httpcore
import httpx

from ingest.errors import IngestError, LinkRefused
from ingest.files.addresses import Resolver, refusal_reason, system_addresses
from ingest.files.transport import Deadline, clean, default_ssl_context, get, shown_url
from quire import encodable, one_line

_MAX_REDIRECTS = 5
_HEADER_BYTES = 1024  # PDF readers look for "%PDF-" in the first kilobyte
_TITLE_BYTES = 65_536  # of a body that is not a PDF, read to quote its title
_NAME_LENGTH = 200  # characters
_AFTER_PDF = re.compile(r"(?<=\.pdf)[?#].*", re.IGNORECASE | re.DOTALL)
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Fetched:
    """A downloaded file, and the name that its server gave it: one line for people, never part of a path."""

    path: Path
    name: str


def fetch_link(
    url: str,
    target_folder: Path,
    *,
    allow_private: bool = False,
    max_megabytes: int = 200,
    seconds: float = 120.0,
    resolver: Resolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> Fetched:
    """Download the PDF at `url` to `target_folder` as `<sha256>.pdf`, readable by the owner only; return path and name.

    Each name is resolved once, all its addresses are checked, and the connection goes to a checked address; redirects
    are checked again. Proxies of the environment are not used, since a proxy would resolve the name again.
    `allow_private` allows private, loopback and link-local addresses. `seconds` limits the whole call, `max_megabytes`
    (of 1,000,000 bytes) the body. Raises LinkRefused, and IngestError if the folder cannot be written.
    """
    fetch = _Fetch(
        deadline=Deadline(seconds),
        max_bytes=max_megabytes * 1_000_000,
        allow_private=allow_private,
        resolver=resolver or system_addresses,
        ssl_context=ssl_context or default_ssl_context(),
    )
    here = parse_link(url)
    for _ in range(_MAX_REDIRECTS + 1):
        addresses = _checked_addresses(here, fetch)
        with get(here, addresses, fetch.deadline, fetch.ssl_context) as response:
            headers = _headers(response)
            if response.status not in _REDIRECTS:
                _check_answer(here, response.status, headers, fetch)
                name = _given_name(headers) or (_last_name(here) if here != parse_link(url) else "")
                return Fetched(_save(here, response, headers, target_folder, fetch), name)
            here = _next_hop(here, headers)
    raise LinkRefused(
        f"{shown_url(parse_link(url))} redirects more than {_MAX_REDIRECTS} times",
        "open it in a browser and give the address of the PDF itself",
    )


def parse_link(url: str) -> httpx.URL:
    """Return the address as it will be fetched; raises LinkRefused if it is not a plain http(s) address."""
    text = url.strip()
    if any(c == "\\" or c.isspace() or unicodedata.category(c) == "Cc" for c in text):
        raise LinkRefused(
            f"{clean(text)} contains a space, a backslash or a control character", "write them percent-encoded"
        )
    try:
        parsed = httpx.URL(text)
        port = parsed.port
    except (httpx.InvalidURL, ValueError, UnicodeError) as exc:
        raise LinkRefused(f"{clean(text)} is not an address: {clean(str(exc))}", "give a full http(s) address") from exc
    if parsed.scheme not in ("http", "https"):
        raise LinkRefused(
            f"{clean(text)} has the scheme {parsed.scheme or 'none'!r}",
            "only http and https are fetched; give a file by its path",
        )
    if parsed.userinfo:
        raise LinkRefused(
            f"{shown_url(parsed)} has a user name before the host",
            "such addresses hide where they lead; download the file yourself and give its path",
        )
    if not parsed.raw_host:
        raise LinkRefused(f"{clean(text)} has no host", "give a full http(s) address")
    if port is not None and not 0 < port < 65536:
        raise LinkRefused(f"{shown_url(parsed)} has port {port}", "use a port from 1 to 65535")
    return parsed.copy_with(fragment=None)


@dataclass(frozen=True)
class _Fetch:
    """The limits and checks of one call."""

    deadline: Deadline
    max_bytes: int
    allow_private: bool
    resolver: Resolver
    ssl_context: ssl.SSLContext


def _checked_addresses(url: httpx.URL, fetch: _Fetch) -> list[str]:
    host = url.raw_host.decode("ascii")
    try:
        addresses = [str(ipaddress.ip_address(host.partition("%")[0]))]
    except ValueError:
        addresses = _resolve(url, host, fetch)
    for address in addresses:
        reason = refusal_reason(address, allow_private=fetch.allow_private)
        if reason is not None:
            place = host if address == host else f"{host} ({address})"
            hint = (
                "download the file and give its path; if you trust the address, quire ingest --allow-private allows it"
                if "private" in reason
                else "check the address"
            )
            raise LinkRefused(f"{shown_url(url)} leads to {clean(place)}, {reason}", hint)
    return addresses


def _resolve(url: httpx.URL, host: str, fetch: _Fetch) -> list[str]:
    """Resolve in a separate thread, because getaddrinfo has no time limit."""
    outcome: list[list[str] | Exception] = []

    def work() -> None:
        try:
            outcome.append(list(fetch.resolver(host, _port(url))))
        except Exception as exc:
            outcome.append(exc)

    thread = threading.Thread(target=work, daemon=True, name="quire-resolve")
    thread.start()
    thread.join(max(fetch.deadline.left(), 0))
    if not outcome:
        raise fetch.deadline.error(url)
    found = outcome[0]
    if isinstance(found, Exception) and not isinstance(found, OSError | UnicodeError):
        raise found
    if isinstance(found, Exception) or not found:
        raise LinkRefused(
            f"the name {clean(host)} of {shown_url(url)} cannot be resolved",
            "check the spelling and your network",
        )
    return found


def _next_hop(here: httpx.URL, headers: Mapping[str, str]) -> httpx.URL:
    location = headers.get("location", "")
    if not location:
        raise LinkRefused(
            f"{shown_url(here)} redirects without naming an address", "give the address of the PDF itself"
        )
    try:
        joined = here.join(location)
    except (httpx.InvalidURL, ValueError) as exc:
        raise LinkRefused(
            f"{shown_url(here)} redirects to {clean(location)}, which is not an address", "give the address of the PDF"
        ) from exc
    there = parse_link(str(joined))
    if here.scheme == "https" and there.scheme == "http":
        raise LinkRefused(
            f"{shown_url(here)} redirects to {shown_url(there)}, which is not encrypted",
            "give that address if you accept it",
        )
    return there


def _check_answer(url: httpx.URL, status: int, headers: Mapping[str, str], fetch: _Fetch) -> None:
    if status != 200:
        hints = {
            401: "it asks for a login: download the file in a browser and give its path",
            403: "the server denies it: download the file in a browser and give its path",
            404: "check the address",
            410: "check the address",
            429: "too many requests: try again later",
        }
        hint = hints.get(status, "the server has a problem: try again later" if status >= 500 else "check the address")
        raise LinkRefused(f"{shown_url(url)} answered with status {status}", hint)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise LinkRefused(
            f"{shown_url(url)} sent a body encoded as {clean(encoding)}, although quire asked for plain bytes",
            "download the file and give its path",
        )
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > fetch.max_bytes:
        raise _too_big(url, fetch, f" ({int(announced) / 1e6:,.1f} MB)")


def _save(url: httpx.URL, response: httpcore.Response, headers: Mapping[str, str], folder: Path, fetch: _Fetch) -> Path:
    """Write the body to a temporary file in the folder, then rename it to the hash of its bytes."""
    blocks = _capped(url, response, fetch)
    head = b""
    for block in blocks:
        head += block
        if len(head) >= _HEADER_BYTES:
            break
    if b"%PDF-" not in head[:_HEADER_BYTES]:
        raise _not_a_pdf(url, head, blocks, headers)
    with _temporary(folder) as (file, temporary):
        digest = hashlib.sha256(head)
        file.write(head)
        for block in blocks:
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        path = folder / f"{digest.hexdigest()}.pdf"
        temporary.replace(path)
    return path


def _capped(url: httpx.URL, response: httpcore.Response, fetch: _Fetch) -> Iterator[bytes]:
    size = 0
    for block in response.iter_stream():
        size += len(block)
        if size > fetch.max_bytes:
            raise _too_big(url, fetch)
        if fetch.deadline.left() <= 0:
            raise fetch.deadline.error(url)
        yield block


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a file that is deleted afterwards unless it was renamed; translate the errors of a full disk."""
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix="link-", suffix=".part", dir=folder)  # has mode 0600
        temporary = Path(name)
        with os.fdopen(number, "wb") as file:
            yield file, temporary
    except OSError as exc:
        raise IngestError(
            f"{folder} cannot be written: {exc.strerror or exc}", "free some disk space, or check its permissions"
        ) from exc
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _not_a_pdf(url: httpx.URL, head: bytes, blocks: Iterator[bytes], headers: Mapping[str, str]) -> LinkRefused:
    ended = False
    while len(head) < _TITLE_BYTES and not ended:
        block = next(blocks, b"")
        ended = not block
        head += block
    if not head:
        return LinkRefused(f"{shown_url(url)} answered with an empty body, not a PDF", "check the address")
    kind = clean(headers.get("content-type", "")) or "no content type"
    announced = headers.get("content-length", "")
    size = f"{int(announced):,} bytes" if announced.isdigit() else f"{'' if ended else 'at least '}{len(head):,} bytes"
    title = re.search(rb"<title[^>]*>(.*?)</title>", head[:_TITLE_BYTES], re.IGNORECASE | re.DOTALL)
    named = f", titled “{clean(title[1].decode('utf-8', 'replace'))}”" if title else ""
    hint = (
        "it is a web page: open it in a browser and copy the address of the PDF itself"
        if title or "html" in kind.lower()
        else "give the address of a PDF"
    )
    return LinkRefused(f"{shown_url(url)} is not a PDF but {kind}, {size}{named}", hint)


def _too_big(url: httpx.URL, fetch: _Fetch, size: str = "") -> LinkRefused:
    return LinkRefused(
        f"{shown_url(url)} is larger than the limit of {fetch.max_bytes / 1e6:,.0f} MB for a link{size}",
        "raise link_megabytes in quire.toml, or download the file and give its path",
    )


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {key.decode("ascii").lower(): value.decode("latin-1") for key, value in response.headers}


def _given_name(headers: Mapping[str, str]) -> str:
    """Return the file name of Content-Disposition (RFC 6266), "" if there is none."""
    message = Message()
    message["Content-Disposition"] = headers.get("content-disposition", "")
    try:
        given: list[Any] = [value for key, value in message.get_params([], "content-disposition") if key == "filename"]
        extended = [value for value in given if isinstance(value, tuple)]  # filename*=UTF-8''... goes before filename=
        name = collapse_rfc2231_value((extended or given or [""])[0])
        with suppress(UnicodeError):  # servers send UTF-8 where Latin-1 is meant
            name = name.encode("latin-1").decode("utf-8")
        if name.startswith("=?"):  # encoded for a mail, as old servers do
            name = str(make_header(decode_header(name)))
    except (LookupError, UnicodeError, ValueError):  # an unknown encoding, or a broken one
        return ""
    return _bare(name)


def _last_name(url: httpx.URL) -> str:
    """Return the last part of an address that leads to a PDF by name, else ""."""
    return _bare(url.path) if url.path.lower().endswith(".pdf") else ""


def _bare(name: str) -> str:
    """Return a file name in one line, without folders, quotes and the query of an address; "" if nothing is left."""
    name = _AFTER_PDF.sub("", unquote(name))
    if name[:1] == name[-1:] == "'":
        name = name[1:-1]
    last = one_line(encodable(name.replace("\\", "/").rsplit("/", 1)[-1]), limit=_NAME_LENGTH)
    return last if any(c.isalnum() for c in last) else ""


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)
