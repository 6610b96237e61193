"""A registry of images on loopback, as far as asking for digests, pulling and pushing need one."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Registry:
    """Its images, and how it behaves."""

    host: str = ""
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By repository and tag or digest."""
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By repository and digest."""
    asks_for_tokens: bool = True
    claims: str | None = None
    """A digest it states of everything."""
    breaks_after: dict[str, int] = field(default_factory=dict)
    """By digest of a blob the bytes after which the connection is cut, once."""
    served: list[str] = field(default_factory=list)
    """Blobs that were asked for, with the byte they were asked from."""
    logins: set[str] = field(default_factory=set)
    """What tokens were asked for with."""

    def push(self, repository: str, tag: str, content: str) -> str:
        """Put an image there that is only a name; its digest."""
        return self._put(repository, {"mediaType": INDEX, "manifests": [], "annotations": {"is": content}}, tag)

    def push_image(self, repository: str, tag: str, layers: list[bytes]) -> str:
        """Put an image for two architectures there; its digest."""
        made = []
        for architecture in ("amd64", "arm64"):
            config = self._blob(repository, json.dumps({"architecture": architecture}).encode())
            parts = [self._blob(repository, layer) for layer in layers]
            digest = self._put(repository, {"mediaType": MANIFEST, "config": config, "layers": parts})
            size = len(self.manifests[repository, digest])
            made.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": {"architecture": architecture}})
        return self._put(repository, {"mediaType": INDEX, "manifests": made}, tag)

    def push_chart(self, repository: str, tag: str, archive: bytes) -> str:
        """Put a chart there; the digest of its archive."""
        config = self._blob(repository, b"{}", "application/vnd.cncf.helm.config.v1+json")
        layer = self._blob(repository, archive, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
        self._put(repository, {"mediaType": MANIFEST, "config": config, "layers": [layer]}, tag)
        return str(layer["digest"])

    def _blob(self, repository: str, content: bytes, kind: str = "application/octet-stream") -> dict[str, Any]:
        self.blobs[repository, _digest(content)] = content
        return {"mediaType": kind, "digest": _digest(content), "size": len(content)}

    def _put(self, repository: str, document: dict[str, Any], tag: str = "") -> str:
        body = json.dumps({"schemaVersion": 2, **document}).encode()
        for name in filter(None, (_digest(body), tag)):
            self.manifests[repository, name] = body
        return _digest(body)


@contextmanager
def registry() -> Iterator[Registry]:
    """A registry until the end of the block."""
    state = Registry()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.host = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def _handler(state: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/token":
                if login := self.headers.get("Authorization"):
                    state.logins.add(login)
                self._answer(200, json.dumps({"token": parse_qs(url.query)["scope"][0]}).encode())
            else:
                self._serve()

        def do_POST(self) -> None:
            repository = urlsplit(self.path).path.removeprefix("/v2/").partition("/blobs/uploads")[0]
            if self._allowed(repository, "pull,push"):
                self._answer(202, b"", {"Location": f"/v2/{repository}/blobs/uploads/one?state=of-it"})

        def do_PUT(self) -> None:
            url, body = urlsplit(self.path), self.rfile.read(int(self.headers.get("Content-Length", 0)))
            repository, kind, name = _parts(url.path)
            if not self._allowed(repository, "pull,push"):
                return
            if kind == "blobs":
                (digest,) = parse_qs(url.query)["digest"]
                state.blobs[repository, digest] = body
                self._answer(201 if _digest(body) == digest else 400, b"")
                return
            document = json.loads(body)
            below = [(state.manifests, each["digest"]) for each in document.get("manifests", [])]
            below += [(state.blobs, each["digest"]) for each in [document.get("config"), *document.get("layers", [])] if each]
            if any((repository, digest) not in known for known, digest in below):
                self._answer(400, b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN"}]}')
                return
            state.manifests[repository, name] = state.manifests[repository, _digest(body)] = body
            self._answer(201, b"")

        def _allowed(self, repository: str, action: str) -> bool:
            scope = f"repository:{repository}:{action}"
            shown = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if not state.asks_for_tokens or shown in (scope, f"repository:{repository}:pull,push"):
                return True
            challenge = f'Bearer realm="http://{state.host}/token",service="{state.host}",scope="{scope}"'
            self._answer(401, b"{}", {"WWW-Authenticate": challenge})
            return False

        def _serve(self) -> None:
            repository, kind, name = _parts(urlsplit(self.path).path)
            if not self._allowed(repository, "pull"):
                return
            if kind == "blobs":
                self._blob(repository, name)
                return
            body = state.manifests.get((repository, name))
            media_type = json.loads(body).get("mediaType", INDEX) if body else ""
            if body is None or media_type not in self.headers.get("Accept", ""):
                self._answer(404, b"{}")
            else:
                digest = state.claims or _digest(body)
                self._answer(200, body, {"Content-Type": media_type, "Docker-Content-Digest": digest})

        def _blob(self, repository: str, digest: str) -> None:
            body = state.blobs.get((repository, digest))
            if body is None:
                self._answer(404, b"{}")
                return
            first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            cut = None
            if self.command == "GET":
                state.served.append(f"{digest} from {first}")
                cut = state.breaks_after.pop(digest, None)
            self._answer(206 if first else 200, body[first:], cut=cut)

        def _answer(self, code: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[:cut])
            self.close_connection = self.close_connection or cut is not None

    return Handler


def _parts(path: str) -> tuple[str, str, str]:
    kind = "manifests" if "/manifests/" in path else "blobs"
    repository, _, name = path.removeprefix("/v2/").partition(f"/{kind}/")
    return repository, kind, name


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
