"""What Envoy Gateway makes of objects: the configuration of its proxies, and what it says about each object.

Its own command `egctl experimental translate` does it (envoyproxy/gateway, internal/cmd/egctl/translate.go), with the code that
the controller runs in a cluster. It knows no EndpointSlice, so the address of a Service stands for its pods; and no labels of
namespaces, so what selects them by their names is written otherwise.
"""

import copy
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

Object = Mapping[str, Any]
_TROUBLE: Final = {"Conflicted", "OverlappingTLSConfig", "PartiallyInvalid", "Warning"}
"""Conditions that tell of trouble where they are true. All others are promises, but for *Overridden*: a policy of a route takes
the place of its gateway's."""


@dataclass(frozen=True)
class Translation:
    """What the proxies of one Gateway are told."""

    bootstrap: dict[str, Any]
    listeners: list[dict[str, Any]]
    routes: list[dict[str, Any]]
    clusters: list[dict[str, Any]]
    endpoints: list[dict[str, Any]]
    refusals: list[str]
    """Conditions of the objects that are not as they ought to be: where, which, and why."""


def translate(egctl: Path, objects: Sequence[Object], folder: Path) -> Translation:
    """The objects of one Gateway as Envoy's configuration; AssertionError with what egctl says where it refuses all of them."""
    file = folder / "objects.yaml"
    namespaces = {each["metadata"]["namespace"] for each in objects if each["kind"] == "HTTPRoute"}
    file.write_text(yaml.safe_dump_all(_without_labels(each, namespaces) for each in objects))
    command = [str(egctl), "experimental", "translate", "--to", "gateway-api,xds", "--output", "json", "--file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    [dump] = answer.pop("xds").values()
    parts = {config["@type"].rpartition(".")[2]: config for config in dump["configs"]}
    return Translation(
        bootstrap=parts["BootstrapConfigDump"]["bootstrap"],
        listeners=[each["activeState"]["listener"] for each in parts["ListenersConfigDump"]["dynamicListeners"]],
        routes=[each["routeConfig"] for each in parts["RoutesConfigDump"]["dynamicRouteConfigs"]],
        clusters=[each["cluster"] for each in parts["ClustersConfigDump"]["dynamicActiveClusters"]],
        endpoints=[each["endpointConfig"] for each in parts["EndpointsConfigDump"]["dynamicEndpointConfigs"]],
        refusals=list(_refusals(answer)),
    )


def _without_labels(each: Object, namespaces: Set[str]) -> Object:
    """A Gateway that takes routes from namespaces by their names, as it is for `namespaces`, where the routes are."""
    if each["kind"] != "Gateway":
        return each
    gateway = copy.deepcopy(dict(each))
    own = {each["metadata"]["namespace"]}
    for listener in gateway["spec"]["listeners"]:
        if listener["allowedRoutes"]["namespaces"]["from"] == "Selector":
            [named] = listener["allowedRoutes"]["namespaces"]["selector"]["matchExpressions"]
            assert (named["key"], named["operator"]) == ("kubernetes.io/metadata.name", "In")
            assert namespaces - own <= set(named["values"]), "a route is where the gateway takes none from"
            listener["allowedRoutes"]["namespaces"] = {"from": "All"}
    return gateway


def _refusals(answer: Mapping[str, Any]) -> Iterator[str]:
    for kind in answer.values():
        for each in kind if isinstance(kind, list) else [kind]:
            for condition in _conditions(each.get("status", {})):
                bad = "True" if condition["type"] in _TROUBLE else "False"
                if condition["status"] == bad:
                    where = f"{each['kind']}/{each['metadata']['name']}"
                    yield f"{where}: {condition['type']} is {bad}: {condition.get('message')}"


def _conditions(status: Any) -> Iterator[Mapping[str, Any]]:
    """Wherever they are within a status."""
    if isinstance(status, Mapping):
        yield from status.get("conditions", [])
        for each in status.values():
            yield from _conditions(each)
    elif isinstance(status, list):
        for each in status:
            yield from _conditions(each)
