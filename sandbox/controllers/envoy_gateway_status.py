"""What Envoy Gateway tells of a Gateway and of a GatewayClass. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi/status/gateway.go and internal/provider/kubernetes/status.go.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_listeners import Listener
from sandbox.controllers.envoy_gateway_seen import spec_of
from sandbox.controllers.gateway_api import Told, conditions

_MOST = 16  # addresses, by the definition of the API


def gateway_status(
    gateway: Object, listeners: Sequence[Listener], service: Object | None, workload: Object | None, nodes: Iterable[str]
) -> dict[str, Any]:
    """The status of a Gateway that is served; `nodes` are addresses by which its proxies are reached without a load balancer."""
    told: Told = {"Accepted": _accepted(listeners)}
    asked = gateway["spec"].get("addresses") or []
    if service is None:
        addresses = [_address(each["value"], each.get("type") == "Hostname") for each in asked]
    else:
        addresses = _addresses(asked, service, nodes)
    names = any(each.get("type") == "Hostname" for each in asked)
    if (service is None and asked) or names:
        told["Programmed"] = ("False", "AddressNotUsable", "One or more Gateway addresses cannot be used")
    else:
        told["Programmed"] = _programmed(addresses, workload)
    before = gateway.get("status") or {}
    old = {each["name"]: each.get("conditions") for each in before.get("listeners") or []}
    generation = gateway["metadata"].get("generation", 0)
    return {
        "addresses": addresses[:_MOST] or None,
        "conditions": conditions(before.get("conditions"), told, generation),
        "listeners": [
            {**each.status(), "conditions": conditions(old.get(each.spec["name"]), each.told, generation)} for each in listeners
        ],
    }


def refused_status(gateway: Object, reason: str, message: str) -> dict[str, Any]:
    """The status of a Gateway that is not served."""
    told: Told = {"Accepted": ("False", reason, message)}
    before, generation = (gateway.get("status") or {}).get("conditions"), gateway["metadata"].get("generation", 0)
    return {"addresses": None, "listeners": None, "conditions": conditions(before, told, generation)}


def class_status(of: Object, problem: str) -> dict[str, Any]:
    """The status of a GatewayClass."""
    told = (
        ("False", "InvalidParameters", f"Invalid parametersRef: {problem}")
        if problem
        else ("True", "Accepted", "Valid GatewayClass")
    )
    before, generation = (of.get("status") or {}).get("conditions"), of["metadata"].get("generation", 0)
    return {"conditions": conditions(before, {"Accepted": told}, generation)}


def _accepted(listeners: Iterable[Listener]) -> tuple[str, str, str]:
    accepted = {each.spec["name"]: each.told.get("Accepted", ("",))[0] == "True" for each in listeners}
    wrong = ", ".join(sorted(name for name, is_so in accepted.items() if not is_so))
    if not wrong:
        return "True", "Accepted", "The Gateway has been scheduled by Envoy Gateway"
    if any(accepted.values()):
        return "True", "ListenersNotValid", f"Listeners not valid: {wrong}"
    return "False", "ListenersNotValid", f"No listeners are valid: {wrong}"


def _programmed(addresses: list[dict[str, str]], workload: Object | None) -> tuple[str, str, str]:
    if not addresses:
        return "False", "AddressNotAssigned", "No addresses have been assigned to the Gateway"
    if len(addresses) > _MOST:
        shown = "only the first 16 are included in the status."
        told = f"Too many addresses ({len(addresses)}) have been assigned to the Gateway; {shown}"
        return "True", "Programmed", told
    status = (workload or {}).get("status") or {}
    available = status.get("availableReplicas", status.get("numberAvailable", 0))
    if available:
        total = status.get("replicas", status.get("currentNumberScheduled", 0))
        return "True", "Programmed", f"Address assigned to the Gateway, {available}/{total} envoy replicas available"
    return "False", "NoResources", "Envoy replicas unavailable"


def _address(value: str, is_name: bool = False) -> dict[str, str]:
    return {"type": "Hostname" if is_name else "IPAddress", "value": value}


def _addresses(asked: Sequence[Object], service: Object, nodes: Iterable[str]) -> list[dict[str, str]]:
    spec = spec_of(service)
    own = [each for each in spec.get("clusterIPs") or [] if each and each != "None"]
    if asked:
        return [_address(each) for each in spec.get("externalIPs") or own]
    match spec.get("type"):
        case "ClusterIP":
            return [_address(each) for each in own]
        case "NodePort":
            families = {int(each.removeprefix("IPv")) for each in spec.get("ipFamilies") or []}
            return [_address(each) for each in sorted(nodes) if ip_address(each).version in families]
    given = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    found = [_address(each["ip"]) for each in given if each.get("ip")]
    found += [_address(each["hostname"], is_name=True) for each in given if not each.get("ip")]
    return found or [_address(each) for each in spec.get("externalIPs") or []]


def node_addresses(nodes: Iterable[Object], slices: Iterable[Object], service: Object | None) -> list[str]:
    """Where nodes are reached; of a Service that takes local traffic alone those that run a proxy which is ready."""
    local = None
    if service is not None and spec_of(service).get("externalTrafficPolicy") == "Local":
        ready = [each for found in slices for each in found.get("endpoints") or [] if _is_ready(each)]
        local = {each.get("nodeName") for each in ready}
    found = []
    for node in nodes:
        if local is not None and node["metadata"]["name"] not in local:
            continue
        by_kind: dict[str, list[str]] = {}
        for each in (node.get("status") or {}).get("addresses") or []:
            by_kind.setdefault(each["type"], []).append(each["address"])
        found += by_kind.get("ExternalIP") or by_kind.get("InternalIP") or []
    return found


def _is_ready(endpoint: Mapping[str, Any]) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False
