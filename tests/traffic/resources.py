"""What Envoy Gateway makes, as files that an Envoy on loopback reads: with other addresses, ports and certificates to believe."""

import base64
import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.traffic.translation import Object, Translation

Address = tuple[str, int]
Resource = dict[str, Any]
LOOPBACK: Final = "127.0.0.1"
_FETCHED: Final = (("routeConfigName", "configSource"), ("serviceName", "edsConfig"), ("name", "sdsConfig"))
"""Where something is fetched by its name: the field of the name, and that of the source."""
_TYPES: Final = "type.googleapis.com/envoy"


@dataclass(frozen=True)
class Places:
    """Where on loopback things are."""

    replicas: Mapping[str, Sequence[Address]]
    """Behind each Service, by its clusterIP."""
    outside: Mapping[str, Address]
    """What is outside the cluster, by host name."""
    authority: str
    """Who is believed to speak for hosts outside: a certificate (PEM)."""


def files(made: Translation, objects: Sequence[Object], places: Places) -> dict[str, list[Resource]]:
    """Resources by the name of their file: what is referred to comes before what refers to it."""
    pairs = [each for each in objects if each["kind"] == "Secret" and each.get("type") == "kubernetes.io/tls"]
    return {
        **{file_of(each["name"]): [each] for each in map(_certificate, pairs)},
        **{file_of(each["clusterName"]): [_with_replicas(each, places)] for each in made.endpoints},
        "clusters.json": [_outside(each, places) for each in made.clusters],
        **{file_of(each["name"]): [each] for each in made.routes},
        "listeners.json": [_on_loopback(each) for each in made.listeners if not is_own(each)],
    }


def write(folder: Path, name: str, resources: Sequence[Resource], version: int) -> None:
    """One file, in one step, for Envoy looks at it when it is moved there."""
    answer = {"versionInfo": str(version), "resources": [_from_files(each, folder) for each in resources]}
    (new := folder / f"{name}.new").write_text(json.dumps(answer))
    new.replace(folder / name)


def bootstrap(made: Translation, folder: Path) -> Resource:
    """What Envoy starts with: as Envoy Gateway says, but for where configuration comes from, and where others ask Envoy."""
    kept = {name: made.bootstrap[name] for name in ("layeredRuntime", "overloadManager", "deferredStatOptions")}
    return {
        **kept,
        "node": {"id": "stand-in", "cluster": "stand-in"},
        "admin": {"address": _loopback(0)},
        "dynamicResources": {"cdsConfig": _source(folder, "clusters.json"), "ldsConfig": _source(folder, "listeners.json")},
    }


def file_of(name: str) -> str:
    """The file of a resource that is fetched by its name."""
    return re.sub(r"[^\w.-]", "_", name) + ".json"


def is_own(listener: Resource) -> bool:
    """Whether a listener is for Envoy Gateway itself: readiness and metrics of the proxy, on ports of its pod."""
    return str(listener["name"]).startswith("envoy-gateway-proxy-")


def port_of(listener: Resource) -> int:
    """The port a listener has in its pod."""
    return int(listener["address"]["socketAddress"]["portValue"])


def _on_loopback(listener: Resource) -> Resource:
    """On any free port, which Envoy tells then."""
    return {**listener, "address": _loopback(0)}


def _with_replicas(endpoints: Resource, places: Places) -> Resource:
    return {
        **endpoints,
        "endpoints": [
            {**locality, "lbEndpoints": [new for old in locality["lbEndpoints"] for new in _replicas(old, places)]}
            for locality in endpoints.get("endpoints", [])
        ],
    }


def _replicas(endpoint: Resource, places: Places) -> list[Resource]:
    service = endpoint["endpoint"]["address"]["socketAddress"]["address"]
    return [{**endpoint, "endpoint": {"address": _loopback(port)}} for _, port in places.replicas[service]]


def _outside(cluster: Resource, places: Places) -> Resource:
    """With what is outside the cluster, such as the keys of tokens, on loopback."""
    if "loadAssignment" not in cluster:
        return cluster
    cluster = copy.deepcopy(cluster)
    for locality in cluster["loadAssignment"]["endpoints"]:
        for each in locality["lbEndpoints"]:
            _, port = places.outside[each["endpoint"]["address"]["socketAddress"]["address"]]
            each["endpoint"]["address"] = _loopback(port)
    believed = cluster["transportSocket"]["typedConfig"]["commonTlsContext"]["validationContext"]
    believed["trustedCa"] = {"inlineString": places.authority}
    return cluster


def _certificate(secret: Object) -> Resource:
    """As the controller gives certificates to its proxies: by namespace and name."""
    metadata, data = secret["metadata"], secret["data"]
    pair = {
        field: {"inlineString": base64.b64decode(data[key]).decode()}
        for field, key in (("certificateChain", "tls.crt"), ("privateKey", "tls.key"))
    }
    kind = f"{_TYPES}.extensions.transport_sockets.tls.v3.Secret"
    return {"@type": kind, "name": f"{metadata['namespace']}/{metadata['name']}", "tlsCertificate": pair}


def _from_files(node: Any, folder: Path) -> Any:
    """With files wherever the controller is asked."""
    if isinstance(node, list):
        return [_from_files(each, folder) for each in node]
    if not isinstance(node, dict):
        return node
    sources = {source: _source(folder, file_of(node[name])) for name, source in _FETCHED if name in node and source in node}
    return {key: sources.get(key) or _from_files(value, folder) for key, value in node.items()}


def _source(folder: Path, name: str) -> Resource:
    return {"resourceApiVersion": "V3", "pathConfigSource": {"path": str(folder / name)}}


def _loopback(port: int) -> Resource:
    return {"socketAddress": {"address": LOOPBACK, "portValue": port}}
