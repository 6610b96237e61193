"""Whether a route ever led to nobody: every state that the API server had meanwhile is looked at, in its own order.

Proxies send each version its share whether or not the others could answer, so every version with a share needs a ready server at
every moment. An API server gives all objects numbers from one sequence; sorted by them, what several watches saw is what was.
"""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.control_plane.api import Api

_NOT_YET = (httpx.codes.NOT_FOUND, httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
"""The kind is not defined yet, or the server is still making room for its objects. What happens meanwhile is seen afterwards."""

Object = Mapping[str, Any]
Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True)
class Gap:
    """From a version of the cluster's state on, a share of the requests had nowhere to go."""

    version: int
    problem: str


@dataclass
class _Seen:
    """What happened to one collection: version, whether the object is there since, the object."""

    version: str | None = None
    events: list[tuple[int, bool, Object]] = field(default_factory=list)


@contextmanager
def watching(api: Api, namespace: str, route: str) -> Iterator[list[Gap]]:
    """Gaps of an HTTPRoute or VirtualService while the block ran; whole after it. It may come meanwhile, but not go."""
    paths = {
        "HTTPRoute": f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes",
        "VirtualService": f"/apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices",
        "Service": "/api/v1/services",
        "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
    }
    client = api._client  # a watch is no call of Api's
    seen = {kind: _Seen() for kind in paths}
    done = threading.Event()
    for kind, path in paths.items():
        _list(client, path, seen[kind])
    start = max(int(each.version) for each in seen.values() if each.version)

    def follow(kind: str) -> None:
        last = False
        while not last:
            last = done.is_set()  # what happened before is in the answer that comes after
            if seen[kind].version is None:
                _list(client, paths[kind], seen[kind])
                time.sleep(0.05)
            else:
                _watch(client, paths[kind], seen[kind])

    gaps: list[Gap] = []
    with ThreadPoolExecutor() as pool:
        following = [pool.submit(follow, kind) for kind in paths]
        try:
            yield gaps
        finally:
            done.set()
        for each in following:
            each.result()
    gaps += found(start, {kind: each.events for kind, each in seen.items()}, namespace, route)


def _list(client: httpx.Client, path: str, seen: _Seen) -> None:
    response = client.get(path)
    if response.status_code in _NOT_YET:
        return
    response.raise_for_status()
    content = response.json()
    seen.events += [(int(item["metadata"]["resourceVersion"]), True, item) for item in content["items"]]
    seen.version = content["metadata"]["resourceVersion"]


def _watch(client: httpx.Client, path: str, seen: _Seen) -> None:
    query = {"watch": "true", "resourceVersion": str(seen.version), "timeoutSeconds": "1"}
    response = client.get(path, params=query, timeout=30)
    if response.status_code in _NOT_YET:
        time.sleep(0.05)
        return
    response.raise_for_status()
    for line in response.text.splitlines():
        event = json.loads(line)
        assert event["type"] != "ERROR", event
        seen.version = event["object"]["metadata"]["resourceVersion"]
        seen.events.append((int(seen.version or 0), event["type"] != "DELETED", event["object"]))


def found(start: int, events: Mapping[str, Iterable[tuple[int, bool, Object]]], namespace: str, route: str) -> Iterator[Gap]:
    """The gaps since `start`, from what happened by kind: version, whether the object is there since, the object."""
    state: dict[str, dict[Name, Object]] = {kind: {} for kind in events}
    before: set[str] = set()
    existed = False
    whole = sorted(((version, kind, there, obj) for kind, each in events.items() for version, there, obj in each), key=_order)
    for number, (version, kind, there, obj) in enumerate(whole):
        name = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        state[kind].pop(name, None)
        if there:
            state[kind][name] = obj
        if number + 1 < len(whole) and (whole[number + 1][0] <= start or whole[number + 1][0] == version):
            continue
        routes = [state.get(kind, {}).get((namespace, route)) for kind in ("HTTPRoute", "VirtualService")]
        now = {problem for each in routes if each for problem in problems(each, state["Service"], state["EndpointSlice"])}
        if existed and not any(routes):
            now = {f"{route} is gone"}
        existed = existed or any(routes)
        yield from (Gap(max(version, start), problem) for problem in sorted(now - before))
        before = now


def _order(event: tuple[int, str, bool, Object]) -> int:
    return event[0]


def problems(
    route: Object, services: Mapping[tuple[str, str], Object], slices: Mapping[tuple[str, str], Object]
) -> Iterator[str]:
    """What of a route leads nowhere, with the Services and EndpointSlices there are."""
    namespace = route["metadata"]["namespace"]
    rules = _http_rules(route) if route["kind"] == "HTTPRoute" else _istio_rules(route)
    for number, backends in enumerate(rules):
        if not any(weight for *_, weight in backends):
            yield f"rule {number} leads to nobody"
        for kind, name, port, weight in backends:
            host, _, rest = name.partition(".")
            where = (rest.partition(".")[0] or namespace, host)
            if weight and kind != "Service":
                yield f"rule {number}: whether a {kind} has ready servers is not looked at"
            elif weight and not _ready(services.get(where), where, port, slices.values()):
                yield f"rule {number}: {'/'.join(where)} has {weight} and no ready server"


Backend = tuple[str, str, int, int]
"""Kind, name with what follows it, port, weight."""


def _http_rules(route: Object) -> Iterator[list[Backend]]:
    for rule in route["spec"].get("rules", []):
        if any(each["type"] == "RequestRedirect" for each in rule.get("filters", [])):
            continue
        yield [
            (each.get("kind", "Service"), _with_namespace(each), each.get("port", 0), each.get("weight", 1))
            for each in rule.get("backendRefs", [])
        ]


def _with_namespace(ref: Object) -> str:
    return f"{ref['name']}.{ref['namespace']}" if "namespace" in ref else str(ref["name"])


def _istio_rules(route: Object) -> Iterator[list[Backend]]:
    for rule in route["spec"].get("http", []):
        if "redirect" in rule or "directResponse" in rule:
            continue
        shares = rule.get("route", [])
        yield [
            (
                "Service",
                each["destination"]["host"],
                each["destination"].get("port", {}).get("number", 0),
                100 if len(shares) == 1 else each.get("weight", 0),  # alone it has all
            )
            for each in shares
        ]


def _ready(service: Object | None, name: Name, port: int, slices: Iterable[Object]) -> bool:
    ports = service["spec"].get("ports", []) if service else []
    names = {each.get("name", "") for each in ports if port in (0, each["port"])}
    return any(
        names & {each.get("name", "") for each in found.get("ports") or []}
        and any(each["addresses"] and each.get("conditions", {}).get("ready") is not False for each in found["endpoints"] or [])
        for found in slices
        if (found["metadata"]["namespace"], (found["metadata"].get("labels") or {}).get("kubernetes.io/service-name")) == name
    )
