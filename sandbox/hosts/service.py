"""The lab's own interface on loopback: JSON over HTTP, for `Lab` alone."""

import json
import logging
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sandbox.control_plane import ControlPlane
from sandbox.control_plane.ports import LOOPBACK
from sandbox.errors import SandboxError
from sandbox.hosts.faults import Fault, Trouble
from sandbox.hosts.host import Host
from sandbox.hosts.rack import Rack
from sandbox.hosts.spec import HostSpec

_log = logging.getLogger("hosts")
_SPECS = TypeAdapter(dict[str, HostSpec])


def serve(home: Path, port: int, key: str, cluster: Path) -> None:
    """Until SIGTERM. `cluster` is the directory of the control plane: its name is the last part."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    login_key = (home / "login_key.pub").read_text(encoding="utf-8")
    rack = Rack(home, login_key, ControlPlane(cluster.name, cluster.parent))

    class Handler(_Handler):
        lab = _Interface(rack)
        secret = key

    server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    server.daemon_threads = True
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    ended.wait()
    rack.stop()


class _Interface:
    """What can be asked of a lab."""

    def __init__(self, rack: Rack) -> None:
        self._rack = rack

    def answer(self, method: str, route: str, body: Any) -> Any:
        """The answer to one request. SandboxError with what the user should know."""
        match method, route.strip("/").split("/"):
            case "GET", ["hosts"]:
                network = self._rack.network
                return {
                    "namespaces": network.namespaces,
                    "hosts": [self._rack.describe(host) for host in self._rack.hosts.values()],
                }
            case "PUT", ["hosts"]:
                self._rack.start(_SPECS.validate_python(body["hosts"]), bool(body["bastion"]))
            case "GET", ["calls"]:
                return self._rack.switchboard.calls()
            case "GET", ["leaks"]:
                return [leak for host in self._rack.hosts.values() for leak in host.leaks()]
            case "POST", ["hosts", name, "faults"]:
                self._rack.trouble(self._host(name), Trouble.model_validate(body))
            case "DELETE", ["hosts", name, "faults"]:
                self._rack.mend(self._host(name), [Fault(fault) for fault in body] if body else None)
            case "POST", ["hosts", name, "wipe"]:
                self._rack.wipe(self._host(name))
            case "POST", ["hosts", name, "reboot"]:
                self._rack.reboot(self._host(name))
            case _:
                raise SandboxError(f"the rehearsed hosts know no {method} {route}")
        return None

    def _host(self, name: str) -> Host:
        if name not in self._rack.hosts:
            raise SandboxError(f"there is no rehearsed host {name!r}; use one of {', '.join(self._rack.hosts)}")
        return self._rack.hosts[name]


class _Handler(BaseHTTPRequestHandler):
    lab: _Interface
    secret: str

    def do_GET(self) -> None:
        self._reply("GET")

    def do_PUT(self) -> None:
        self._reply("PUT")

    def do_POST(self) -> None:
        self._reply("POST")

    def do_DELETE(self) -> None:
        self._reply("DELETE")

    def _reply(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.headers.get("Authorization") != self.secret:
                raise SandboxError("who asks is not known here")
            status, answer = 200, self.lab.answer(method, self.path, json.loads(body) if body else None)
        except SandboxError as error:
            status, answer = 409, {"message": str(error)}
        except Exception as error:
            _log.exception("%s %s", method, self.path)
            status, answer = 500, {"message": f"the rehearsal of hosts failed: {error}"}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
        """Calls of stand-ins are written down; these are not."""
