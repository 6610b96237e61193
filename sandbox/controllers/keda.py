"""KEDA: ScaledObjects that become HorizontalPodAutoscalers, and the metrics these ask for.

It follows kedacore/keda v2.20.2 (controllers/keda, pkg/scaling, pkg/fallback). The metrics are served to the real API server, and
the real controller-manager scales by them; only what a trigger would read is told by an annotation.
"""

import asyncio
import base64
import logging
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from sandbox.control_plane.mirror import RETRY_S, first_line
from sandbox.controllers import keda_objects as objects
from sandbox.controllers import releases
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.conditions import now
from sandbox.controllers.keda_objects import InvalidError, Metric, switched_on
from sandbox.controllers.keda_server import serve
from sandbox.controllers.keda_status import (
    FALLBACK,
    NO_FALLBACK,
    PAUSED,
    READY,
    Told,
    active_time,
    cooled_down,
    hpa_health,
    paused_one_way,
    prefixed,
    with_told,
)
from sandbox.controllers.keda_targets import Targets

_log = logging.getLogger(__name__)

_API: Final = "/apis/keda.sh/v1alpha1"
_METRICS: Final = "external.metrics.k8s.io/v1beta1"
_APIS: Final = "/apis/apiregistration.k8s.io/v1/apiservices"
_API_SERVICE: Final = "v1beta1.external.metrics.k8s.io"
_SERVICE: Final = "keda-operator-metrics-apiserver"
_COLLECTIONS: Final = {
    "scaled": (f"{_API}/scaledobjects", ""),
    "autoscalers": ("/apis/autoscaling/v2/horizontalpodautoscalers", ""),
    "apis": (_APIS, ""),
}
_NO_HPA: Final = "failed to ensure HPA is correctly created for ScaledObject"


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever."""
    while True:
        try:
            release, clients = await releases.find(client, "keda"), await _aggregators(client)
            break
        except httpx.HTTPError as error:
            _log.warning("%s; again in %s s", first_line(error), RETRY_S)
            await asyncio.sleep(RETRY_S)
    if release is None:
        return
    operator = _Operator(client)
    with serve(f"{_SERVICE}.{release.namespace}.svc", clients, operator.answer) as (port, certificate):
        operator.serves(port, certificate)
        await operator.cluster.run(operator.step)


async def _aggregators(client: httpx.AsyncClient) -> str:
    """The authority of those that may ask in the name of others: the API server."""
    response = await client.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
    response.raise_for_status()
    return str(response.json()["data"]["requestheader-client-ca-file"])


class _Operator:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.cluster, self._targets = Cluster(client, _COLLECTIONS), Targets(client)
        self._api: dict[str, Any] = {}
        self._applied: dict[str, dict[str, Any]] = {}

    def serves(self, port: int, certificate: bytes) -> None:
        """Where this operator answers, and by what it is known."""
        self._api = {"caBundle": base64.b64encode(certificate).decode(), "service": {"port": port}}

    async def step(self) -> None:
        """Looks once at every ScaledObject, and at the API that leads here."""
        api = self.cluster.find("apis", "", _API_SERVICE)
        if api and not _covers(api["spec"], self._api):
            await self.cluster.merge("apis", f"{_APIS}/{_API_SERVICE}", {"spec": self._api})
        for scaled in self.cluster.all("scaled"):
            if "deletionTimestamp" in scaled["metadata"]:
                await self._finalize(scaled)
            else:
                await self._reconcile(scaled)

    async def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """What the API server asks of external.metrics.k8s.io."""
        asked = urlsplit(path)
        match asked.path.removeprefix("/apis/").split("/"):
            case ["external.metrics.k8s.io", "v1beta1"]:
                resource = {"name": "externalmetrics", "singularName": "", "namespaced": True, "kind": "ExternalMetricValueList"}
                listed = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": _METRICS}
                return 200, {**listed, "resources": [{**resource, "verbs": ["get"]}]}
            case ["external.metrics.k8s.io", "v1beta1", "namespaces", namespace, name]:
                selected = parse_qs(asked.query).get("labelSelector", [""])[0]
                owner = selected.removeprefix(f"{objects.OWNER}=")
                return await self._read(namespace, owner, name)
        return _refused(404, "NotFound", f"the rehearsal has no {asked.path}")

    async def _read(self, namespace: str, owner: str, name: str) -> tuple[int, dict[str, Any]]:
        scaled = self.cluster.find("scaled", namespace, owner)
        if scaled is None:
            return _refused(404, "NotFound", f"no matching metrics found for {name}")
        try:
            metric = next(each for each in objects.metrics_of(scaled) if each.name == name)
            value = objects.values_of(scaled, [metric])[name]
            if "fallback" in scaled["spec"]:
                failures = await self._note(scaled, name, failed=value == "error")
                if failures > scaled["spec"]["fallback"]["failureThreshold"]:
                    target = await self._targets.find(scaled)
                    value = objects.fallback_value(
                        scaled, metric, target["spec"].get("replicas", 0), await self._targets.ready(target)
                    )
        except (InvalidError, StopIteration) as error:
            return _refused(500, "InternalError", str(error) or f"no matching metrics found for {name}")
        if value == "error":
            return _refused(500, "InternalError", f"metric:{name} encountered error")
        item = {"metricName": name, "metricLabels": None, "timestamp": now(), "value": objects.quantity(float(value))}
        return 200, {"kind": "ExternalMetricValueList", "apiVersion": _METRICS, "metadata": {}, "items": [item]}

    async def _note(self, scaled: Object, name: str, *, failed: bool) -> int:
        """Writes down whether a metric could be read; how often it could not, without a break."""
        health = (scaled.get("status") or {}).get("health") or {}
        failures = health.get(name, {}).get("numberOfFailures", 0) + 1 if failed else 0
        health = {**health, name: {"numberOfFailures": failures, "status": "Failing" if failed else "Happy"}}
        threshold = scaled["spec"]["fallback"]["failureThreshold"]
        falls_back = any(each.get("numberOfFailures", 0) > threshold for each in health.values())
        await self._tell(scaled, {"Fallback": FALLBACK if falls_back else NO_FALLBACK}, {"health": health})
        return failures

    async def _reconcile(self, scaled: Object) -> None:
        metadata = scaled["metadata"]
        missing: dict[str, Any] = {}
        if objects.FINALIZER not in metadata.get("finalizers", []):
            missing["finalizers"] = [*metadata.get("finalizers", []), objects.FINALIZER]
        if (metadata.get("labels") or {}).get(objects.OWNER) != metadata["name"]:
            missing["labels"] = {objects.OWNER: metadata["name"]}
        if missing:
            await self.cluster.merge("scaled", _path(scaled), {"metadata": missing})
            return  # the object comes again with them
        annotations = metadata.get("annotations") or {}
        try:
            if objects.PAUSED_REPLICAS in annotations or switched_on(scaled, objects.PAUSED):
                await self._pause(scaled, annotations.get(objects.PAUSED_REPLICAS))
                return
            await self._autoscale(scaled)
        except InvalidError as error:
            told = {
                "Ready": ("False", "ScaledObjectCheckFailed", str(error)),
                "Active": ("Unknown", "UnknownState", "ScaledObject check failed"),
            }
            await self._tell(scaled, told)

    async def _autoscale(self, scaled: Object) -> None:
        replicas = (await self._targets.find(scaled))["spec"].get("replicas", 0)
        with prefixed("ScaledObject doesn't have correct Idle/Min/Max Replica Counts specification"):
            objects.check_replicas(scaled["spec"])
        with prefixed(_NO_HPA):
            metrics = objects.metrics_of(scaled)
        found = self.cluster.find("autoscalers", scaled["metadata"]["namespace"], objects.hpa_name(scaled))
        wanted = objects.hpa_of(scaled, metrics)
        uid = scaled["metadata"]["uid"]
        if found is None or self._applied.get(uid) != wanted or not _covers(found, wanted):
            await self._apply_hpa(scaled, wanted)
            self._applied[uid] = wanted
        status = scaled.get("status") or {}
        if (old := status.get("hpaName")) and old != objects.hpa_name(scaled):
            await self._delete_hpa(scaled, old)
        triggers = list(dict.fromkeys(trigger["type"] for trigger in scaled["spec"]["triggers"]))
        refs = [trigger.get("authenticationRef", {}).get("name") for trigger in scaled["spec"]["triggers"]]
        api_version, kind, _ = objects.target_of(scaled)
        more = {
            "hpaName": objects.hpa_name(scaled),
            "scaleTargetKind": f"{api_version}.{kind}",
            "originalReplicaCount": status.get("originalReplicaCount", replicas),
            "externalMetricNames": [metric.name for metric in metrics if metric.name],
            "triggersTypes": ",".join(triggers),
            "authenticationsTypes": ",".join(dict.fromkeys(filter(None, refs))),
        }
        told: Told = {"Ready": READY, **paused_one_way(scaled)}
        if "fallback" not in scaled["spec"]:
            told["Fallback"] = NO_FALLBACK
        await self._request_scale(scaled, metrics, replicas, told, more)
        await self._tell(scaled, {**told, **hpa_health(found)}, more)

    async def _request_scale(
        self, scaled: Object, metrics: list[Metric], replicas: int, told: Told, more: dict[str, Any]
    ) -> None:
        """From and to zero (or the idle count), which a HorizontalPodAutoscaler does not do."""
        spec, read = scaled["spec"], objects.values_of(scaled, metrics)
        failed = "error" in read.values()
        forced = switched_on(scaled, objects.FORCED)
        active = forced or any(
            not metric.name or (read[metric.name] != "error" and float(read[metric.name]) > metric.active_above)
            for metric in metrics
        )
        least, idle = spec.get("minReplicaCount", 0), spec.get("idleReplicaCount")
        if active:
            why = "activation is being forced by annotation" if forced else "triggers are active"
            told["Active"] = ("True", "ScalerActive", f"Scaling is performed because {why}")
            if (replicas == 0 or (idle is not None and replicas < least)) and not switched_on(scaled, objects.PAUSED_OUT):
                await self._targets.scale(scaled, max(1, least))
            elif failed:
                told["Ready"] = (
                    "Unknown",
                    "PartialTriggerError",
                    "Some triggers defined in ScaledObject are not working correctly",
                )
            more["lastActiveTime"] = active_time(scaled)
            return
        told["Active"] = ("False", "ScalerNotActive", "Scaling is not performed because triggers are not active")
        fallback = spec.get("fallback")
        if failed and (fallback is None or fallback["replicas"]):
            if fallback is None:
                told["Ready"] = ("False", "TriggerError", "Triggers defined in ScaledObject are not working correctly")
        elif (idle is not None and replicas > idle) or (replicas > 0 and least == 0):
            if cooled_down(scaled) and not switched_on(scaled, objects.PAUSED_IN):
                await self._targets.scale(scaled, least if idle is None else idle)
            else:
                told["Active"] = ("False", "ScalerCooldown", "Scaler cooling down because triggers are not active")
        elif idle is None and replicas < least:
            await self._targets.scale(scaled, least)

    async def _pause(self, scaled: Object, wanted: str | None) -> None:
        if wanted is not None and not wanted.isdecimal():
            raise InvalidError(f'failed to parse paused replica count: "{wanted}" is no number')
        await self._delete_hpa(scaled, (scaled.get("status") or {}).get("hpaName") or objects.hpa_name(scaled))
        count = None if wanted is None else int(wanted)
        if count is not None and (await self._targets.find(scaled))["spec"].get("replicas", 0) != count:
            await self._targets.scale(scaled, count)
        told = {"Ready": ("True", "ScaledObjectReady", "ScaledObject is paused"), "Paused": PAUSED}
        await self._tell(scaled, told, {"pausedReplicaCount": count})

    async def _finalize(self, scaled: Object) -> None:
        metadata = scaled["metadata"]
        if objects.FINALIZER not in metadata.get("finalizers", []):
            return
        original = (scaled.get("status") or {}).get("originalReplicaCount")
        if (scaled["spec"].get("advanced") or {}).get("restoreToOriginalReplicaCount") and original is not None:
            with suppress(InvalidError):  # the target may be gone already
                await self._targets.scale(scaled, original)
        left = [name for name in metadata["finalizers"] if name != objects.FINALIZER]
        await self.cluster.merge("", _path(scaled), {"metadata": {"finalizers": left}})

    async def _apply_hpa(self, scaled: Object, wanted: Object) -> None:
        try:
            await self.cluster.apply("autoscalers", _hpa_path(scaled, objects.hpa_name(scaled)), wanted)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.UNPROCESSABLE_ENTITY:
                raise
            raise InvalidError(f"{_NO_HPA}: {error.response.json()['message']}") from None

    async def _delete_hpa(self, scaled: Object, name: str) -> None:
        if found := self.cluster.find("autoscalers", scaled["metadata"]["namespace"], name):
            await self.cluster.delete(_hpa_path(scaled, name), found["metadata"]["uid"])

    async def _tell(self, scaled: Object, told: Told, more: dict[str, Any] | None = None) -> None:
        """Writes conditions and further fields of the status, where they are different from what they are by now."""
        latest = self.cluster.find("scaled", scaled["metadata"]["namespace"], scaled["metadata"]["name"]) or scaled
        status = latest.get("status") or {}
        change = {**(more or {}), "conditions": with_told(latest, told)}
        if any(status.get(key) != value for key, value in change.items()):
            await self.cluster.merge("scaled", f"{_path(scaled)}/status", {"status": change})


def _covers(found: Any, wanted: Any) -> bool:
    """Whether everything wanted is so; what the API server added does not matter."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_covers(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_covers, found, wanted))
    return bool(found == wanted)


def _refused(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}
    return code, {**said, "metadata": {}}


def _path(scaled: Object) -> str:
    return f"{_API}/namespaces/{scaled['metadata']['namespace']}/scaledobjects/{scaled['metadata']['name']}"


def _hpa_path(scaled: Object, name: str) -> str:
    return f"/apis/autoscaling/v2/namespaces/{scaled['metadata']['namespace']}/horizontalpodautoscalers/{name}"
