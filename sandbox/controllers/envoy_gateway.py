"""Envoy Gateway: the status of Gateways, HTTPRoutes and its own policies, and the proxies of every Gateway.

It follows envoyproxy/gateway v1.9.0. The other modules of this name are its translator and its infrastructure manager, this one
its provider (internal/provider/kubernetes). What they decide, the real API server, scheduler and controller-manager carry out.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

import httpx

from sandbox.controllers import envoy_gateway_listeners as listeners_of
from sandbox.controllers import envoy_gateway_policies as policies_of
from sandbox.controllers import envoy_gateway_routes as routes_of
from sandbox.controllers import releases
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.envoy_gateway_listeners import Listener
from sandbox.controllers.envoy_gateway_pods import APP, OWNER, Installed, Manifest
from sandbox.controllers.envoy_gateway_proxies import manifests, wanted
from sandbox.controllers.envoy_gateway_seen import CONTROLLER, GROUP, Seen, spec_of
from sandbox.controllers.envoy_gateway_status import class_status, gateway_status, node_addresses, refused_status
from sandbox.controllers.envoy_gateway_watch import Watched
from sandbox.controllers.gateway_api import GROUP as STANDARD
from sandbox.controllers.gateway_api import Name, name_of, oldest_first
from sandbox.controllers.releases import RELEASE, Release

_STANDARD: Final = f"/apis/{STANDARD}/v1"
_OWN: Final = f"/apis/{GROUP}/v1alpha1"
_FINALIZER: Final = "gateway-exists-finalizer.gateway.networking.k8s.io"
_PROXIES: Final = ",".join(f"{key}={value}" for key, value in APP.items())
_POLICIES: Final = ("ClientTrafficPolicy", "BackendTrafficPolicy", "SecurityPolicy")
_MADE: Final = {
    "ServiceAccount": "/api/v1",
    "ConfigMap": "/api/v1",
    "Deployment": "/apis/apps/v1",
    "DaemonSet": "/apis/apps/v1",
    "Service": "/api/v1",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2",
    "PodDisruptionBudget": "/apis/policy/v1",
}
_COLLECTIONS: Final = {
    "classes": (f"{_STANDARD}/gatewayclasses", ""),
    "gateways": (f"{_STANDARD}/gateways", ""),
    "routes": (f"{_STANDARD}/httproutes", ""),
    "grants": (f"/apis/{STANDARD}/v1beta1/referencegrants", ""),
    "filters": (f"{_OWN}/httproutefilters", ""),
    "proxies": (f"{_OWN}/envoyproxies", ""),
    **{kind: (f"{_OWN}/{kind[:-1].lower()}ies", "") for kind in _POLICIES},
    "services": ("/api/v1/services", ""),
    "slices": ("/apis/discovery.k8s.io/v1/endpointslices", ""),
    "secrets": ("/api/v1/secrets", f"!{RELEASE}"),
    "config_maps": ("/api/v1/configmaps", ""),
    "namespaces": ("/api/v1/namespaces", ""),
    "nodes": ("/api/v1/nodes", ""),
    **{kind: (f"{api}/{kind.lower()}s", _PROXIES) for kind, api in _MADE.items()},
}


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever."""
    cluster = Cluster(client, _COLLECTIONS)
    await cluster.run(_Controller(client, cluster).step)


class _Controller:
    def __init__(self, client: httpx.AsyncClient, cluster: Cluster) -> None:
        self._client, self._cluster = client, cluster
        self._watched = Watched(cluster, {}, "")
        self._applied: dict[tuple[str, Name], str] = {}

    async def step(self) -> None:
        """Looks once at everything."""
        release = await releases.find(self._client, "gateway-helm")
        if release is None:
            return
        config = (release.values.get("config") or {}).get("envoyGateway") or {}
        installed = _installed(release, config)
        kubernetes = (config.get("provider") or {}).get("kubernetes") or {}
        self._watched = Watched(self._cluster, kubernetes.get("watch") or {}, installed.namespace)
        controller = (config.get("gateway") or {}).get("controllerName") or CONTROLLER
        classes = {
            each["metadata"]["name"]: each
            for each in oldest_first(self._watched.all("classes"))
            if each["spec"]["controllerName"] == controller and not _is_leaving(each)
        }
        gateways = [each for each in oldest_first(self._watched.all("gateways")) if each["spec"]["gatewayClassName"] in classes]
        for of in classes.values():
            await self._class(of)
        await self._serve(classes, gateways, config, installed)
        # In this order: what is made for a Gateway goes before its class may go.
        await self._finalize(classes, gateways)

    async def _class(self, of: Object) -> None:
        problem, _ = self._parameters(of)
        await self._tell("classes", f"{_STANDARD}/gatewayclasses/{of['metadata']['name']}", of, class_status(of, problem))

    async def _finalize(self, classes: Mapping[str, Object], gateways: list[Object]) -> None:
        used = {each["spec"]["gatewayClassName"] for each in gateways}
        for name, of in classes.items():
            of = self._cluster.find("classes", "", name) or of  # noqa: PLW2901 - as it is now
            before = of["metadata"].get("finalizers") or []
            after = [each for each in before if each != _FINALIZER] + ([_FINALIZER] if name in used else [])
            if set(before) != set(after):
                change = {"metadata": {"finalizers": after, "resourceVersion": of["metadata"]["resourceVersion"]}}
                await self._cluster.merge("classes", f"{_STANDARD}/gatewayclasses/{name}", change)

    def _parameters(self, of: Object) -> tuple[str, Object | None]:
        """What is wrong with the EnvoyProxy of a class, and the EnvoyProxy."""
        ref, name = of["spec"].get("parametersRef"), of["metadata"]["name"]
        if ref is None:
            return "", None
        if (ref.get("group"), ref["kind"]) != (GROUP, "EnvoyProxy"):
            return f"unsupported parametersRef(invalid group or kind) for gatewayclass {name}", None
        where = (ref.get("namespace") or "default", ref["name"])
        found = self._watched.find("proxies", *where)
        if found is None:
            missing = f'EnvoyProxy.{GROUP} "{where[1]}" not found'
            return f"failed to find envoyproxy {'/'.join(where)} for GatewayClass {name}: {missing}", None
        if spec_of(found).get("mergeGateways"):
            return "the rehearsal does not play mergeGateways", None
        return "", found

    async def _serve(
        self, classes: Mapping[str, Object], gateways: list[Object], config: Mapping[str, Any], installed: Installed
    ) -> None:
        served = []
        for gateway in gateways:
            if refusal := self._refusal(gateway):
                await self._tell_gateway(gateway, refused_status(gateway, *refusal))
            else:
                served.append(gateway)
        specs = {
            name_of(each): self._proxy_spec(classes[each["spec"]["gatewayClassName"]], each, config.get("envoyProxy") or {})
            for each in served
        }
        seen = self._seen(served, config, by_service=any(spec.get("routingType") == "Service" for spec in specs.values()))
        listeners = listeners_of.judge(served, seen)
        routes = routes_of.judge(oldest_first(self._watched.all("routes")), listeners, seen)
        by_gateway = {name_of(each): [found for found in listeners if found.gateway is each] for each in served}
        await self._make(classes, gateways, by_gateway, specs, installed)
        for gateway in served:
            await self._tell_gateway(gateway, self._status(gateway, by_gateway[name_of(gateway)], seen))
        for route in routes:
            await self._tell("routes", _path(_STANDARD, "httproutes", route.obj), route.obj, route.status())
        for kind in _POLICIES:
            for policy in policies_of.judge(kind, self._watched.all(kind), listeners, routes, seen):
                if policy.ancestors or policy.obj.get("status"):
                    await self._tell(kind, _path(_OWN, f"{kind[:-1].lower()}ies", policy.obj), policy.obj, policy.status())

    def _seen(self, gateways: list[Object], config: Mapping[str, Any], *, by_service: bool) -> Seen:
        kinds = ("services", "slices", "secrets", "config_maps", "namespaces", "grants", "filters")
        return Seen(
            gateways=gateways,
            **{kind: self._watched.all(kind) for kind in kinds},
            backends=bool((config.get("extensionApis") or {}).get("enableBackend")),
            global_rate_limit=bool(config.get("rateLimit")),
            by_service=by_service,
        )

    def _refusal(self, gateway: Object) -> tuple[str, str] | None:
        """Why a Gateway is not served: reason and text."""
        ref, (namespace, name) = (gateway["spec"].get("infrastructure") or {}).get("parametersRef"), name_of(gateway)
        if ref is not None:
            if (ref["group"], ref["kind"]) != (GROUP, "EnvoyProxy"):
                return "InvalidParameters", f"unsupported parametersRef for gateway {namespace}/{name}"
            if self._watched.find("proxies", namespace, ref["name"]) is None:
                missing = f'EnvoyProxy.{GROUP} "{ref["name"]}" not found'
                return "InvalidParameters", f"failed to find envoyproxy {namespace}/{ref['name']} for Gateway {name}: {missing}"
        if unknown := _unsupported(gateway):
            return "UnsupportedAddress", f"Gateway has an address with an unsupported type: {unknown}"
        return None

    def _proxy_spec(self, of: Object, gateway: Object, default: Mapping[str, Any]) -> dict[str, Any]:
        """What the EnvoyProxy of the Gateway, of its class or of the release says; the closest alone, unless it is merged."""
        _, above = self._parameters(of)
        ref = (gateway["spec"].get("infrastructure") or {}).get("parametersRef")
        own = self._watched.find("proxies", name_of(gateway)[0], ref["name"]) if ref else None
        near, far = (spec_of(each) if each else None for each in (own, above))
        kinds = [spec["mergeType"] for spec in (near, far) if spec and spec.get("mergeType")]
        found = _laid_over(far, near, merge=bool(near and near.get("mergeType")))
        return _laid_over(dict(default), found, merge=bool(kinds)) or {}

    async def _make(
        self,
        classes: Mapping[str, Object],
        gateways: list[Object],
        listeners: Mapping[Name, list[Listener]],
        specs: Mapping[Name, dict[str, Any]],
        installed: Installed,
    ) -> None:
        """Makes the proxies of all Gateways be so, and removes those of Gateways that are gone."""
        kept: set[tuple[str, Name]] = set()
        authority = self._authority(installed)
        for gateway in gateways:
            if "deletionTimestamp" in gateway["metadata"]:
                continue
            if not any(each.is_ready for each in listeners.get(name_of(gateway), [])):
                kept |= {(kind, name_of(each)) for kind in _MADE for each in self._of(kind, gateway)}  # as they were
                continue
            owner = _owner(gateway if installed.in_gateways else classes[gateway["spec"]["gatewayClassName"]])
            of = wanted(gateway, listeners[name_of(gateway)], specs[name_of(gateway)], owner, installed)
            for manifest in manifests(of, authority):
                key = (manifest["kind"], name_of(manifest))
                kept.add(key)
                await self._apply(key, manifest)
        for kind in _MADE:
            for each in self._cluster.all(kind):
                if (kind, name_of(each)) not in kept and "deletionTimestamp" not in each["metadata"]:
                    await self._cluster.delete(_path(_MADE[kind], f"{kind.lower()}s", each), each["metadata"]["uid"])
                    self._applied.pop((kind, name_of(each)), None)

    async def _apply(self, key: tuple[str, Name], manifest: Manifest) -> None:
        kind, text = key[0], json.dumps(manifest, sort_keys=True)
        if self._applied.get(key) == text and self._cluster.find(kind, *key[1]):
            return
        await self._cluster.apply(kind, _path(_MADE[kind], f"{kind.lower()}s", manifest), manifest)
        self._applied[key] = text

    def _of(self, kind: str, gateway: Object) -> list[dict[str, Any]]:
        """What of a kind was made for a Gateway."""
        namespace, name = name_of(gateway)
        labels = {f"{OWNER}-name": name, f"{OWNER}-namespace": namespace}
        return [each for each in self._cluster.all(kind) if labels.items() <= each["metadata"]["labels"].items()]

    def _authority(self, installed: Installed) -> str:
        secret = self._cluster.find("secrets", installed.namespace, "envoy") if installed.in_gateways else None
        return base64.b64decode(((secret or {}).get("data") or {}).get("ca.crt", "")).decode()

    def _status(self, gateway: Object, listeners: list[Listener], seen: Seen) -> dict[str, Any]:
        service = next(iter(self._of("Service", gateway)), None)
        workload = next((each for kind in ("Deployment", "DaemonSet") for each in self._of(kind, gateway)), None)
        slices = seen.endpoints.get(name_of(service), []) if service else []
        return gateway_status(gateway, listeners, service, workload, node_addresses(self._cluster.all("nodes"), slices, service))

    async def _tell_gateway(self, gateway: Object, status: Mapping[str, Any]) -> None:
        await self._tell("gateways", _path(_STANDARD, "gateways", gateway), gateway, status)

    async def _tell(self, collection: str, path: str, obj: Object, status: Mapping[str, Any]) -> None:
        before = obj.get("status") or {}
        if any(before.get(field) != value for field, value in status.items()):
            await self._cluster.merge(collection, f"{path}/status", {"status": status})


def _is_leaving(of: Object) -> bool:
    return "deletionTimestamp" in of["metadata"] and _FINALIZER not in (of["metadata"].get("finalizers") or [])


def _unsupported(gateway: Object) -> str:
    kinds = (each.get("type", "IPAddress") for each in gateway["spec"].get("addresses") or [])
    return next((kind for kind in kinds if kind not in ("IPAddress", "Hostname")), "")


def _laid_over(base: dict[str, Any] | None, own: dict[str, Any] | None, *, merge: bool) -> dict[str, Any] | None:
    if base is None or own is None or not merge:
        return base if own is None else own
    together = {
        key: _laid_over(base[key], value, merge=True) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in own.items()
    }
    return {**base, **together}


def _owner(obj: Object) -> Manifest:
    return {"apiVersion": f"{STANDARD}/v1", "kind": obj["kind"], "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}


def _path(api: str, plural: str, obj: Object) -> str:
    namespace, name = name_of(obj)
    return f"{api}/namespaces/{namespace}/{plural}/{name}"


def _installed(release: Release, config: Mapping[str, Any]) -> Installed:
    """What the chart gives its controller (charts/gateway-helm/templates)."""
    values = release.values
    kubernetes = (config.get("provider") or {}).get("kubernetes") or {}
    image = (((values.get("global") or {}).get("images") or {}).get("envoyGateway") or {}).get("image")
    return Installed(
        namespace=values.get("namespaceOverride") or release.namespace,
        in_gateways=(kubernetes.get("deploy") or {}).get("type") == "GatewayNamespace",
        shutdown_image=(kubernetes.get("shutdownManager") or {}).get("image") or image,
        domain=values.get("kubernetesClusterDomain") or "cluster.local",
    )
