"""What watches routes in stories finds every moment in which a version had a share and no server, and no other."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.rehearsal.route_watch import Gap, found

Manifest = dict[str, Any]


def _versioned(version: int, kind: str, name: str, **rest: Any) -> tuple[int, bool, Manifest]:
    return version, True, {"kind": kind, "metadata": {"namespace": "models", "name": name}, **rest}


def _http(version: int, **weights: int) -> tuple[int, bool, Manifest]:
    refs = [{"name": name, "port": 8000, "weight": weight} for name, weight in weights.items()]
    return _versioned(version, "HTTPRoute", "chat", spec={"rules": [{"backendRefs": refs}]})


def _istio(version: int, **weights: int) -> tuple[int, bool, Manifest]:
    hosts = {name: f"{name}.models.svc.cluster.local" for name in weights}
    shares = [
        {"destination": {"host": hosts[name], "port": {"number": 8000}}, "weight": weight} for name, weight in weights.items()
    ]
    return _versioned(version, "VirtualService", "chat", spec={"http": [{"route": shares}]})


def _server(version: int, name: str, *, ready: bool) -> tuple[int, bool, Manifest]:
    found = _versioned(version, "EndpointSlice", f"{name}-abc", ports=[{"name": "http"}])
    found[2]["metadata"]["labels"] = {"kubernetes.io/service-name": name}
    found[2]["endpoints"] = [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]
    return found


@pytest.mark.parametrize("route", [_http, _istio])
def test_every_moment_without_a_server_is_a_gap_and_no_other(route: Callable[..., tuple[int, bool, Manifest]]) -> None:
    ports = {"ports": [{"name": "http", "port": 8000}]}
    services = [_versioned(number, "Service", name, spec=ports) for number, name in enumerate(("v1", "v2"), 1)]
    kind = "HTTPRoute" if route is _http else "VirtualService"
    calm: dict[str, list[tuple[int, bool, Manifest]]] = {
        "Service": services,
        # v2 is ready before it gets a share, and goes after it has none any more.
        "EndpointSlice": [_server(3, "v1", ready=True), _server(12, "v2", ready=True), _server(30, "v2", ready=False)],
        kind: [route(10, v1=100, v2=0), route(20, v1=50, v2=50), route(25, v1=100, v2=0)],
    }
    assert list(found(11, calm, "models", "chat")) == []
    late = {**calm, "EndpointSlice": [_server(3, "v1", ready=True), _server(21, "v2", ready=True)]}
    assert list(found(11, late, "models", "chat")) == [Gap(20, "rule 0: models/v2 has 50 and no ready server")]
    early = {**calm, "EndpointSlice": [*calm["EndpointSlice"][:2], _server(24, "v2", ready=False)]}
    assert [gap.version for gap in found(11, early, "models", "chat")] == [24]
    gone = {**calm, kind: [*calm[kind], (26, False, calm[kind][-1][2])]}
    assert list(found(11, gone, "models", "chat")) == [Gap(26, "chat is gone")]
    unknown = {**calm, "Service": services[:1]}
    assert list(found(11, unknown, "models", "chat")) == [Gap(20, "rule 0: models/v2 has 50 and no ready server")]
