"""The proxies Envoy Gateway makes for a Gateway: account, configuration, pods, Service, autoscaler and disruption budget. Pure.

After envoyproxy/gateway v1.9.0 internal/infrastructure/kubernetes/proxy.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_listeners import Listener
from sandbox.controllers.envoy_gateway_pods import OWNER, Installed, Manifest, Wanted, account_name, pod_metadata, pod_spec
from sandbox.controllers.gateway_api import name_of

_SECRET: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - the name of a type
_MERGE_KEYS: Final = {"ports": "port", "volumeMounts": "mountPath", "topologySpreadConstraints": "topologyKey"}
_MERGED: Final = frozenset({"containers", "initContainers", "env", "volumes", "imagePullSecrets", *_MERGE_KEYS})


def wanted(
    gateway: Object, listeners: Iterable[Listener], spec: Mapping[str, Any], owner: Manifest, installed: Installed
) -> Wanted:
    """The proxies of a Gateway, from those of its listeners that can be used."""
    namespace, name = name_of(gateway)
    infrastructure = gateway["spec"].get("infrastructure") or {}
    ports: dict[tuple[bool, int], str] = {}
    for each in listeners:
        if each.is_ready:
            ports.setdefault((each.protocol == "UDP", each.port), f"{each.protocol.lower()}-{each.port}")
    return Wanted(
        name=name if installed.in_gateways else f"{namespace}/{name}",
        namespace=namespace if installed.in_gateways else installed.namespace,
        labels={**(infrastructure.get("labels") or {}), f"{OWNER}-name": name, f"{OWNER}-namespace": namespace},
        annotations=infrastructure.get("annotations") or {},
        owner=owner,
        ports=tuple((found, number) for (_, number), found in ports.items()),
        addresses=tuple(
            each["value"] for each in gateway["spec"].get("addresses") or [] if each.get("type", "IPAddress") == "IPAddress"
        ),
        spec=spec,
        installed=installed,
    )


def manifests(of: Wanted, authority: str = "") -> list[Manifest]:
    """All its objects; `authority` is the certificate of the controller's, where proxies are not beside it."""
    found = [_account(of), _config_map(of, authority), _workload(of), _service(of)]
    return [*found, *_autoscaler(of), *_budget(of)]


def _object(of: Wanted, kind: str, api: str, name: str | None = None, **rest: Any) -> Manifest:
    metadata: Manifest = {
        "namespace": of.namespace,
        "name": name or of.object_name,
        "labels": of.all_labels,
        "ownerReferences": [of.owner],
    }
    if of.annotations:
        metadata["annotations"] = dict(of.annotations)
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def _account(of: Wanted) -> Manifest:
    return _object(of, "ServiceAccount", "v1", account_name(of), automountServiceAccountToken=False)


def _config_map(of: Wanted, authority: str) -> Manifest:
    chain = {"certificate_chain": {"filename": "/certs/tls.crt"}, "private_key": {"filename": "/certs/tls.key"}}
    trusted = {
        "trusted_ca": {"filename": "/certs/ca.crt"},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "envoy-gateway"}}],
    }
    data = {
        "xds-trusted-ca.json": _sds("xds_trusted_ca", validation_context=trusted),
        "xds-certificate.json": _sds("xds_certificate", tls_certificate=chain),
    }
    if of.installed.in_gateways:
        token = {"secret": {"filename": "/var/run/secrets/token/sa-token"}}
        data["xds_service_account_token.json"] = _sds("jwt-sa-bearer", generic_secret=token)
    return _object(of, "ConfigMap", "v1", data={**data, **({"ca.crt": authority} if authority else {})})


def _sds(name: str, **secret: Any) -> str:
    return json.dumps({"resources": [{"@type": _SECRET, "name": name, **secret}]}, separators=(",", ":"))


def _workload(of: Wanted) -> Manifest:
    daemons = of.kubernetes.get("envoyDaemonSet")
    kind, given = ("DaemonSet", daemons) if daemons is not None else ("Deployment", of.kubernetes.get("envoyDeployment") or {})
    pod = given.get("pod") or {}
    strategy = given.get("strategy") or {"type": "RollingUpdate"}
    spec: Manifest = {
        "selector": {"matchLabels": of.stable},
        "template": {"metadata": pod_metadata(of, pod), "spec": pod_spec(of, given, pod)},
    }
    if kind == "Deployment":
        spec |= {"strategy": strategy, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
        if given.get("replicas") is not None and of.kubernetes.get("envoyHpa") is None:
            spec["replicas"] = given["replicas"]
    else:
        spec["updateStrategy"] = strategy
    return patched(_object(of, kind, "apps/v1", given.get("name"), spec=spec), given.get("patch"))


def _service(of: Wanted) -> Manifest:
    given = of.kubernetes.get("envoyService") or {}
    kind, addresses = given.get("type") or "LoadBalancer", list(of.addresses)
    shifted = not of.kubernetes.get("useListenerPortAsContainerPort")
    spec: Manifest = {
        "type": kind,
        "sessionAffinity": "None",
        "selector": of.all_labels,
        "ports": [
            {
                "name": name,
                "port": number,
                "protocol": "UDP" if name.startswith("udp-") else "TCP",
                # Ports below 1024 are beyond a process that is not root.
                "targetPort": number + 10000 if shifted and number < 1024 else number,
            }
            for name, number in of.ports
        ],
    }
    if kind in ("LoadBalancer", "NodePort"):
        spec["externalTrafficPolicy"] = given.get("externalTrafficPolicy") or "Local"
    if kind == "LoadBalancer":
        for name in ("loadBalancerClass", "allocateLoadBalancerNodePorts", "loadBalancerSourceRanges", "loadBalancerIP"):
            if given.get(name) not in (None, []):
                spec[name] = given[name]
    if kind == "ClusterIP" and addresses:
        spec |= {"clusterIP": addresses[0], "clusterIPs": addresses[:1]}
    elif kind != "ClusterIP" and addresses:
        spec["externalIPs"] = addresses
    found = _object(of, "Service", "v1", given.get("name"), spec=spec)
    for name in ("annotations", "labels"):
        if given.get(name):
            found["metadata"][name] = {**found["metadata"].get(name, {}), **given[name]}
    return patched(found, given.get("patch"))


def _autoscaler(of: Wanted) -> Iterator[Manifest]:
    if (given := of.kubernetes.get("envoyHpa")) is None:
        return
    target = (of.kubernetes.get("envoyDeployment") or {}).get("name") or of.object_name
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "maxReplicas": given.get("maxReplicas") or 1,
        "metrics": given.get("metrics") or [cpu],
        **{name: given[name] for name in ("minReplicas", "behavior") if given.get(name) is not None},
    }
    found = _object(of, "HorizontalPodAutoscaler", "autoscaling/v2", given.get("name"), spec=spec)
    found["metadata"]["labels"] = of.stable
    yield patched(found, given.get("patch"))


def _budget(of: Wanted) -> Iterator[Manifest]:
    given = of.kubernetes.get("envoyPDB") or {}
    named = next((name for name in ("minAvailable", "maxUnavailable") if given.get(name) is not None), None)
    if named is None and not given.get("patch"):
        return
    spec = {"selector": {"matchLabels": of.stable}, named or "minAvailable": given[named] if named else 0}
    found = _object(of, "PodDisruptionBudget", "policy/v1", given.get("name"), spec=spec)
    found["metadata"] = {key: value for key, value in found["metadata"].items() if key != "annotations"}
    found["metadata"]["labels"] = of.stable
    yield patched(found, given.get("patch"))


def patched(base: Manifest, patch: Object | None) -> Manifest:
    """An object with the patch of an EnvoyProxy, which merges lists of named things unless it is a JSON merge patch."""
    if not patch:
        return base
    strategic = (patch.get("type") or "StrategicMerge") == "StrategicMerge"
    merged: Manifest = _merge(base, patch["value"], strategic=strategic)
    return merged


def _merge(base: Any, patch: Any, name: str = "", *, strategic: bool) -> Any:
    if isinstance(base, dict) and isinstance(patch, dict):
        together = {key: _merge(base.get(key), value, key, strategic=strategic) for key, value in patch.items()}
        return {key: value for key, value in {**base, **together}.items() if value is not None}
    if strategic and name in _MERGED and isinstance(base, list) and isinstance(patch, list):
        key = _MERGE_KEYS.get(name, "name")
        found = {each.get(key): each for each in base}
        for each in patch:
            found[each.get(key)] = _merge(found.get(each.get(key)), each, strategic=True)
        return list(found.values())
    return patch
