"""A hub on loopback: the part of its HTTP protocol that downloads need, with faults on request.

Two real servers, as on the Hub: one serves /api and /resolve, the other, of another origin, stores
large files under signed addresses. Bodies and error headers are those that huggingface_hub 2.4
reads (`hf_raise_for_status`, `get_hf_file_metadata`).
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 7000  # bytes from which a file is stored apart
ROUTES = {
    "info": re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)/revision/([^/]+)"),
    "tree": re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)/tree/([^/]+)"),
    "file": re.compile(r"/(dataset)?s?/?([^/]+/[^/]+)/resolve/([^/]+)/(.+)"),
    "store": re.compile(r"/store/([0-9a-f]{64})"),
}


@dataclass
class Repository:
    """kind/name at its commits {hash: {path: content}}; the last one is `main`."""

    kind: str
    name: str
    licence: str = "apache-2.0"
    gated: str | bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        """Add a commit; `main` moves to it."""
        text = repr([(name, sha256(content)) for name, content in sorted(files.items())])
        commit = hashlib.sha1(f"{text} {len(self.commits)}".encode()).hexdigest()
        self.commits[commit] = files
        return commit

    def at(self, revision: str) -> str | None:
        """The commit that a revision stands for."""
        last = [*self.commits][-1]
        return last if revision == "main" else revision if revision in self.commits else None


@dataclass
class Fault:
    """A failure of the next `times` requests on a route whose path contains `match`.

    what: a status code; `cut`: the connection ends after 100 bytes of the body; `wrong`: one bit is
    flipped; `other commit`: the response is that of another commit.
    """

    route: str
    what: object
    times: int = 1
    match: str = ""
    method: str = "GET"


@dataclass
class Seen:
    """One request."""

    route: str
    method: str
    path: str
    headers: dict[str, str]


class Hub:
    """The two servers with their repositories, the requests that they received, and faults."""

    def __init__(self):
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.tokens: set[str] = set()
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler()) for _ in "ab"]
        self.url, self.store = (f"http://127.0.0.1:{s.server_address[1]}" for s in self._servers)
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop both servers: from now on nobody listens there."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(self, repository: Repository) -> Repository:
        """Serve a repository."""
        self.repositories[repository.kind, repository.name] = repository
        return repository

    def asked(self, route: str, method: str = "GET") -> list[Seen]:
        """Requests of one route."""
        return [s for s in self.seen if (s.route, s.method) == (route, method)]

    def fault(self, route: str, method: str, path: str) -> Fault | None:
        """The fault that hits this request, counted down."""
        for fault in self.faults:
            if (fault.route, fault.method) == (route, method) and fault.match in path:
                if fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def blob(self, digest: str) -> bytes:
        """Content of a stored file."""
        everything = (f for r in self.repositories.values() for f in r.commits.values())
        return next(c for files in everything for c in files.values() if sha256(c) == digest)

    def _handler(hub):
        class Handler(_Handler):
            pass

        Handler.hub = hub
        return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        """No lines on the tests' output."""

    def do_HEAD(self):
        self._handle("HEAD")

    def do_GET(self):
        self._handle("GET")

    def _handle(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        found = ((route, form.fullmatch(path)) for route, form in ROUTES.items())
        route, parts = next(((r, p) for r, p in found if p), ("unknown", None))
        self.hub.seen.append(
            Seen(route, method, path, {k.lower(): v for k, v in self.headers.items()})
        )
        fault = self.hub.fault(route, method, path)
        what = fault.what if fault else None
        if isinstance(what, int):
            # Some proxies return what they were sent.
            text = f"sorry; you sent {self.headers.get('authorization')}"
            self._refuse(what, "", text)
        elif route == "unknown":
            self._refuse(404, "", "not found")
        elif route == "store":
            self._send(self.hub.blob(parts[1]), what)
        elif self._allowed(parts[1] or "model", parts[2], parts[3], route):
            repository = self.hub.repositories[parts[1] or "model", parts[2]]
            commit = repository.at(parts[3])
            if what == "other commit":
                commit = repository.at("main")
            answer = {"info": self._info, "tree": self._tree, "file": self._file}[route]
            answer(repository, commit, what, *parts.groups()[3:])

    def _allowed(self, kind: str, name: str, revision: str, route: str) -> bool:
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        repository = self.hub.repositories.get((kind, name))
        if token and token not in self.hub.tokens:
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif not repository:
            self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif not repository.at(revision):
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif route == "file" and repository.gated and token != f"{name} accepted":
            message = f"Access to {kind} {name} is restricted."
            self._refuse(403 if token else 401, "GatedRepo", message)
        else:
            return True
        return False

    def _refuse(self, status: int, code: str, message: str, headers: dict | None = None) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        kept = {"X-Error-Code": code, "X-Error-Message": message}
        kept |= {"Content-Type": "application/json", **(headers or {})}
        for key, value in {**kept, "Content-Length": str(len(body))}.items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _info(self, repository: Repository, commit: str, what) -> None:
        files = [described(name, content) for name, content in repository.commits[commit].items()]
        siblings = [{**d, "rfilename": d["path"], "blobId": d["oid"]} for d in files]
        facts = {"id": repository.name, "sha": commit, "gated": repository.gated, "private": False}
        facts |= {"tags": [], "cardData": {"license": repository.licence}, "siblings": siblings}
        self._json(facts, what)

    def _tree(self, repository: Repository, commit: str, what) -> None:
        """Two entries a page: the client must follow the links."""
        files = [described(*item) for item in repository.commits[commit].items()]
        start = int(dict(re.findall(r"(cursor)=(\d+)", self.path)).get("cursor", 0))
        link = f'<{self.hub.url}{urlsplit(self.path).path}?cursor={start + 2}>; rel="next"'
        self._json(files[start : start + 2], what, {"Link": link} if start + 2 < len(files) else {})

    def _json(self, answer, what, headers: dict | None = None) -> None:
        headers = {"Content-Type": "application/json", **(headers or {})}
        self._send(json.dumps(answer).encode(), what, headers)

    def _file(self, repository: Repository, commit: str, what, name: str) -> None:
        content = repository.commits[commit].get(name)
        if content is None:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        facts = described(name, content)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{facts["oid"]}"'}
        if "lfs" not in facts:
            self._send(content, what, headers)
            return
        digest = facts["lfs"]["sha256"]
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        headers["Location"] = f"{self.hub.store}/store/{digest}?X-Amz-Signature=signed-{digest[:8]}"
        self._send(b"", what, headers, status=302)

    def _send(self, body: bytes, what, headers: dict | None = None, status: int = 200) -> None:
        if what == "wrong":
            body = body[:-9] + bytes([body[-9] ^ 1]) + body[-8:]
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[:100] if what == "cut" else body)
        self.close_connection |= what == "cut"


def sha256(content: bytes) -> str:
    """As the hub names large files."""
    return hashlib.sha256(content).hexdigest()


def described(name: str, content: bytes) -> dict:
    """A file in a listing: git's hash, and the sha256 of a large one."""
    pointer = f"oid sha256:{sha256(content)}".encode() if len(content) > LARGE else content
    git = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
    facts = {"type": "file", "path": name, "oid": git, "size": len(content)}
    if len(content) > LARGE:
        digest = sha256(content)
        facts["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 1}
    return facts
