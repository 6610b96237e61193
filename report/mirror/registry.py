"""A registry's images: what is there, and putting it there.

Protocol: OCI distribution specification 1.1; tokens as report/images.py asks for them. Logins are those that `docker login` and
`skopeo login` leave in a file (REGISTRY_AUTH_FILE, or ~/.docker/config.json).
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

import httpx

from report.images import MANIFESTS, asked, host_of

_CHUNK = 2**20


class Repository:
    """One repository, e.g. `docker.io/grafana/loki`. What a registry refuses is a ValueError of one sentence."""

    def __init__(self, client: httpx.Client, name: str, *, push: bool = False) -> None:
        registry, _, self._path = name.partition("/")
        self._host = host_of(registry)
        self.name = name
        self._client = client
        self._scope = f"repository:{self._path}:{'pull,push' if push else 'pull'}"
        self._login = _login(registry)
        self._authorization: dict[str, str] = {}
        scheme = "http" if self._host.split(":")[0] in ("127.0.0.1", "localhost") else "https"
        self._base = f"{scheme}://{self._host}/v2/{self._path}"

    def manifest(self, reference: str) -> tuple[str, bytes]:
        """Media type and content of a manifest or an index, by tag or digest."""
        answer = self._ask("GET", f"manifests/{reference}", headers={"Accept": MANIFESTS})
        self._check(answer, reference)
        return answer.headers.get("Content-Type", "").partition(";")[0], answer.content

    def has(self, kind: str, reference: str) -> bool:
        """Whether there is such a one of `manifests` or `blobs`."""
        return self._ask("HEAD", f"{kind}/{reference}", headers={"Accept": MANIFESTS}).status_code == httpx.codes.OK

    def blob(self, digest: str, first: int = 0) -> Iterator[tuple[bool, bytes]]:
        """A blob in parts, each with whether it goes on from `first` or begins at the beginning."""
        self._ask("HEAD", f"blobs/{digest}")  # a token comes before content
        wanted = {"Range": f"bytes={first}-"} if first else {}
        with self._client.stream("GET", f"{self._base}/blobs/{digest}", headers={**wanted, **self._authorization}) as answer:
            if not answer.is_success:
                raise ValueError(f"{self._host} answers {answer.status_code} for {digest} of {self._path}")
            going_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
            for part in answer.iter_raw():
                yield going_on, part

    def put_blob(self, digest: str, content: IO[bytes], size: int) -> None:
        """Put a blob there."""
        begun = self._ask("POST", "blobs/uploads/")
        self._check(begun, digest)
        place = httpx.URL(urljoin(f"{self._base}/", begun.headers["Location"]))
        # Who is there is told to the registry alone, wherever it has content sent.
        shown = self._authorization if place.netloc == httpx.URL(self._base).netloc else {}
        answer = self._client.put(
            place.copy_merge_params({"digest": digest}),
            content=iter(lambda: content.read(_CHUNK), b""),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size), **shown},
        )
        self._check(answer, digest)

    def put_manifest(self, reference: str, media_type: str, content: bytes) -> None:
        """Put a manifest there, whose parts are there already."""
        answer = self._ask("PUT", f"manifests/{reference}", headers={"Content-Type": media_type}, content=content)
        self._check(answer, reference)

    def _check(self, answer: httpx.Response, what: str) -> None:
        if not answer.is_success:
            raise ValueError(f"{self._host} answers {answer.status_code} for {self._path}:{what}")

    def _ask(self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes | None = None) -> httpx.Response:
        def once() -> httpx.Response:
            sent = {**(headers or {}), **self._authorization}
            return self._client.request(method, f"{self._base}/{path}", headers=sent, content=content)

        answer = once()
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            challenge = answer.headers.get("WWW-Authenticate", "")
            self._authorization = {"Authorization": asked(self._client, challenge, self._scope, self._login)}
            answer = once()
        return answer


def _login(registry: str) -> str | None:
    """User and password in base64, as a login left them."""
    file = os.environ.get("REGISTRY_AUTH_FILE") or "~/.docker/config.json"
    try:
        known: dict[str, Any] = json.loads(Path(file).expanduser().read_text("utf-8")).get("auths", {})
    except (OSError, ValueError):
        return None
    names = (registry, "https://index.docker.io/v1/") if registry == "docker.io" else (registry,)
    found = next((known[name]["auth"] for name in names if known.get(name, {}).get("auth")), None)
    return found if found and base64.b64decode(found) else None


def digest_of(content: bytes) -> str:
    """The digest of what a registry keeps."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
