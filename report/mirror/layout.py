"""Images in a directory (OCI image layout 1.1, image-layout.md), and their ways from and to registries."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from report.mirror.downloads import save, sha256, write
from report.mirror.registry import Repository, digest_of

_NAME = "org.opencontainers.image.ref.name"
_INDEX = "application/vnd.oci.image.index.v1+json"

Descriptor = dict[str, Any]
"""Media type, digest and size of a part."""


class Layout:
    """A directory of images, whose parts lie there once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = folder / "index.json"

    def names(self) -> dict[str, Descriptor]:
        """The images that are there, whole, by name."""
        if not self._index.is_file():
            return {}
        found = json.loads(self._index.read_text("utf-8"))["manifests"]
        return {each["annotations"][_NAME]: each for each in found}

    def has(self, name: str, digest: str | None) -> bool:
        """Whether an image is there: with that digest where one is given, and all its parts of the right size."""
        found = self.names().get(name)
        if found is None or digest not in (None, found["digest"]):
            return False
        return all(self._size(part["digest"]) == part["size"] for part in self._parts(found))

    def pull(self, source: Repository, name: str, reference: str, digest: str | None) -> str:
        """Fetch an image with all its architectures; its digest. ValueError where the registry has another one, or none."""
        media_type, content = source.manifest(digest or reference)
        found = digest_of(content)
        if digest and found != digest:
            raise ValueError(f"its registry has {found} where {digest} is expected")
        for part in self._below(media_type, content):
            self._pull_part(source, part)
        self._put(found, content)
        # Last: a name is there when all of it is.
        self._name(name, {"mediaType": media_type, "digest": found, "size": len(content)})
        return found

    def _pull_part(self, source: Repository, part: Descriptor) -> None:
        digest = part["digest"]
        if self._size(digest) == part["size"]:
            return
        if "manifest" in part["mediaType"] or "index" in part["mediaType"]:
            media_type, content = source.manifest(digest)
            if digest_of(content) != digest:
                raise ValueError(f"its registry has {digest_of(content)} where {digest} is expected")
            for inner in self._below(media_type, content):
                self._pull_part(source, inner)
            self._put(digest, content)
        else:
            save(self._blob(digest), lambda first: source.blob(digest, first), digest.removeprefix("sha256:"))

    def push(self, name: str, target: Repository, tag: str) -> None:
        """Put an image into a registry: its parts, then what names them."""
        whole = self.names()[name]
        self._push_parts(whole, target)
        target.put_manifest(tag, whole["mediaType"], self._blob(whole["digest"]).read_bytes())

    def _push_parts(self, of: Descriptor, target: Repository) -> None:
        for part in self._below(of["mediaType"], self._blob(of["digest"]).read_bytes()):
            digest, path = part["digest"], self._blob(part["digest"])
            if "manifest" in part["mediaType"] or "index" in part["mediaType"]:
                if not target.has("manifests", digest):
                    self._push_parts(part, target)
                    target.put_manifest(digest, part["mediaType"], path.read_bytes())
            elif not target.has("blobs", digest):
                if sha256(path) != digest.removeprefix("sha256:"):
                    path.unlink()
                    raise ValueError(f"{path} is damaged and is thrown away; fetch again")
                with path.open("rb") as content:
                    target.put_blob(digest, content, part["size"])

    def _parts(self, of: Descriptor) -> Iterator[Descriptor]:
        """A part and all below it, as far as it is there."""
        yield of
        path = self._blob(of["digest"])
        if path.is_file() and ("manifest" in of["mediaType"] or "index" in of["mediaType"]):
            for part in self._below(of["mediaType"], path.read_bytes()):
                yield from self._parts(part)

    @staticmethod
    def _below(media_type: str, content: bytes) -> list[Descriptor]:
        """What an index or a manifest consists of."""
        document: Mapping[str, Any] = json.loads(content)
        if "manifests" in document:
            return [*document["manifests"]]
        if "layers" not in document:
            raise ValueError(f"its registry sends {media_type or 'something'}, which is no image")
        return [document["config"], *document["layers"]]

    def _blob(self, digest: str) -> Path:
        # What a registry says becomes a path.
        if not re.fullmatch("sha256:[0-9a-f]{64}", digest):
            raise ValueError(f"its registry names a part {digest!r}, which is no SHA-256")
        return self._folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def _size(self, digest: str) -> int | None:
        path = self._blob(digest)
        return path.stat().st_size if path.is_file() else None

    def _put(self, digest: str, content: bytes) -> None:
        write(self._blob(digest), content)

    def _name(self, name: str, descriptor: Descriptor) -> None:
        named = self.names() | {name: {**descriptor, "annotations": {_NAME: name}}}
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [named[key] for key in sorted(named)]}
        write(self._folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        write(self._index, json.dumps(index, indent=1).encode())
