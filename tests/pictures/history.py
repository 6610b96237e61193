"""Hours of a stack in a real Prometheus, made in seconds: what simulated pages say, and what the rules make of it."""

import json
import re
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx
import yaml
from prometheus_client.samples import Sample

from components.monitoring.rules import Rule, RuleGroup
from sandbox.toolchain import ensure
from tests.simulators.pages import Page

STEP = 60
_NAMES = re.compile(r"\b[a-z]+:[\w:]+")


@dataclass(frozen=True)
class Scraped:
    """A page, and the labels that Prometheus adds to what it says."""

    page: Page
    labels: Mapping[str, str]
    honor: bool = False
    """Whether what the page says goes before them; otherwise its own labels of these names become `exported_…`."""

    def series(self, sample: Sample) -> str:
        """One sample's series as OpenMetrics writes it."""
        said = {name: value for name, value in sample.labels.items() if value}
        if not self.honor:
            said = {f"exported_{name}" if name in self.labels else name: value for name, value in said.items()}
        labels = {**self.labels, **said}
        return f"{sample.name}{{{','.join(f'{name}={json.dumps(value)}' for name, value in labels.items() if value)}}}"


def write(file: Path, pages: Iterable[Scraped], start: float, end: float) -> None:
    """All that the pages say from `start` to `end`, as OpenMetrics."""
    with file.open("w") as lines:
        for scraped in pages:
            for now in range(0, round(end - start) + 1, STEP):
                scraped.page.advance(now)
                lines.write(f"{scraped.series(Sample('up', {}, 1))} 1 {start + now}\n")
                for metric in scraped.page.collect():
                    for sample in metric.samples:
                        lines.write(f"{scraped.series(sample)} {sample.value} {start + now}\n")
        lines.write("# EOF\n")


def ordered(groups: Iterable[RuleGroup]) -> list[list[Rule]]:
    """Recording rules in layers: those of a layer read what pages say and what the layers before record."""
    left = [rule for group in groups for rule in group.rules if "record" in rule]
    layers = []
    while left:
        waiting = {rule["record"] for rule in left}
        layer = [rule for rule in left if not waiting.intersection(_NAMES.findall(rule["expr"]))]
        assert layer, f"these rules wait for each other: {sorted(waiting)}"
        layers.append(layer)
        left = [rule for rule in left if rule not in layer]
    return layers


@contextmanager
def recorded(directory: Path, pages: Iterable[Scraped], groups: Sequence[RuleGroup], start: float, end: float) -> Iterator[str]:
    """Address of a Prometheus that has what the pages said from `start` to `end`, and what the rules record of it."""
    tools = ensure(["prometheus", "promtool"])
    data = directory / "data"
    write(directory / "pages.txt", pages, start, end)
    make = [str(tools["promtool"]), "tsdb", "create-blocks-from"]
    _run([*make, "openmetrics", "--quiet", str(directory / "pages.txt"), str(data)])
    for index, layer in enumerate(ordered(groups)):
        file = directory / f"rules-{index}.yaml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "layer", "rules": layer}]}))
        with _prometheus(tools["prometheus"], directory) as url:
            times = [f"--start={start:.0f}", f"--end={end:.0f}", f"--eval-interval={STEP}s"]
            _run([*make, "rules", *times, f"--output-dir={data}", f"--url={url}", str(file)])
    with _prometheus(tools["prometheus"], directory) as url:
        yield url


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@contextmanager
def _prometheus(program: Path, directory: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (directory / "prometheus.yaml").write_text("{}\n")
    options = [f"--config.file={directory}/prometheus.yaml", f"--storage.tsdb.path={directory}/data", "--log.level=error"]
    command = [str(program), *options, f"--web.listen-address={address}", "--storage.tsdb.retention.time=100y"]
    with subprocess.Popen(command) as process:
        try:
            until = monotonic() + 60
            while not _ready(address):
                assert process.poll() is None, "Prometheus ended"
                assert monotonic() < until, "Prometheus does not answer"
                sleep(0.1)
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(30)


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
