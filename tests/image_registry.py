"""A registry of images on loopback, as far as asking for digests needs one."""

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


@dataclass
class Registry:
    """Its images, and how it behaves."""

    host: str = ""
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By repository and tag."""
    asks_for_tokens: bool = True
    claims: str | None = None
    """A digest it states of everything."""

    def push(self, repository: str, tag: str, content: str) -> str:
        """Put an image there; its digest."""
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"is": content}}).encode()
        self.manifests[repository, tag] = body
        return f"sha256:{hashlib.sha256(body).hexdigest()}"


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

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/token":
                self._answer(200, json.dumps({"token": parse_qs(url.query)["scope"][0]}).encode())
                return
            repository, _, tag = url.path.removeprefix("/v2/").partition("/manifests/")
            scope = f"repository:{repository}:pull"
            if state.asks_for_tokens and self.headers.get("Authorization") != f"Bearer {scope}":
                challenge = f'Bearer realm="http://{state.host}/token",service="{state.host}",scope="{scope}"'
                self._answer(401, b"{}", {"WWW-Authenticate": challenge})
            elif (repository, tag) not in state.manifests or INDEX not in self.headers.get("Accept", ""):
                self._answer(404, b"{}")
            else:
                body = state.manifests[repository, tag]
                digest = state.claims or f"sha256:{hashlib.sha256(body).hexdigest()}"
                self._answer(200, body, {"Content-Type": INDEX, "Docker-Content-Digest": digest})

        def _answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
