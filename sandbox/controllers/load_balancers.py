"""What all that make load balancers of Services do with the Services: a finalizer, an address, an event when something is wrong.

Who does not has none: without a controller a Service of type LoadBalancer waits for ever, as in any such cluster.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.conditions import now
from sandbox.controllers.gateway_api import name_of

SERVICES: Final = ("/api/v1/services", "")
NODES: Final = ("/api/v1/nodes", "")


class RefusedError(Exception):
    """A Service asks for what it cannot have: why, and the reason of the event."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


def wants_balancer(service: Object) -> bool:
    """Whether somebody is to make a load balancer, and nobody is to take it away."""
    return service["spec"].get("type") == "LoadBalancer" and "deletionTimestamp" not in service["metadata"]


def region_of(nodes: Sequence[Object]) -> str | None:
    """The region that the nodes are in."""
    found = ((each["metadata"].get("labels") or {}).get("topology.kubernetes.io/region") for each in nodes)
    return next(filter(None, found), None)


class Balancers:
    """Those of one controller, which marks its Services with a finalizer; `cluster` has the collection `services`."""

    def __init__(self, cluster: Cluster, finalizer: str, component: str) -> None:
        self._cluster, self._finalizer, self._component = cluster, finalizer, component
        self._told: dict[str, str] = {}

    def has(self, service: Object) -> bool:
        """Whether this controller made the load balancer of a Service."""
        return self._finalizer in self._finalizers(service)

    async def hold(self, service: Object) -> None:
        """Sees to it that the Service goes only after its load balancer."""
        if not self.has(service):
            await self._finalize(service, [*self._finalizers(service), self._finalizer])

    async def give(self, service: Object, ingress: list[dict[str, Any]]) -> None:
        """Makes the Service have these addresses."""
        await self.hold(service)
        if (service["status"].get("loadBalancer") or {}).get("ingress", []) != ingress:
            await self._tell(service, {"ingress": ingress} if ingress else None)
        self._told.pop(service["metadata"]["uid"], None)

    async def take(self, service: Object) -> None:
        """Takes the addresses away, and lets the Service go."""
        if service["status"].get("loadBalancer"):
            await self._tell(service, None)
        await self._finalize(service, [each for each in self._finalizers(service) if each != self._finalizer])

    async def refuse(self, service: Object, error: RefusedError) -> None:
        """Says once why there is none."""
        (namespace, name), uid = name_of(service), service["metadata"]["uid"]
        if self._told.get(uid) == str(error):
            return
        moment = now()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{name}.", "namespace": namespace},
            "involvedObject": {"apiVersion": "v1", "kind": "Service", "name": name, "namespace": namespace, "uid": uid},
            "type": "Warning",
            "reason": error.reason,
            "message": str(error)[:1024],
            "source": {"component": self._component},
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        await self._cluster.create("", f"/api/v1/namespaces/{namespace}/events", event)
        self._told[uid] = str(error)

    def _current(self, service: Object) -> Object:
        return self._cluster.find("services", *name_of(service)) or service

    def _finalizers(self, service: Object) -> list[str]:
        return self._current(service)["metadata"].get("finalizers") or []

    async def _finalize(self, service: Object, finalizers: Sequence[str]) -> None:
        version = self._current(service)["metadata"]["resourceVersion"]
        change = {"metadata": {"finalizers": list(finalizers), "resourceVersion": version}}
        await self._cluster.merge("services", _path(service), change)

    async def _tell(self, service: Object, status: Mapping[str, Any] | None) -> None:
        # Whoever sets addresses says all of them (RFC 7386 replaces lists as a whole).
        await self._cluster.merge("services", f"{_path(service)}/status", {"status": {"loadBalancer": status}})


def _path(service: Object) -> str:
    namespace, name = name_of(service)
    return f"/api/v1/namespaces/{namespace}/services/{name}"
