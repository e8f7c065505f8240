"""A hub on loopback that speaks the protocol of huggingface_hub's client: create, pre-upload, LFS, commit, tree, resolve.

Large files are behind another host name, as on the hub, which must not get the token. It rejects what the hub rejects:
a wrong token, a card without readable metadata, bytes of another hash.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".gguf", ".bin", ".pt")
ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE).encode()
Reply = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Blob:
    """The bytes of a committed file, and whether they went through LFS."""

    data: bytes
    large: bool

    @property
    def oid(self) -> str:
        """Git's name for the bytes."""
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @property
    def sha256(self) -> str:
        """LFS's name for the bytes."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass
class Repo:
    """A repository: every commit's files, the newest last."""

    visibility: str
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)

    def commit(self, files: dict[str, Blob]) -> str:
        """Add a commit that holds `files`, and return its hash."""
        content = json.dumps([len(self.commits), sorted((name, blob.oid) for name, blob in files.items())])
        sha = hashlib.sha1(content.encode()).hexdigest()
        self.commits[sha] = files
        return sha

    def add_rows(self, **splits: list[dict[str, Any]]) -> str:
        """Add a commit with one file of rows for each split, and the card that names them."""
        named = "".join(f"  - split: {split}\n    path: data/{split}.jsonl\n" for split in splits)
        card = f"---\nconfigs:\n- config_name: default\n  data_files:\n{named}---\n"
        files = {"README.md": Blob(card.encode(), False)}
        for split, rows in splits.items():
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            files[f"data/{split}.jsonl"] = Blob(lines.encode(), False)
        return self.commit(files)

    @property
    def head(self) -> str:
        """The newest commit's hash."""
        return list(self.commits)[-1]


class Hub(ThreadingHTTPServer):
    """The server; `token` is the only one it takes, `storage_full` makes it refuse large files."""

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.token = token
        self.storage_full = False
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.seen: list[tuple[str, str, bool]] = []  # method, path, with a token

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        """The address for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage(self) -> str:
        """The address of large files: the same server under another host name."""
        return f"http://localhost:{self.server_port}/storage"


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    """Return a response with a JSON body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json", **named}, json.dumps(body).encode()


def refusal(status: int, message: str, code: str = "") -> Reply:
    """Return an error in the hub's form: in the body and in the headers."""
    headers = {"X_Error_Message": message} | ({"X_Error_Code": code} if code else {})
    return reply(status, {"error": message}, **headers)


class Handler(BaseHTTPRequestHandler):
    """Answer one request."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the tests read `seen`."""

    def handle_any(self) -> None:
        """Read the request, check the token, and hand it to the part that knows its path."""
        path, body = unquote(urlsplit(self.path).path), self._body()
        given = self.headers.get("Authorization")
        self.server.seen.append((self.command, path, given is not None))
        if path.startswith("/storage/"):
            status, headers, out = self._storage(path.removeprefix("/storage/"), body)
        elif given != f"Bearer {self.server.token}":
            status, headers, out = refusal(401, "Invalid credentials in Authorization header")
        else:
            status, headers, out = self._route(path, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(out)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _storage(self, oid: str, body: bytes) -> Reply:
        if self.command == "PUT":
            if self.server.storage_full:
                return refusal(403, "Storage quota exceeded")
            if hashlib.sha256(body).hexdigest() != oid:
                return refusal(400, "the bytes are not of this hash")
            self.server.objects[oid] = body
            return reply(200)
        return 200, {"ETag": f'"{oid}"', "Content-Type": "application/octet-stream"}, self.server.objects[oid]

    def _route(self, path: str, body: bytes) -> Reply:
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return validate_card(json.loads(body)["content"])
        kind = r"(?:api/models/|api/datasets/|datasets/)?"
        found = re.fullmatch(rf"/{kind}([^/]+/[^/]+?)(?:\.git/info/lfs/objects)?(?:/([\w-]+)(?:/(.*))?)?", path)
        assert found, path
        name, verb, rest = found[1], found[2] or "revision", found[3] or ""
        repo = self.server.repos.get(name)
        if repo is None:
            return refusal(404, "Repository not found", "RepoNotFound")
        if verb in ("batch", "verify", "preupload", "commit"):
            return getattr(self, f"_{verb}")(name, repo, body)  # type: ignore[no-any-return]
        revision, _, inner = rest.partition("/")
        sha = repo.head if revision in ("", "main") else revision
        if sha not in repo.commits:
            return refusal(404, f"Invalid rev id: {sha}", "RevisionNotFound")
        files = repo.commits[sha]
        if verb == "revision":
            siblings = [{"rfilename": path} for path in files]
            private = repo.visibility == "private"
            return reply(200, {"id": name, "modelId": name, "sha": sha, "private": private, "siblings": siblings})
        if verb == "tree":
            everything = parse_qs(urlsplit(self.path).query).get("recursive") != ["false"]
            return reply(200, listing(files, inner, recursive=everything))
        assert verb == "resolve", path
        return self._resolve(files, sha, inner)

    def _create(self, asked: dict[str, Any]) -> Reply:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.server.repos:
            body = {"error": "You already created this model repo", "url": f"{self.server.url}/{name}"}
            return reply(409, body)
        self.server.repos[name] = Repo(asked.get("visibility", "public"))
        self.server.repos[name].commit({".gitattributes": Blob(ATTRIBUTES, False)})
        return reply(200, {"url": f"{self.server.url}/{name}", "name": name})

    def _preupload(self, name: str, repo: Repo, body: bytes) -> Reply:
        files = []
        for file in json.loads(body)["files"]:
            large = file["path"].endswith(LARGE) or b"\0" in base64.b64decode(file["sample"])
            mode = "lfs" if large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        return reply(200, {"files": files})

    def _batch(self, name: str, repo: Repo, body: bytes) -> Reply:
        objects: list[dict[str, Any]] = []
        for asked in json.loads(body)["objects"]:
            upload = {"href": f"{self.server.storage}/{asked['oid']}"}
            verify = {"href": f"{self.server.url}/{name}.git/info/lfs/objects/verify"}
            known = asked["oid"] in self.server.objects
            objects.append(asked if known else {**asked, "actions": {"upload": upload, "verify": verify}})
        return reply(200, {"transfer": "basic", "objects": objects})

    def _verify(self, name: str, repo: Repo, body: bytes) -> Reply:
        asked = json.loads(body)
        held = self.server.objects.get(asked["oid"])
        return reply(200) if held is not None and len(held) == asked["size"] else refusal(404, "no such object")

    def _commit(self, name: str, repo: Repo, body: bytes) -> Reply:
        files = dict(repo.commits[repo.head])
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif item["key"] == "lfsFile":
                files[value["path"]] = Blob(self.server.objects[value["oid"]], True)
            else:
                assert item["key"] == "header", item["key"]
        sha = repo.commit(files)
        return reply(200, {"success": True, "commitOid": sha, "commitUrl": f"{self.server.url}/{name}/commit/{sha}"})

    def _resolve(self, files: dict[str, Blob], sha: str, path: str) -> Reply:
        if path not in files:
            return refusal(404, "Entry not found", "EntryNotFound")
        blob, commit = files[path], {"X-Repo-Commit": sha}
        if not blob.large:
            return 200, {**commit, "ETag": f'"{blob.oid}"'}, blob.data
        linked = {"X-Linked-Size": str(len(blob.data)), "X-Linked-Etag": f'"{blob.sha256}"'}
        return 302, {**commit, **linked, "Location": f"{self.server.storage}/{blob.sha256}"}, b""


def entry(path: str, blob: Blob) -> dict[str, Any]:
    """Return a file's entry of a tree listing."""
    listed: dict[str, Any] = {"type": "file", "path": path, "size": len(blob.data), "oid": blob.oid}
    if blob.large:
        listed["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 134}
    return listed


def listing(files: dict[str, Blob], folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """Return the entries of a folder: its files, and its folders unless their files are listed with them."""
    start = f"{folder}/" if folder else ""
    inside = {path: blob for path, blob in files.items() if path.startswith(start)}
    if recursive:
        return [entry(path, blob) for path, blob in inside.items()]
    folders = {start + path[len(start) :].split("/")[0] for path in inside if "/" in path[len(start) :]}
    here = [entry(path, blob) for path, blob in inside.items() if "/" not in path[len(start) :]]
    return here + [{"type": "directory", "path": name, "size": 0, "oid": "0" * 40} for name in sorted(folders)]


def validate_card(text: str) -> Reply:
    """Check the metadata on top of a model card as far as YAML and the types of its fields go."""
    import yaml

    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if not found:
        return reply(200, {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
    try:
        metadata = yaml.safe_load(found[1])
    except yaml.YAMLError as exc:
        return reply(400, {"errors": [{"message": str(exc)}], "warnings": []})
    strings = all(isinstance(metadata.get(name), str) for name in ("base_model", "library_name", "pipeline_tag"))
    if not strings or not all(isinstance(tag, str) for tag in metadata["tags"]):
        return reply(400, {"errors": [{"message": '"base_model" must be a string'}], "warnings": []})
    return reply(200, {"errors": [], "warnings": []})
