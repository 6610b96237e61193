"""ServiceLB of k3s: a pod on every node forwards the ports of a Service, so its addresses are those of the nodes.

It follows k3s-io/k3s pkg/cloudprovider/servicelb.go, and acts where k3s has put the service account of its pods: there is no
release that tells.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, Final

import httpx

from sandbox.control_plane.api import Api
from sandbox.control_plane.contents import OWN_LABEL
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.gateway_api import name_of
from sandbox.controllers.load_balancers import NODES, SERVICES, Balancers, wants_balancer
from sandbox.controllers.load_balancers_cloud import FINALIZER

_GROUP: Final = "svccontroller.k3s.cattle.io"
_NAMESPACE, _ACCOUNT = "kube-system", "svclb"
_IMAGE: Final = "rancher/klipper-lb:v0.4.9"
_LONGEST_NAME: Final = 48
_COLLECTIONS: Final = {
    "services": SERVICES,
    "nodes": NODES,
    "slices": ("/apis/discovery.k8s.io/v1/endpointslices", ""),
    "accounts": (f"/api/v1/namespaces/{_NAMESPACE}/serviceaccounts", ""),
    "sets": (f"/apis/apps/v1/namespaces/{_NAMESPACE}/daemonsets", f"{_GROUP}/svcname"),
    "pods": (f"/api/v1/namespaces/{_NAMESPACE}/pods", f"{_GROUP}/svcname"),
}


def offer(api: Api) -> None:
    """Has a cluster bring ServiceLB, as k3s does unless that is disabled."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": _ACCOUNT, "namespace": _NAMESPACE, "labels": {OWN_LABEL: "true"}},
    }
    api.apply(f"/api/v1/namespaces/{_NAMESPACE}/serviceaccounts/{_ACCOUNT}", account)


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever."""
    cluster = Cluster(client, _COLLECTIONS)
    balancers = Balancers(cluster, FINALIZER, "service-controller")

    async def step() -> None:
        if cluster.find("accounts", _NAMESPACE, _ACCOUNT) is None:
            return
        for service in cluster.all("services"):
            path = f"/apis/apps/v1/namespaces/{_NAMESPACE}/daemonsets/{set_name(service)}"
            if wants_balancer(service) and "loadBalancerClass" not in service["spec"]:
                await balancers.hold(service)
                wanted = daemon_set(service, cluster.all("nodes"))
                found = cluster.find("sets", _NAMESPACE, wanted["metadata"]["name"])
                if found is None or _spec(found) != _spec(wanted):
                    await cluster.apply("sets", path, wanted)
                addresses = reached(service, cluster.all("pods"), cluster.all("nodes"), cluster.all("slices"))
                await balancers.give(service, [{"ip": address, "ipMode": "VIP"} for address in addresses])
            elif balancers.has(service):
                if found := cluster.find("sets", _NAMESPACE, set_name(service)):
                    await cluster.delete(path, found["metadata"]["uid"])
                await balancers.take(service)

    await cluster.run(step)


def set_name(service: Object) -> str:
    """What the pods of a Service are called."""
    return f"svclb-{service['metadata']['name'][:_LONGEST_NAME].rstrip('-')}-{service['metadata']['uid'][:8]}"


def daemon_set(service: Object, nodes: Iterable[Object]) -> dict[str, Any]:
    """The pods of a Service: on all nodes, or on those with a label where any node has it."""
    name, (namespace, of) = set_name(service), name_of(service)
    chosen = any(f"{_GROUP}/enablelb" in (node["metadata"].get("labels") or {}) for node in nodes)
    labels = {f"{_GROUP}/svcname": of, f"{_GROUP}/svcnamespace": namespace}
    selector = {f"{_GROUP}/enablelb": "true"} if chosen else {}
    if chosen and (pool := (service["metadata"].get("labels") or {}).get(f"{_GROUP}/lbpool")):
        selector[f"{_GROUP}/lbpool"] = pool
    pod = {
        "serviceAccountName": _ACCOUNT,
        "automountServiceAccountToken": False,
        "priorityClassName": "system-node-critical",
        **({"nodeSelector": selector} if selector else {}),
        "tolerations": [
            {"key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
        ],
        "containers": [_container(service, port) for port in service["spec"]["ports"]],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": name,
            "namespace": _NAMESPACE,
            "labels": {f"{_GROUP}/nodeselector": str(chosen).lower(), **labels},
        },
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name, **labels}}, "spec": pod},
        },
    }


def _container(service: Object, port: Object) -> dict[str, Any]:
    number, protocol = port["port"], port.get("protocol", "TCP")
    name = f"lb-{protocol.lower()}-{number}"
    ranges = ",".join(sorted(service["spec"].get("loadBalancerSourceRanges") or ["0.0.0.0/0"]))
    variables = {"SRC_PORT": str(number), "SRC_RANGES": ranges, "DEST_PROTO": protocol}
    to: list[dict[str, Any]]
    if _is_local(service):
        to = [
            {"name": "DEST_PORT", "value": str(port.get("nodePort", 0))},
            {"name": "DEST_IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}},
        ]
    else:
        to = [
            {"name": "DEST_PORT", "value": str(number)},
            {"name": "DEST_IPS", "value": ",".join(service["spec"].get("clusterIPs") or [])},
        ]
    return {
        "name": name,
        "image": _IMAGE,
        "imagePullPolicy": "IfNotPresent",
        # Two Services cannot have the same port of a node: the pods of the second one find no place.
        "ports": [{"name": name, "containerPort": number, "hostPort": number, "protocol": protocol}],
        "env": [*({"name": key, "value": value} for key, value in variables.items()), *to],
        "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
    }


def _is_local(service: Object) -> bool:
    return bool(service["spec"].get("externalTrafficPolicy") == "Local")


def reached(service: Object, pods: Iterable[Object], nodes: Iterable[Object], slices: Iterable[Object]) -> list[str]:
    """Addresses of the nodes with a ready pod of the Service; those from outside the cluster where there are any.

    With `externalTrafficPolicy: Local` a server has to be ready there as well.
    """
    namespace, name = name_of(service)
    labels = {f"{_GROUP}/svcname": name, f"{_GROUP}/svcnamespace": namespace}
    served = {
        pod["spec"].get("nodeName") for pod in pods if labels.items() <= pod["metadata"]["labels"].items() and _is_ready(pod)
    }
    if _is_local(service):
        own = (each for each in slices if (each["metadata"].get("namespace"), _of(each)) == (namespace, name))
        points = [point for each in own for point in each.get("endpoints") or []]
        served &= {point.get("nodeName") for point in points if (point.get("conditions") or {}).get("ready")}
    found: dict[str, set[str]] = {}
    for node in nodes:
        if node["metadata"]["name"] in served:
            for each in node["status"].get("addresses") or []:
                found.setdefault(each["type"], set()).add(each["address"])
    addresses = found.get("ExternalIP") or found.get("InternalIP") or set()
    families = [4 if family == "IPv4" else 6 for family in service["spec"].get("ipFamilies") or ["IPv4"]]
    return [each for family in families for each in sorted(addresses) if ip_address(each).version == family]


def _of(each: Object) -> str | None:
    return (each["metadata"].get("labels") or {}).get("kubernetes.io/service-name")


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or []
    return bool(pod["status"].get("podIP")) and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _spec(found: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a DaemonSet follows its Service."""
    pod = found["spec"]["template"]["spec"]
    containers = [(each["name"], [(env["name"], env.get("value")) for env in each["env"]]) for each in pod["containers"]]
    return pod.get("nodeSelector"), containers
