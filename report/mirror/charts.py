"""Charts: from repositories and registries into a directory that is a chart repository itself, and from there into a registry.

Formats: Helm's index.yaml (helm.sh, "The Chart Repository Guide") and its charts in registries (helm.sh, "Use OCI-based
registries"; helm/community hips/hip-0006.md).
"""

import io
import json
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import yaml

from report.mirror.downloads import from_web, save, sha256, write
from report.mirror.needs import Chart
from report.mirror.registry import Repository, digest_of

_CONFIG = "application/vnd.cncf.helm.config.v1+json"
_CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Charts:
    """A directory of charts with its index.yaml."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = folder / "index.yaml"
        self._seen: dict[str, Any] = {}

    def has(self, chart: Chart) -> bool:
        """Whether a chart is there as it was fetched."""
        entry = self._entry(self._read(), chart)
        path = self._path(chart)
        return entry is not None and path.is_file() and sha256(path) == entry["digest"]

    def fetch(self, client: httpx.Client, chart: Chart) -> None:
        """Fetch a chart. ValueError where there is none of that version, or it is not what its repository says."""
        if chart.repository.startswith("oci://"):
            self._from_registry(client, chart)
        else:
            self._from_repository(client, chart)
        about = _about(self._path(chart))
        index = self._read()
        others = [each for each in index["entries"].get(chart.name, []) if each["version"] != about["version"]]
        mine = {**about, "digest": sha256(self._path(chart)), "urls": [self._path(chart).name]}
        index["entries"][chart.name] = sorted([*others, mine], key=lambda each: str(each["version"]))
        write(self._index, yaml.safe_dump(index, sort_keys=True).encode())

    def push(self, chart: Chart, target: Repository) -> None:
        """Put a chart into a registry, as Helm does."""
        path = self._path(chart)
        about = json.dumps(_about(path), sort_keys=True, default=str).encode()
        if not target.has("blobs", digest_of(about)):
            target.put_blob(digest_of(about), io.BytesIO(about), len(about))
        digest, size = f"sha256:{sha256(path)}", path.stat().st_size
        if not target.has("blobs", digest):
            with path.open("rb") as file:
                target.put_blob(digest, file, size)
        config = {"mediaType": _CONFIG, "digest": digest_of(about), "size": len(about)}
        content = {"mediaType": _CONTENT, "digest": digest, "size": size}
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": [content]}
        target.put_manifest(_tag(chart.version), _MANIFEST, json.dumps(manifest).encode())

    def _from_registry(self, client: httpx.Client, chart: Chart) -> None:
        source = Repository(client, f"{chart.repository.removeprefix('oci://')}/{chart.name}")
        _, content = source.manifest(_tag(chart.version))
        layers = [each for each in json.loads(content).get("layers", []) if each["mediaType"] == _CONTENT]
        if not layers:
            raise ValueError(f"{source.name}:{chart.version} is no chart")
        digest = layers[0]["digest"]
        save(self._path(chart), lambda first: source.blob(digest, first), digest.removeprefix("sha256:"))

    def _from_repository(self, client: httpx.Client, chart: Chart) -> None:
        base = chart.repository.rstrip("/") + "/"
        if base not in self._seen:
            answer = client.get(urljoin(base, "index.yaml"))
            if not answer.is_success:
                raise ValueError(f"{base}index.yaml answers {answer.status_code}")
            self._seen[base] = yaml.load(answer.content, Loader=_LOADER)  # noqa: S506 - safe, and fast where there is libyaml
        entry = self._entry(self._seen[base], chart)
        if entry is None or not entry.get("urls"):
            raise ValueError(f"{base} has no {chart.name} {chart.version}")
        save(self._path(chart), from_web(client, urljoin(base, entry["urls"][0])), entry.get("digest"))

    @staticmethod
    def _entry(index: Any, chart: Chart) -> Any:
        # Helm takes a version with and without its v for the same.
        wanted = chart.version.removeprefix("v")
        found = (index.get("entries") or {}).get(chart.name) or []
        return next((each for each in found if str(each["version"]).removeprefix("v") == wanted), None)

    def _read(self) -> dict[str, Any]:
        if not self._index.is_file():
            return {"apiVersion": "v1", "entries": {}}
        found: dict[str, Any] = yaml.safe_load(self._index.read_text("utf-8"))
        return found

    def _path(self, chart: Chart) -> Path:
        return self._folder / f"{chart.name}-{chart.version}.tgz"


def _about(path: Path) -> dict[str, Any]:
    """Chart.yaml of a chart."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.count("/") == 1 and member.name.endswith("/Chart.yaml") and (file := archive.extractfile(member)):
                about: dict[str, Any] = yaml.safe_load(file.read())
                return about
    raise ValueError(f"{path.name} has no Chart.yaml, so it is no chart")


def _tag(version: str) -> str:
    # A tag cannot have the + of semantic versions (helm.sh, "Use OCI-based registries").
    return version.replace("+", "_")
