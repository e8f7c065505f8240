"""Links against real servers on loopback; names are resolved by a table, so nothing outside is asked."""

# ruff: noqa: SIM117 - the server and the refusal it causes read better as two steps
from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ingest.errors import IngestError, LinkRefused
from ingest.files import links
from ingest.files.addresses import Resolver, refusal_reason
from ingest.files.links import fetch_link

PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\n%%EOF\n"
Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A real HTTP server on loopback that answers by path and remembers who connected and what was asked."""

    def __init__(self, answers: dict[str, Answer], *, host: str = "127.0.0.1", port: int = 0) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def do_GET(self) -> None:
                server.requests.append((self.path, dict(self.headers)))
                answers[self.path.partition("?")[0]](self)

            def log_message(self, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients that hang up are what these tests are about

        self.connections = 0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.http = Quiet((host, port), Handler)
        self.port = int(self.http.server_address[1])
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Server:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


def reply(body: bytes = PDF, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        given = {"content_type": "application/pdf", "content_length": str(len(body))} | headers
        for name, value in given.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirect(location: str, status: int = 302) -> Answer:
    return reply(b"", status, location=location)


def drip(block: bytes, *, pause: float, first: bytes = b"") -> Answer:
    """Send a block again and again, until the client hangs up."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(first)
        for _ in range(10_000):
            handler.wfile.write(block)
            time.sleep(pause)

    return answer


def table(**names: str | list[str]) -> Resolver:
    """Resolve the given names (written with _ for .), and fail the test for any other."""
    known = {name.replace("_", "."): [a] if isinstance(a, str) else a for name, a in names.items()}

    def resolve(host: str, port: int) -> list[str]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown name")
        return known[host]

    return resolve


def refuse_to_resolve(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} must not be resolved")


@pytest.fixture
def admit(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Admit the addresses of one network; every other address is checked as ever."""

    def admit(network: str) -> None:
        def reason(address: str, *, allow_private: bool = False) -> str | None:
            admitted = ipaddress.ip_address(address) in ipaddress.ip_network(network)
            return None if admitted else refusal_reason(address, allow_private=allow_private)

        monkeypatch.setattr(links, "refusal_reason", reason)

    return admit


@pytest.fixture
def only_this(admit: Callable[[str], None]) -> None:
    """Admit 127.0.0.1 and no other loopback address."""
    admit("127.0.0.1")


# --- fetching ---------------------------------------------------------------------------------


def test_a_pdf_is_saved_under_its_hash_for_the_owner_only(tmp_path: Path) -> None:
    import hashlib

    with Server({"/report.pdf": reply()}) as server:
        path = fetch_link(server.url("/report.pdf#page=3"), tmp_path, allow_private=True).path
    assert path == tmp_path / f"{hashlib.sha256(PDF).hexdigest()}.pdf"
    assert path.read_bytes() == PDF
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.usefixtures("only_this")
def test_plain_bytes_are_asked_for_and_the_host_header_keeps_the_name(tmp_path: Path) -> None:
    with Server({"/a": reply()}) as server:
        names = table(papers_example="127.0.0.1")
        fetch_link(server.url("/a?x=1", "papers.example"), tmp_path, resolver=names)
    path, headers = server.requests[0]
    assert path == "/a?x=1"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Host"] == f"papers.example:{server.port}"


def test_proxies_of_the_environment_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with Server({"/a.pdf": reply()}) as server:
        assert fetch_link(server.url("/a.pdf"), tmp_path, allow_private=True).path.read_bytes() == PDF


@pytest.mark.usefixtures("only_this")
def test_a_name_is_resolved_once_so_that_rebinding_cannot_lead_elsewhere(tmp_path: Path) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    with Server({"/a.pdf": reply()}) as server:
        link = fetch_link(
            server.url("/a.pdf", "papers.example"),
            tmp_path,
            resolver=lambda host, port: next(answers),
        )
    assert link.path.read_bytes() == PDF
    assert next(answers) == ["127.0.0.2"]


def test_the_next_address_of_a_name_is_tried_when_the_first_does_not_answer(
    tmp_path: Path, admit: Callable[[str], None]
) -> None:
    admit("127.0.0.0/8")
    with Server({"/a.pdf": reply()}) as server:
        names = table(papers_example=["127.0.0.9", "127.0.0.1"])
        url = server.url("/a.pdf", "papers.example")
        assert fetch_link(url, tmp_path, resolver=names).path.read_bytes() == PDF


def test_a_pdf_header_within_the_first_kilobyte_is_accepted(tmp_path: Path) -> None:
    with Server({"/a": reply(b"junk\n" * 100 + PDF), "/b": reply(b"x" * 1024 + PDF)}) as server:
        assert fetch_link(server.url("/a"), tmp_path, allow_private=True).path.read_bytes() == b"junk\n" * 100 + PDF
        with pytest.raises(LinkRefused, match="is not a PDF but application/pdf"):
            fetch_link(server.url("/b"), tmp_path, allow_private=True)


# --- the guard --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost", "LOCALHOST.", "0x7f.1", "2130706433",
     "127.1", "inner.example"],
)  # fmt: skip
def test_the_refusal_comes_before_any_connection(host: str, tmp_path: Path) -> None:
    names = table(inner_example="127.0.0.1")

    def resolve(name: str, port: int) -> list[str]:
        # what the system's resolver makes of these spellings needs no network
        return list(names(name, port)) if name.endswith("example") else ["127.0.0.1"]

    with Server({"/a.pdf": reply()}) as server:
        with pytest.raises(LinkRefused, match="--allow-private allows it"):
            fetch_link(server.url("/a.pdf", host), tmp_path, resolver=resolve)
        # the same address does connect once it is admitted, so the zero above means something
        assert server.connections == 0
        fetch_link(server.url("/a.pdf", host), tmp_path, resolver=resolve, allow_private=True)
        assert server.connections == 1


@pytest.mark.usefixtures("only_this")
def test_one_private_address_among_several_refuses_the_name(tmp_path: Path) -> None:
    with Server({"/a.pdf": reply()}) as server:
        names = table(mixed_example=["127.0.0.1", "10.0.0.7"])
        with pytest.raises(LinkRefused, match=r"mixed\.example \(10\.0\.0\.7\), a private"):
            url = server.url("/a.pdf", "mixed.example")
            fetch_link(url, tmp_path, resolver=names)
        assert server.connections == 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/passwd", "has the scheme 'file'"),
        ("ftp://papers.example/a.pdf", "has the scheme 'ftp'"),
        ("gopher://papers.example/", "has the scheme 'gopher'"),
        ("papers.example/a.pdf", "has the scheme 'none'"),
        ("http://public.example@127.0.0.1/", "has a user name"),
        ("http://me:secret@papers.example/", "has a user name"),
        ("http://1.1.1.1\\@127.0.0.1/", "a backslash"),
        ("http://papers.example/a b.pdf", "contains a space"),
        ("http://papers.example/a\r\nX: y", "a control character"),
        ("http://papers.example:0/", "has port 0"),
        ("http://papers.example:70000/", "has port 70000"),
        ("http:///a.pdf", "has no host"),
        ("http://[::1/a.pdf", "is not an address"),
        ("http://0177.0.0.1/a.pdf", "is not an address"),
    ],
)
def test_an_address_that_is_not_plain_http_is_refused_unresolved(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(LinkRefused, match=says) as caught:
        fetch_link(url, tmp_path, resolver=refuse_to_resolve)
    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_an_unknown_name_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LinkRefused, match=r"the name nowhere\.example .* cannot be resolved \(check the spelling"):
        fetch_link("https://nowhere.example/a.pdf", tmp_path, resolver=table())


def test_a_resolver_that_hangs_ends_with_the_time_limit(tmp_path: Path) -> None:
    release = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        release.wait(20)
        return ["127.0.0.1"]

    started = time.monotonic()
    with pytest.raises(LinkRefused, match=r"did not finish within 0\.2 s"):
        fetch_link("http://slow.example/a.pdf", tmp_path, resolver=hang, seconds=0.2)
    release.set()
    assert time.monotonic() - started < 2


# --- redirects --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: int, tmp_path: Path) -> None:
    with Server({"/a": redirect("b/paper.pdf", status), "/b/paper.pdf": reply()}) as server:
        assert fetch_link(server.url("/a"), tmp_path, allow_private=True).path.read_bytes() == PDF
    assert [path for path, _ in server.requests] == ["/a", "/b/paper.pdf"]


@pytest.mark.parametrize("host", ["127.0.0.2", "inner.example", "[::ffff:127.0.0.2]"])
@pytest.mark.usefixtures("only_this")
def test_a_redirect_to_a_private_address_is_refused_before_connecting(host: str, tmp_path: Path) -> None:
    names = table(outer_example="127.0.0.1", inner_example="127.0.0.2")
    with Server({"/a.pdf": reply()}, host="127.0.0.2") as inner:
        with Server({"/go": redirect(inner.url("/a.pdf", host))}) as outer:
            with pytest.raises(LinkRefused, match="a private, loopback or link-local address"):
                url = outer.url("/go", "outer.example")
                fetch_link(url, tmp_path, resolver=names)
            assert (outer.connections, inner.connections) == (1, 0)
            fetch_link(outer.url("/go", "outer.example"), tmp_path, resolver=names, allow_private=True)
            assert inner.connections == 1


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("file:///etc/passwd", "has the scheme 'file'"),
        ("http://good.example@127.0.0.1/", "has a user name"),
        ("", "redirects without naming an address"),
        ("http://[::1", "redirects to http://\\[::1, which is not an address"),
    ],
)
def test_a_redirect_to_something_else_is_refused(location: str, says: str, tmp_path: Path) -> None:
    with Server({"/a": redirect(location)}) as server, pytest.raises(LinkRefused, match=says):
        fetch_link(server.url("/a"), tmp_path, allow_private=True)


def test_five_redirects_are_followed_and_a_sixth_is_not(tmp_path: Path) -> None:
    answers = {f"/{n}": redirect(f"/{n - 1}") for n in range(1, 7)} | {"/0": reply()}
    with Server(answers) as server:
        assert fetch_link(server.url("/5"), tmp_path, allow_private=True).path.read_bytes() == PDF
        with pytest.raises(LinkRefused, match="redirects more than 5 times"):
            fetch_link(server.url("/6"), tmp_path, allow_private=True)


def test_a_redirect_loop_ends(tmp_path: Path) -> None:
    with Server({"/a": redirect("/b"), "/b": redirect("/a")}) as server:
        with pytest.raises(LinkRefused, match="redirects more than 5 times"):
            fetch_link(server.url("/a"), tmp_path, allow_private=True)
        assert server.connections == 6


# --- what comes back --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "asks for a login"), (403, "denies it"), (404, "check the address"), (410, "check the address"),
     (429, "too many requests"), (500, "try again later"), (503, "try again later"), (204, "check the address")],
)  # fmt: skip
def test_a_status_other_than_200_is_named_with_what_to_do(status: int, hint: str, tmp_path: Path) -> None:
    body = b"" if status == 204 else PDF
    with Server({"/a": reply(body, status)}) as server:
        with pytest.raises(LinkRefused, match=f"answered with status {status} .*{hint}"):
            fetch_link(server.url("/a"), tmp_path, allow_private=True)
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_is_named_with_type_size_and_title(tmp_path: Path) -> None:
    page = b"<html><head><title>Sign in\n to \x1b[31mread</title></head></html>"
    with Server({"/a": reply(page, content_type="text/html; charset=utf-8")}) as server:
        with pytest.raises(LinkRefused) as caught:
            fetch_link(server.url("/a"), tmp_path, allow_private=True)
    assert caught.value.message == (
        f"{server.url('/a')} is not a PDF but text/html; charset=utf-8, {len(page)} bytes, titled “Sign in to [31mread”"
    )
    assert "copy the address of the PDF itself" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_an_empty_body_is_said_to_be_empty(tmp_path: Path) -> None:
    with Server({"/a": reply(b"")}) as server, pytest.raises(LinkRefused, match="an empty body, not a PDF"):
        fetch_link(server.url("/a"), tmp_path, allow_private=True)


def test_an_encoded_body_is_refused_unread(tmp_path: Path) -> None:
    import gzip

    bomb = gzip.compress(PDF + b"\0" * 20_000_000)
    with Server({"/a": reply(bomb, content_encoding="gzip")}) as server:
        with pytest.raises(LinkRefused, match="encoded as gzip, although quire asked for plain bytes"):
            fetch_link(server.url("/a"), tmp_path, allow_private=True, max_megabytes=1)


def test_an_announced_size_over_the_cap_is_refused_before_the_body(tmp_path: Path) -> None:
    with Server({"/a": reply(PDF, content_length="3000000")}) as server:
        with pytest.raises(
            LinkRefused, match=r"larger than the limit of 2 MB for a link \(3\.0 MB\) \(raise link_megabytes"
        ):
            fetch_link(server.url("/a"), tmp_path, allow_private=True, max_megabytes=2)


def test_a_body_without_announced_size_is_cut_off_at_the_cap(tmp_path: Path) -> None:
    with Server({"/a": drip(b"x" * 100_000, pause=0, first=PDF)}) as server:
        with pytest.raises(LinkRefused, match="larger than the limit of 1 MB for a link"):
            fetch_link(server.url("/a"), tmp_path, allow_private=True, max_megabytes=1)
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_drips_ends_with_the_time_limit(tmp_path: Path) -> None:
    started = time.monotonic()
    with Server({"/a": drip(b"x" * 2000, pause=0.02, first=PDF)}) as server:
        with pytest.raises(LinkRefused, match=r"did not finish within 0\.5 s .*raise link_seconds"):
            fetch_link(server.url("/a"), tmp_path, allow_private=True, seconds=0.5)
    assert time.monotonic() - started < 3
    assert list(tmp_path.iterdir()) == []


def test_headers_that_drip_end_with_the_time_limit(tmp_path: Path) -> None:
    with _raw_server([b"HTTP/1.1 200 OK\r\n"] + [b"X-A: 1\r\n"] * 500, pause=0.02) as port:
        started = time.monotonic()
        with pytest.raises(LinkRefused, match=r"did not finish within 0\.4 s"):
            fetch_link(f"http://127.0.0.1:{port}/", tmp_path, allow_private=True, seconds=0.4)
        assert time.monotonic() - started < 3


def test_a_body_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    with Server({"/a": reply(PDF * 100, content_length="999999")}) as server:
        with pytest.raises(LinkRefused, match="the connection was interrupted"):
            fetch_link(server.url("/a"), tmp_path, allow_private=True)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_not_http_is_one_clear_line(tmp_path: Path) -> None:
    with _raw_server([b"SSH-2.0-OpenSSH_9.2\r\n"], pause=0) as port:
        with pytest.raises(LinkRefused, match="the connection was interrupted"):
            fetch_link(f"http://127.0.0.1:{port}/", tmp_path, allow_private=True)


def test_a_host_that_is_down_is_one_clear_line(tmp_path: Path) -> None:
    with Server({}) as server:
        pass  # its port is free again
    with pytest.raises(LinkRefused, match=r"no connection: .*check address and port"):
        fetch_link(server.url("/a"), tmp_path, allow_private=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with (
        Server({"/a": reply()}) as server,
        pytest.raises(IngestError, match=r"file cannot be written: .*free some disk space"),
    ):
        fetch_link(server.url("/a"), blocker, allow_private=True)


# --- names ------------------------------------------------------------------------------------


def test_a_name_from_the_server_never_reaches_the_file_system(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    evil = 'attachment; filename="../outside.pdf"'
    with Server({"/a": reply(content_disposition=evil)}) as server:
        fetched = fetch_link(server.url("/a"), folder, allow_private=True)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.pdf")] == [f"inside/{fetched.path.name}"]
    assert fetched.name == "outside.pdf"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="Lease of the warehouse.pdf"', "Lease of the warehouse.pdf"),
        ("inline; filename=report.pdf", "report.pdf"),
        ("attachment; filename=\"x.pdf\"; filename*=UTF-8''Stra%C3%9Fe%20%E2%82%AC.pdf", "Straße €.pdf"),
        ('attachment; filename="Stra\u00c3\u009fe.pdf"', "Straße.pdf"),  # UTF-8 where Latin-1 is meant
        ('attachment; filename="C:\\\\files\\\\plan.pdf"', "plan.pdf"),
        ('attachment; filename="a\tb\x1b[31m.pdf"', "a b [31m.pdf"),
        ("attachment", ""),
        ('attachment; filename="../"', ""),
        ("attachment; filename*=UTF-8''folder%2Flease.pdf", "lease.pdf"),
        ("attachment; filename*=iso-8859-1'en'%A3%20rates.pdf", "£ rates.pdf"),
        ('attachment; filename="lease%20of%20pier%201.pdf"', "lease of pier 1.pdf"),
        ('attachment; filename="100% wool.pdf"', "100% wool.pdf"),
        ('attachment; filename="report.pdf?token=secret"', "report.pdf"),
        ('attachment; filename="=?UTF-8?Q?M=C3=BCnchen.pdf?="', "München.pdf"),
        ("attachment; filename='single.pdf'", "single.pdf"),
        ('attachment; FILENAME="a;b \\"c.pdf";', 'a;b "c.pdf'),
    ],
)
def test_the_name_of_the_server_is_one_printable_line(header: str, name: str, tmp_path: Path) -> None:
    with Server({"/a": reply(content_disposition=header)}) as server:
        assert fetch_link(server.url("/a"), tmp_path, allow_private=True).name == name


@pytest.mark.parametrize(("target", "name"), [("/files/Lease%20of%20pier.pdf", "Lease of pier.pdf"), ("/b", "")])
def test_the_address_behind_a_redirect_names_the_file_if_its_server_does_not(
    target: str, name: str, tmp_path: Path
) -> None:
    with Server({"/get": redirect(f"{target}?key=1"), target: reply()}) as server:
        assert fetch_link(server.url("/get"), tmp_path, allow_private=True).name == name


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for papers.example that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "papers.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("papers.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private


@contextmanager
def _tls_server(authority: tuple[Path, Path]) -> Iterator[tuple[Server, list[str | None]]]:
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)
    context.sni_callback = lambda sock, name, ctx: asked.append(name)
    server = Server({"/a.pdf": reply()})
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    with server:
        yield server, asked


@pytest.mark.usefixtures("only_this")
def test_tls_asks_for_and_verifies_the_name_though_the_address_is_pinned(
    authority: tuple[Path, Path], tmp_path: Path
) -> None:
    trust = ssl.create_default_context(cafile=str(authority[0]))
    names = table(papers_example="127.0.0.1", other_example="127.0.0.1")
    with _tls_server(authority) as (server, asked):
        url = f"https://papers.example:{server.port}/a.pdf"
        link = fetch_link(url, tmp_path, resolver=names, ssl_context=trust)
        assert link.path.read_bytes() == PDF
        assert asked == ["papers.example"]
        with pytest.raises(LinkRefused, match=r"certificate could not be verified for this name: Hostname mismatch"):
            url = f"https://other.example:{server.port}/a.pdf"
            fetch_link(url, tmp_path, resolver=names, ssl_context=trust)


@pytest.mark.usefixtures("only_this")
def test_a_certificate_of_an_unknown_authority_is_refused(authority: tuple[Path, Path], tmp_path: Path) -> None:
    names = table(papers_example="127.0.0.1")
    with _tls_server(authority) as (server, _):
        with pytest.raises(LinkRefused, match=r"self-signed certificate \(check the address; SSL_CERT_FILE"):
            url = f"https://papers.example:{server.port}/a.pdf"
            fetch_link(url, tmp_path, resolver=names)


def test_a_plain_server_asked_for_tls_is_one_clear_line(tmp_path: Path) -> None:
    with Server({}) as server, pytest.raises(LinkRefused, match="no secure connection"):
        fetch_link(f"https://127.0.0.1:{server.port}/", tmp_path, allow_private=True)


@pytest.mark.usefixtures("only_this")
def test_a_redirect_from_https_to_http_is_refused(authority: tuple[Path, Path], tmp_path: Path) -> None:
    trust = ssl.create_default_context(cafile=str(authority[0]))
    names = table(papers_example="127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)
    server = Server({"/a": redirect("http://papers.example/a.pdf")})
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    with server, pytest.raises(LinkRefused, match="which is not encrypted"):
        url = f"https://papers.example:{server.port}/a"
        fetch_link(url, tmp_path, resolver=names, ssl_context=trust)


@contextmanager
def _raw_server(blocks: list[bytes], *, pause: float) -> Iterator[int]:
    """Serve one connection with bytes as given."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            try:
                for block in blocks:
                    connection.sendall(block)
                    time.sleep(pause)
            except OSError:
                return  # the client hung up, as it should

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        thread.join(15)
        listener.close()
