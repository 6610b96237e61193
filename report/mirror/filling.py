"""Filling a directory with what a stack needs, and a registry with what is in the directory."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from report.mirror.charts import Charts
from report.mirror.downloads import checksum_in, from_web, save, sha256
from report.mirror.layout import Layout
from report.mirror.models import Models
from report.mirror.needs import Chart, File, Image, Model, Needs
from report.mirror.registry import Repository

_TIMEOUT = httpx.Timeout(60, connect=20)


@dataclass(frozen=True)
class Outcome:
    """What became of one thing."""

    kind: str
    name: str
    fault: str | None = None
    """Why it is not there; None where it is."""
    new: bool = False
    """Whether it was fetched or put there now."""


class Directory:
    """`images/` an OCI layout, `charts/` a chart repository, `models/`, `k3s/`, `tools/`, `python/` for a web server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.images = Layout(folder / "images")
        self.charts = Charts(folder / "charts")
        self.models = Models(folder / "models")

    def fetch(self, needs: Needs, requirements: Path) -> Iterator[Outcome]:
        """Fetch all of it that is not there; what fails is told and holds up nothing else."""
        headers = {"Accept-Encoding": "identity"}  # files as they are, so that their checksums fit
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, headers=headers) as client:
            for image in needs.images:
                there = self.images.has(image.name, image.digest)
                yield _tried("image", image.name, there, partial(self._image, client, image))
            for chart in needs.charts:
                name, there = f"{chart.name} {chart.version}", self.charts.has(chart)
                yield _tried("chart", name, there, partial(self.charts.fetch, client, chart))
            for file in needs.files:
                yield _tried("file", file.path, self._has(file), partial(self._file, client, file))
        for model in needs.models:
            name, there = _called(model), self.models.has(model)
            yield _tried("model", name, there, partial(self.models.fetch, model))
        yield _tried("python", f"{len(needs.python)} packages", False, partial(self._python, requirements))

    def push(self, needs: Needs, registry: str, charts: str) -> Iterator[Outcome]:
        """Put images and, where they go to a registry, charts there."""
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=True) as client:
            for image in needs.images:
                yield _tried("image", image.name, False, partial(self._push, client, image, registry))
            for chart in needs.charts if charts.startswith("oci://") else ():
                name = f"{chart.name} {chart.version}"
                yield _tried("chart", name, False, partial(self._push_chart, client, chart, charts.removeprefix("oci://")))

    def _image(self, client: httpx.Client, image: Image) -> None:
        name, tag = _parts(image.name)
        self.images.pull(Repository(client, name), image.name, tag, image.digest)

    def _push(self, client: httpx.Client, image: Image, registry: str) -> None:
        if not self.images.has(image.name, image.digest):
            raise ValueError("it is not in the directory; fetch it first")
        name, tag = _parts(image.name)
        self.images.push(image.name, Repository(client, f"{registry}/{name}", push=True), tag or str(image.digest))

    def _push_chart(self, client: httpx.Client, chart: Chart, place: str) -> None:
        if not self.charts.has(chart):
            raise ValueError("it is not in the directory; fetch it first")
        self.charts.push(chart, Repository(client, f"{place}/{chart.name}", push=True))

    def _has(self, file: File) -> bool:
        path = self._folder / file.path
        # It was held to its maker's list when it came; one whose sum is known here is read again.
        return path.is_file() and file.sha256 in (None, sha256(path))

    def _file(self, client: httpx.Client, file: File) -> None:
        expected = file.sha256
        if file.sums:
            answer = client.get(file.sums)
            if not answer.is_success:
                raise ValueError(f"{answer.url.host} answers {answer.status_code} for its list of checksums")
            expected = checksum_in(answer.text, file.url.rpartition("/")[2])
        save(self._folder / file.path, from_web(client, file.url), expected)

    def _python(self, requirements: Path) -> None:
        """By pip, which takes nothing whose hash is not in the file, and fetches nothing twice."""
        target = self._folder / "python"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--requirement", str(requirements)]
        with TemporaryDirectory() as empty:
            done = subprocess.run(
                [*command, "--dest", str(target)],
                cwd=empty,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        if done.returncode:
            reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            raise ValueError(f"pip says: {reasons[-1] if reasons else 'nothing'}")


def _parts(image: str) -> tuple[str, str]:
    """Repository and tag of an image, or its digest where it has no tag."""
    found = re.fullmatch(r"(.+?)(?::([^/:]+))?", image)
    return (found[1], found[2]) if found and found[2] else (image, "")


def _called(model: Model) -> str:
    return f"{model.source} at {model.revision[:12]}"


def _tried(kind: str, name: str, there: bool, get: Callable[[], object]) -> Outcome:
    if there:
        return Outcome(kind, name)
    try:
        get()
    except (ValueError, KeyError) as error:
        return Outcome(kind, name, str(error))
    except (httpx.HTTPError, OSError) as error:
        return Outcome(kind, name, f"{error or type(error).__name__}; run it again where it can be reached")
    return Outcome(kind, name, new=True)
