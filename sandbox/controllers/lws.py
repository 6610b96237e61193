"""The controller of LeaderWorkerSets: groups of pods that come, fail, change and go together.

It follows kubernetes-sigs/lws v0.9.0 (pkg/controllers) and keeps nothing that the objects do not say. StatefulSets make the pods,
so the real controller-manager and scheduler do the rest.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from sandbox.control_plane.contents import OWN_LABEL
from sandbox.controllers import lws_objects as objects
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.conditions import is_true, settled
from sandbox.controllers.lws_objects import (
    EXCLUSIVE,
    GROUP_INDEX,
    GROUP_KEY,
    NAME,
    REPLICAS,
    REVISION,
    WORKER_INDEX,
    label,
    name_of,
)
from sandbox.controllers.lws_rollout import Group, Rollout, begin, go_on

_SETS: Final = "/apis/leaderworkerset.x-k8s.io/v1"
_COLLECTIONS: Final = {
    "lws": (f"{_SETS}/leaderworkersets", ""),
    "statefulsets": ("/apis/apps/v1/statefulsets", NAME),
    "revisions": ("/apis/apps/v1/controllerrevisions", NAME),
    "services": ("/api/v1/services", NAME),
    "pods": ("/api/v1/pods", NAME),
}
_POLICIES: Final = "/apis/admissionregistration.k8s.io/v1"
_PLURALS: Final = {
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
}
_PROBE: Final = {
    "metadata": {
        "name": "lws-probe-0",
        "labels": {NAME: "probe", WORKER_INDEX: "0"},
        "annotations": {"leaderworkerset.sigs.k8s.io/size": "1"},
    },
    "spec": {
        "subdomain": "probe",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "probe",
                "image": "probe",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}
"""A pod that any namespace lets in; it is never made."""
_RECREATES: Final = ("RecreateGroupOnPodRestart", "RecreateGroupAfterStart")


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever; what the chart's webhook does to pods is there as long as this runs."""
    cluster = Cluster(client, _COLLECTIONS)
    controller = _Controller(client, cluster)
    try:
        await cluster.run(controller.step)
    finally:
        with suppress(httpx.HTTPError):
            for path, manifest in _policies():
                await client.delete(f"{path}/{manifest['metadata']['name']}")


class _Controller:
    def __init__(self, client: httpx.AsyncClient, cluster: Cluster) -> None:
        self._client, self._cluster = client, cluster
        self._admits = False

    async def step(self) -> None:
        """Looks once at every set, and does what is to be done now."""
        sets = [each for each in self._cluster.all("lws") if "deletionTimestamp" not in each["metadata"]]
        if sets and not self._admits:
            await self._admission()
            self._admits = True
        for lws in sets:
            leaders = [pod for pod in self._pods(lws) if label(pod, WORKER_INDEX) == "0"]
            for pod in self._pods(lws):
                await self._restart(lws, pod)
            await self._leaders(lws)
            for service in objects.services(lws, [pod for pod in leaders if "deletionTimestamp" not in pod["metadata"]]):
                await self._once("services", "/api/v1", service)
            for leader in leaders:
                await self._workers(lws, leader)
            await self._tell(lws)

    async def _admission(self) -> None:
        """Has pods of sets changed when they are made; raises TransportError until the API server, which learns late, does."""
        for path, manifest in _policies():
            metadata = manifest["metadata"] | {"labels": {OWN_LABEL: "true"}}
            await self._cluster.apply("", f"{path}/{metadata['name']}", manifest | {"metadata": metadata})
        response = await self._client.post("/api/v1/namespaces/default/pods", params={"dryRun": "All"}, json=_PROBE)
        response.raise_for_status()
        if GROUP_KEY not in response.json()["metadata"]["labels"]:
            raise httpx.TransportError("the API server does not apply the policy for pods of sets yet")

    async def _leaders(self, lws: Object) -> None:
        namespace, name = lws["metadata"]["namespace"], name_of(lws)
        leaders = self._cluster.find("statefulsets", namespace, name)
        if leaders is not None and "deletionTimestamp" in leaders["metadata"]:
            return
        key = await self._revision(lws)
        surge, unavailable, partition = objects.limits(lws)
        wanted = objects.replicas_of(lws)
        if leaders is None:
            chosen = partition, wanted
        else:
            spec = leaders["spec"]
            rollout = Rollout(
                replicas=wanted,
                max_surge=surge,
                max_unavailable=unavailable,
                partition=partition,
                set_replicas=spec["replicas"],
                set_partition=spec["updateStrategy"]["rollingUpdate"].get("partition", 0),
                scaled=leaders["metadata"]["annotations"][REPLICAS] != str(wanted),
            )
            changed = label(leaders, REVISION) != key
            chosen = begin(rollout) if changed else go_on(rollout, self._groups(lws, spec["replicas"], key))
        path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}"
        await self._cluster.apply("statefulsets", path, objects.leader_set(lws, key, *chosen))

    async def _revision(self, lws: Object) -> str:
        """The key of the revision that the set asks for, recorded."""
        known = self._revisions(lws)
        newest = max((int(each["revision"]) for each in known), default=0)
        wanted = objects.revision(lws, newest + 1)
        key = label(wanted, REVISION)
        if all(label(each, REVISION) != key for each in known):
            await self._once("revisions", "/apis/apps/v1", wanted)
        return key

    async def _workers(self, lws: Object, leader: Object) -> None:
        namespace, name = leader["metadata"]["namespace"], name_of(leader)
        if "deletionTimestamp" in leader["metadata"] or objects.size_of(lws) == 1:
            return
        if lws["spec"].get("startupPolicy") == "LeaderReady" and not is_true(leader, "Ready"):
            return
        made_from = next((each for each in self._revisions(lws) if label(each, REVISION) == label(leader, REVISION)), None)
        if made_from is None or self._cluster.find("statefulsets", namespace, name) is not None:
            return
        node_selector: dict[str, str] = {}
        if topology := (lws["metadata"].get("annotations") or {}).get(EXCLUSIVE):
            if not leader["spec"].get("nodeName"):
                return
            response = await self._client.get(f"/api/v1/nodes/{leader['spec']['nodeName']}")
            response.raise_for_status()
            node_selector = {topology: response.json()["metadata"]["labels"].get(topology, "")}
        await self._once("statefulsets", "/apis/apps/v1", objects.worker_set(lws, leader, made_from, node_selector))

    async def _restart(self, lws: Object, pod: Object) -> None:
        """Deletes the leader, and with it its group, when a pod of the group is deleted or a container of it has restarted."""
        policy = lws["spec"]["leaderWorkerTemplate"].get("restartPolicy")
        if policy not in _RECREATES or not ("deletionTimestamp" in pod["metadata"] or _has_restarted(pod)):
            return
        group = [each for each in self._pods(lws) if label(each, GROUP_INDEX) == label(pod, GROUP_INDEX)]
        starting = len(group) != objects.size_of(lws) or any(each["status"].get("phase") == "Pending" for each in group)
        if starting and policy == "RecreateGroupAfterStart":
            return
        leader = next((each for each in group if label(each, WORKER_INDEX) == "0"), None)
        if leader is None or "deletionTimestamp" in leader["metadata"] or not self._is_of(pod, leader):
            return
        path = f"/api/v1/namespaces/{leader['metadata']['namespace']}/pods/{name_of(leader)}"
        await self._cluster.delete(path, leader["metadata"]["uid"], "Foreground")

    def _is_of(self, pod: Object, leader: Object) -> bool:
        """Whether a pod is of the group this leader leads now, not of one that is on its way out."""
        if pod["metadata"]["uid"] == leader["metadata"]["uid"]:
            return True
        workers = self._cluster.find("statefulsets", leader["metadata"]["namespace"], name_of(leader))
        return (
            label(pod, REVISION) == label(leader, REVISION)
            and workers is not None
            and _owner(pod) == workers["metadata"]["uid"]
            and _owner(workers) == leader["metadata"]["uid"]
        )

    async def _tell(self, lws: Object) -> None:
        namespace, name, wanted = lws["metadata"]["namespace"], name_of(lws), objects.replicas_of(lws)
        leaders = self._cluster.find("statefulsets", namespace, name)
        if leaders is None:
            return
        key, (_, _, partition) = label(leaders, REVISION), objects.limits(lws)
        groups = {
            int(label(pod, GROUP_INDEX)): self._group(lws, pod, key)
            for pod in self._pods(lws)
            if label(pod, WORKER_INDEX) == "0" and (objects.size_of(lws) == 1 or self._workers_of(pod))
        }
        own = {index: group for index, group in groups.items() if index < wanted}
        affected = [group for index, group in own.items() if index >= partition]
        if any(not group.updated for group in affected):
            conditions = _conditions("UpdateInProgress", "Progressing")
        elif sum(group.ready for group in own.values()) == wanted and all(group.ready for group in affected):
            conditions = _conditions("Available")
        else:
            conditions = _conditions("Progressing")
        before = lws.get("status") or {}
        known = {each["type"] for each in before.get("conditions") or []}
        conditions = {name: told for name, told in conditions.items() if told[0] == "True" or name in known}
        generation = lws["metadata"]["generation"]
        status: dict[str, Any] = {
            "replicas": (leaders.get("status") or {}).get("replicas", 0),
            "readyReplicas": sum(group.ready for group in groups.values()),
            "updatedReplicas": sum(group.updated for group in groups.values()),
            "hpaPodSelector": f"{NAME}={name},{WORKER_INDEX}=0",
            "observedGeneration": generation,
            "conditions": settled(before.get("conditions") or [], conditions, generation),
        }
        if any(before.get(field) != value for field, value in status.items()):
            path = f"{_SETS}/namespaces/{namespace}/leaderworkersets/{name}/status"
            await self._cluster.merge("lws", path, {"status": status})
        if partition == 0 and len(own) == wanted and all(group == Group(True, True) for group in own.values()):
            await self._forget(lws, key)

    async def _forget(self, lws: Object, key: str) -> None:
        """Deletes the revisions no pod is of."""
        for each in self._revisions(lws):
            if label(each, REVISION) != key:
                path = f"/apis/apps/v1/namespaces/{each['metadata']['namespace']}/controllerrevisions/{name_of(each)}"
                await self._cluster.delete(path, each["metadata"]["uid"])

    def _groups(self, lws: Object, count: int, key: str) -> list[Group]:
        leaders = {label(pod, GROUP_INDEX): pod for pod in self._pods(lws) if label(pod, WORKER_INDEX) == "0"}
        return [self._group(lws, leaders[str(index)], key) if str(index) in leaders else Group() for index in range(count)]

    def _group(self, lws: Object, leader: Object, key: str) -> Group:
        ready, updated = leader["status"].get("phase") == "Running" and is_true(leader, "Ready"), label(leader, REVISION) == key
        if objects.size_of(lws) == 1:
            return Group(ready, updated)
        workers = self._workers_of(leader)
        if workers is None:
            return Group()
        status = workers.get("status") or {}
        complete = workers["spec"]["replicas"] == status.get("availableReplicas", 0)
        complete = complete and status.get("currentRevision") == status.get("updateRevision")
        return Group(ready and complete, updated and label(workers, REVISION) == key)

    def _workers_of(self, leader: Object) -> dict[str, Any] | None:
        return self._cluster.find("statefulsets", leader["metadata"]["namespace"], name_of(leader))

    def _pods(self, lws: Object) -> list[dict[str, Any]]:
        return [pod for pod in self._cluster.all("pods", lws["metadata"]["namespace"]) if label(pod, NAME) == name_of(lws)]

    def _revisions(self, lws: Object) -> list[dict[str, Any]]:
        """The revisions of the set itself; its StatefulSets have others of the same label."""
        found = self._cluster.all("revisions", lws["metadata"]["namespace"])
        return [each for each in found if _owner(each) == lws["metadata"]["uid"]]

    async def _once(self, collection: str, api: str, manifest: Object) -> None:
        """Makes an object that is not there."""
        namespace, name = manifest["metadata"]["namespace"], name_of(manifest)
        if self._cluster.find(collection, namespace, name) is None:
            plural = "controllerrevisions" if collection == "revisions" else collection
            await self._cluster.create(collection, f"{api}/namespaces/{namespace}/{plural}", manifest)


def _policies() -> list[tuple[str, dict[str, Any]]]:
    text = Path(__file__).with_name("lws_admission.yaml").read_text("utf-8")
    return [(f"{_POLICIES}/{_PLURALS[manifest['kind']]}", manifest) for manifest in yaml.safe_load_all(text)]


def _owner(obj: Object) -> str:
    return next((str(each["uid"]) for each in obj["metadata"].get("ownerReferences") or [] if each.get("controller")), "")


def _has_restarted(pod: Object) -> bool:
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return status.get("phase") in ("Running", "Pending") and any(each.get("restartCount", 0) > 0 for each in containers)


def _conditions(*true: str) -> dict[str, tuple[str, str, str]]:
    texts = {
        "Available": ("AllGroupsReady", "All replicas are ready"),
        "Progressing": ("GroupsProgressing", "Replicas are progressing"),
        "UpdateInProgress": ("GroupsUpdating", "Rolling Upgrade is in progress"),
    }
    return {name: ("True" if name in true else "False", *text) for name, text in texts.items()}
