"""What makes a namespace part of Istio's ambient mesh, where nothing passes between pods in clear text. Pure.

Ambient and not sidecars: a proxy in every pod would restart every server whenever Istio is upgraded, and each start of a server
takes minutes of its accelerators (docs/mesh.md).
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pulumi

from ..base import PACKAGE, PART_OF, labels
from ..security.network.policies import NetworkFlowArgs, NetworkPolicyArgs
from ..serving.arguments import PORT

NAMESPACE_LABELS: Final = {"istio.io/dataplane-mode": "ambient"}
"""Labels of namespaces whose pods are in the mesh (istio.io, "Add workloads to the mesh"); no pod restarts for them."""

TUNNEL_PORT: Final = 15008
"""Where pods of the mesh are reached, whatever port is meant: network policies see no other (istio.io, "Ambient and Kubernetes
NetworkPolicy")."""

PROBES_FROM: Final = "169.254.7.127/32"
"""Where the probes of kubelets come from in pods of the mesh (same page)."""

_SERVERS: Final = {"app.kubernetes.io/component": "model-server", PART_OF: PACKAGE}


def mesh_objects(namespace_name: pulumi.Input[str], name: str) -> dict[str, dict[str, Any]]:
    """Objects of a namespace with models, by role: who is not in the mesh reaches nobody, and servers are reached on one port.

    The second is what network policies say without the mesh; in the tunnel they cannot tell ports apart.
    """
    metadata = {"namespace": namespace_name, "name": name, "labels": labels("mesh", name, "routing")}
    api = {"selector": {"matchLabels": _SERVERS}, "action": "ALLOW", "rules": [{"to": [{"operation": {"ports": [str(PORT)]}}]}]}
    kinds = {"peers": ("PeerAuthentication", {"mtls": {"mode": "STRICT"}}), "ports": ("AuthorizationPolicy", api)}
    return {
        role: {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}
        for role, (kind, spec) in kinds.items()
    }


def in_mesh(policy: NetworkPolicyArgs, probed: Iterable[int] = ()) -> NetworkPolicyArgs:
    """The policy of pods as it has to be in the mesh: other pods by the tunnel too, probes from where they come then.

    For pods of namespaces with `NAMESPACE_LABELS`, and for the gateway's proxies; `probed` are the ports that kubelets ask.
    """
    changed: NetworkPolicyArgs = {**policy}
    if ingress := [*_tunnelled(policy.get("ingress", [])), *map(_probe, probed)]:
        changed["ingress"] = ingress
    if egress := [*_tunnelled(policy.get("egress", []))]:
        changed["egress"] = egress
    return changed


def _tunnelled(flows: Iterable[NetworkFlowArgs]) -> Iterator[NetworkFlowArgs]:
    for flow in flows:
        yield flow
        if flow.get("pods") and flow.get("ports"):
            yield {"reason": f"{flow['reason']}, by the mesh", "pods": flow["pods"], "ports": [{"port": TUNNEL_PORT}]}


def _probe(port: int) -> NetworkFlowArgs:
    return {"reason": "kubelets probe through the mesh", "blocks": [{"cidr": PROBES_FROM}], "ports": [{"port": port}]}
