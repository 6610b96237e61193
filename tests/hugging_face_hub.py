"""A Hugging Face hub on loopback, as far as downloads need one, that can be told to misbehave."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 1000
"""Bytes from which a file counts as large: kept by its checksum, which the hub then declares."""


@dataclass
class Hub:
    """Its repositories, and what it was asked for."""

    url: str = ""
    repositories: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    """By name and commit the files."""
    gated: dict[str, str] = field(default_factory=dict)
    """By name the token that opens it."""
    declares: dict[str, str] = field(default_factory=dict)
    """By file a checksum that it does not have."""
    stops_after: dict[str, int] = field(default_factory=dict)
    """By file the bytes after which nothing more comes."""
    served: list[str] = field(default_factory=list)
    """Files whose content was asked for."""


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub until the end of the block; HF_ENDPOINT is its `url`."""
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def _handler(state: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked = self.rfile.read(length).decode()
            parts = urlsplit(self.path).path.strip("/").split("/")
            if parts[:2] == ["api", "models"] and parts[4] == "paths-info":
                name = "/".join(parts[2:4])
                files = self._files(name, parts[5])
                if files is not None:
                    wanted = [unquote(pair.partition("=")[2]) for pair in asked.split("&") if pair.startswith("paths=")]
                    self._json([_entry(path, files[path]) for path in wanted if path in files])
                return
            self._refuse(404, "EntryNotFound")

        def do_GET(self) -> None:
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            if parts[:2] == ["api", "models"]:
                name, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
                files = self._files(name, revision, content=False)
                if files is not None and parts[4:5] == ["tree"]:
                    below = "".join(f"{part}/" for part in parts[6:])
                    inside = [path for path in sorted(files) if path.startswith(below) and "/" not in path[len(below) :]]
                    self._json([_entry(path, files[path]) for path in inside])
                elif files is not None:
                    siblings = [_sibling(path, files[path], state.declares) for path in sorted(files)]
                    self._json({"id": name, "sha": revision, "siblings": siblings, "tags": []})
            elif len(parts) > 4 and parts[2] == "resolve":
                name, revision, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
                files = self._files(name, revision)
                if files is not None:
                    if path in files:
                        self._content(path, files[path], revision)
                    else:
                        self._refuse(404, "EntryNotFound")
            else:
                self._refuse(404, "RepoNotFound")

        def _files(self, name: str, revision: str, content: bool = True) -> dict[str, bytes] | None:
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            # A gated repository may be listed by everybody, not read.
            if content and name in state.gated and token != state.gated[name]:
                self._refuse(403 if token else 401, "GatedRepo")
            elif not any(known == name for known, _ in state.repositories):
                self._refuse(401, "RepoNotFound")
            elif (name, revision) not in state.repositories:
                self._refuse(404, "RevisionNotFound")
            else:
                return state.repositories[name, revision]
            return None

        def _refuse(self, code: int, error: str) -> None:
            self.send_response(code)
            self.send_header("X-Error-Code", error)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _json(self, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _content(self, path: str, body: bytes, revision: str) -> None:
            wanted = self.headers.get("Range")
            start, end = 0, len(body)
            if wanted:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, end = int(first), int(last) + 1 if last else len(body)
            end = min(end, len(body))
            self.send_response(206 if wanted else 200)
            self.send_header("X-Repo-Commit", revision)
            self.send_header("ETag", f'"{_etag(body)}"')
            self.send_header("Accept-Ranges", "bytes")
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            if self.command == "HEAD":
                return
            state.served.append(path)
            part = body[start:end]
            limit = state.stops_after.get(path)
            self.wfile.write(part[:limit])
            self.wfile.flush()
            while path in state.stops_after:
                time.sleep(0.05)
            self.close_connection = limit is not None

    return Handler


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest() if len(body) >= LARGE else _blob(body)


def _blob(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def _sibling(path: str, body: bytes, declares: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"rfilename": path, "size": len(body), "blobId": _blob(body)}
    if len(body) >= LARGE:
        checksum = declares.get(path, hashlib.sha256(body).hexdigest())
        found["lfs"] = {"sha256": checksum, "size": len(body), "pointerSize": 130}
    return found


def _entry(path: str, body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(body), "oid": _blob(body)}
    if len(body) >= LARGE:
        found["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
    return found
