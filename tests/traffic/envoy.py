"""A real Envoy on loopback with what Envoy Gateway makes for it. It takes changes up while it runs."""

import json
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sandbox.plain_http import request
from tests.traffic import resources
from tests.traffic.resources import LOOPBACK, Address, Places
from tests.traffic.translation import Object, translate
from tests.waiting import eventually

ENVOY: Final = Path(sysconfig.get_path("scripts")) / "envoy"


@dataclass
class Proxy:
    """An Envoy; it starts with the first objects."""

    egctl: Path
    folder: Path
    version: int = 0
    """How often it was told something."""
    _process: subprocess.Popen[bytes] | None = None
    _listeners: dict[int, str] = field(default_factory=dict)
    """Names by the ports of the pod."""

    def apply(self, objects: Sequence[Object], places: Places) -> None:
        """Tells it what Envoy Gateway makes of the objects, and waits until it obeys; AssertionError where one is refused."""
        made = translate(self.egctl, objects, self.folder)
        assert not made.refusals, made.refusals
        self.version += 1
        self._listeners = {resources.port_of(each): each["name"] for each in made.listeners if not resources.is_own(each)}
        for name, content in resources.files(made, objects, places).items():
            resources.write(self.folder, name, content, self.version)
        if self._process is None:
            (self.folder / "bootstrap.json").write_text(json.dumps(resources.bootstrap(made, self.folder)))
            self._start()
        fetched = {each["clusterName"] for each in made.endpoints} | {each["name"] for each in made.routes}
        eventually(lambda: self._obeys(fetched), within_s=30)

    def address(self, port: int) -> Address:
        """Where it answers for a port of the Gateway."""
        # Ports that only root may listen on are others in the pod (envoyproxy/gateway, internal/gatewayapi/translator.go).
        name = self._listeners[port + 10_000 if port < 1024 else port]
        [found] = [each for each in self._ask("/listeners?format=json")["listener_statuses"] if each["name"] == name]
        return LOOPBACK, found["local_address"]["socket_address"]["port_value"]

    @property
    def log(self) -> str:
        """What it has written, a line for each request with it."""
        return (self.folder / "envoy.log").read_text()

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def _start(self) -> None:
        command = [str(ENVOY), "--config-path", str(self.folder / "bootstrap.json"), "--disable-hot-restart"]
        command += ["--admin-address-path", str(self.folder / "admin"), "--log-level", "warning", "--concurrency", "2"]
        command += ["--file-flush-interval-msec", "100"]
        with (self.folder / "envoy.log").open("ab") as log:  # Envoy opens it once more
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _obeys(self, fetched: set[str]) -> bool:
        """Whether everything it uses is of the last version."""
        said = self.log
        assert self._process, said
        assert self._process.poll() is None, said
        if not (self.folder / "admin").exists() or self._ask("/server_info")["state"] != "LIVE":
            return False
        counted = {each["name"]: each["value"] for each in self._ask("/stats?format=json&filter=update_rejected")["stats"]}
        assert not any(counted.values()), said
        texts = self._ask("/stats?format=json&type=TextReadouts&filter=version_text$")["stats"]
        versions = {each["name"].removesuffix(".version_text"): each["value"] for each in texts}
        of = {name: [value for key, value in versions.items() if key.endswith(f".{name}")] for name in (*fetched, "lds", "cds")}
        return all(values and set(values) == {str(self.version)} for values in of.values())

    def _ask(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = request("GET", f"http://{(self.folder / 'admin').read_text()}{path}").json()
        return answer


@contextmanager
def proxy(egctl: Path, folder: Path) -> Iterator[Proxy]:
    """An Envoy until the end of the block."""
    made = Proxy(egctl, folder)
    try:
        yield made
    finally:
        made.stop()
