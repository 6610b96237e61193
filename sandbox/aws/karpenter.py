"""Karpenter's controller as far as a rehearsal needs it: nodes come for pods that wait, and go when they are empty.

It acts only while a Helm release of the chart is recorded in the cluster: without its controller a cluster gets no nodes, and
node classes and claims cannot be deleted, as in life. It keeps nothing that the objects do not say, so it may be restarted.

Not simulated: drift, expiry, consolidation of nodes in use, interruptions, AMI lookup, room in capacity reservations, and what
karpenter_fit.py and karpenter_plan.py leave out.
"""

import re
import secrets
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from components.names import DNS_LABEL_MAX, fit
from sandbox.aws import karpenter_nodes as claims_of
from sandbox.aws.karpenter_account import Account
from sandbox.aws.karpenter_fit import total
from sandbox.aws.karpenter_nodes import OWNER
from sandbox.aws.karpenter_plan import NODE_POOL, ZONE, Pool, amounts, plan, pool_labels, removable, seconds
from sandbox.aws.karpenter_pods import by_node, is_starting, keeps_node, space, unplaced, waits_for_a_node
from sandbox.aws.karpenter_status import age, condition, conditions, is_true, now, with_ready
from sandbox.control_plane import draining, nodes
from sandbox.control_plane.api import Api
from sandbox.errors import SandboxError

CLASS_FINALIZER = "karpenter.k8s.aws/termination"

_AWS, _CORE = "/apis/karpenter.k8s.aws/v1/ec2nodeclasses", "/apis/karpenter.sh/v1"
_RELEASE = "llm-platform.rehearsal/helm-release"
_PERIOD_S = 0.5
_IDLE_S = 1.0

Objects = list[dict[str, Any]]


@dataclass
class Simulation:
    """The controller of one cluster."""

    connect: Callable[[], Api]
    """An administrator's connection to the cluster."""
    account: Account
    node_lock: AbstractContextManager[Any]
    """Held while nodes are made: addresses are given out one at a time."""
    may_join: Callable[[str], bool] = lambda _role: True
    """Whether the cluster lets nodes of a role (by name) in: whether it has an access entry for it."""

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._pods_seen: dict[str, frozenset[str]] = {}

    def start(self) -> None:
        """Runs beside until `stop`; whatever fails is tried again."""
        self._thread = threading.Thread(target=self._run, name="karpenter", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it and waits for the step under way."""
        self._ended.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with self.connect() as api:
                    while not self._ended.wait(_PERIOD_S if self.step(api) else _IDLE_S):
                        pass
            except SandboxError:  # the API server is not there, or an object changed meanwhile: look again
                self._ended.wait(_IDLE_S)
            except Exception:
                traceback.print_exc()
                self._ended.wait(_IDLE_S)

    def step(self, api: Api) -> bool:
        """Looks once and does what is to be done now. False, and nothing done, while Karpenter is not installed.

        Raises SandboxError with what the API server said.
        """
        if not _is_installed(api):
            return False
        node_classes = {each["metadata"]["name"]: each for each in api.items(_AWS)}
        pools = api.items(f"{_CORE}/nodepools")
        claims = api.items(f"{_CORE}/nodeclaims")
        for node_class in node_classes.values():
            self._settle_class(api, node_class, claims)
        pods = by_node(api.items("/api/v1/pods"))
        if claims:
            machines = {node["metadata"]["name"]: node for node in nodes.simulated(api, OWNER)}
            for claim in claims:
                of_claim = node_classes.get(claim["spec"]["nodeClassRef"]["name"])
                self._settle_claim(api, claim, of_claim, machines.get(claim["metadata"]["name"]), pods)
            _remove_orphans(api, pools, claims)
            self._remove_empty(api, pools, claims, pods)
        for pool in pools:
            _tell_pool(api, pool, node_classes, claims)
        waiting = [pod for pod in pods[""] if waits_for_a_node(pod)]
        if waiting:
            self._provide(api, waiting, pools, node_classes, claims, pods)
        return True

    def _settle_class(self, api: Api, node_class: dict[str, Any], claims: Objects) -> None:
        """Resolves what a node class selects and tells it; lets one go once no node uses it."""
        name, spec = node_class["metadata"]["name"], node_class["spec"]
        identity = {"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass"}
        metadata = {"name": name, "uid": node_class["metadata"]["uid"]}
        if "deletionTimestamp" in node_class["metadata"]:
            if not any(claim["spec"]["nodeClassRef"]["name"] == name for claim in claims):
                self.account.remove_profile(name)
                _apply_again(api, f"{_AWS}/{name}", identity | {"metadata": metadata})
            return
        if CLASS_FINALIZER not in node_class["metadata"].get("finalizers", []):
            api.apply(f"{_AWS}/{name}", identity | {"metadata": metadata | {"finalizers": [CLASS_FINALIZER]}})
        subnets = self.account.subnets(spec["subnetSelectorTerms"])
        groups = self.account.security_groups(spec["securityGroupSelectorTerms"])
        profile = self.account.ensure_profile(name, spec["role"]) if "role" in spec else spec.get("instanceProfile")
        found = {
            "SubnetsReady": (bool(subnets), "SubnetsNotFound", "SubnetSelector did not match any Subnets"),
            "SecurityGroupsReady": (
                bool(groups),
                "SecurityGroupsNotFound",
                "SecurityGroupSelector did not match any",
            ),
            "InstanceProfileReady": (profile is not None, "InstanceProfileNotReady", f"role {spec.get('role')} does not exist"),
            "AMIsReady": (True, "", ""),
            "ValidationSucceeded": (True, "", ""),
        }
        status = {"subnets": subnets, "securityGroups": groups, "instanceProfile": profile or ""}
        status["conditions"] = conditions(node_class, with_ready(found))
        _tell(api, f"{_AWS}/{name}", identity, node_class, status)

    def _settle_claim(
        self,
        api: Api,
        claim: dict[str, Any],
        node_class: dict[str, Any] | None,
        node: dict[str, Any] | None,
        pods: Mapping[str, Objects],
    ) -> None:
        """Brings one claim on: its node made, seen ready, complete; or emptied and deleted."""
        name = claim["metadata"]["name"]
        if "deletionTimestamp" in claim["metadata"]:
            self._terminate(api, claim, node_class, node, pods[name])
            return
        if node_class is None:
            return
        joined = self.may_join(node_class["spec"].get("role", ""))
        machine = claims_of.machine(self.account, claim, node_class)
        if joined and node is None:
            with self.node_lock:
                nodes.put(api, [machine], api.version())
        status = claims_of.launched(claim, machine, node_class)
        registered = node is not None and nodes.is_ready(node)
        complete = registered and node is not None and _has_all(node, claim)
        seen = frozenset(pod["metadata"]["uid"] for pod in pods[name])
        before = self._pods_seen.get(name, seen)
        self._pods_seen[name] = seen
        if seen != before or "lastPodEventTime" in claim.get("status", {}):
            status["lastPodEventTime"] = now() if seen != before else claim["status"]["lastPodEventTime"]
        status["nodeName"] = name if registered else ""
        waits = "Node not registered with cluster"
        if not joined:
            waits += f": it has no access entry for the role {node_class['spec'].get('role')}"
        status["conditions"] = conditions(
            claim,
            with_ready(
                {
                    "Launched": (True, "", ""),
                    "Registered": (registered, "NodeNotFound", waits),
                    "Initialized": (complete, "NodeNotReady", "the node is not ready, or lacks resources it is to have"),
                }
            ),
        )
        _tell(api, f"{_CORE}/nodeclaims/{name}", {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim"}, claim, status)

    def _terminate(
        self, api: Api, claim: dict[str, Any], node_class: dict[str, Any] | None, node: dict[str, Any] | None, pods: Objects
    ) -> None:
        """Empties a node, within its termination grace period by force, and lets node and claim go."""
        name = claim["metadata"]["name"]
        if node is not None:
            if node_class and not any(taint["key"] == claims_of.DISRUPTED.key for taint in node["spec"].get("taints", [])):
                with self.node_lock:
                    nodes.put(api, [claims_of.machine(self.account, claim, node_class)], api.version())
            overdue = age(claim["metadata"]["deletionTimestamp"]) > seconds(claim["spec"].get("terminationGracePeriod", "Never"))
            left = [pod for pod in pods if keeps_node(pod)]
            if left and not overdue:
                for pod in left:
                    if "deletionTimestamp" not in pod["metadata"]:
                        api.evict(pod["metadata"]["namespace"], pod["metadata"]["name"])
                return
            nodes.remove(api, name)
            draining.delete_all(api, name)
        self._pods_seen.pop(name, None)
        _apply_again(api, f"{_CORE}/nodeclaims/{name}", claims_of.without_finalizer(claim))

    def _remove_empty(self, api: Api, pools: Objects, claims: Objects, pods: Mapping[str, Objects]) -> None:
        for pool in pools:
            own = [claim for claim in claims if claim["metadata"]["labels"][NODE_POOL] == pool["metadata"]["name"]]
            staying = [claim for claim in own if "deletionTimestamp" not in claim["metadata"]]
            empty = {
                claim["metadata"]["name"]: _empty_for(claim)
                for claim in staying
                if is_true(claim, "Initialized") and not any(map(keeps_node, pods[claim["metadata"]["name"]]))
            }
            for name in removable(empty, pool["spec"]["disruption"], len(own), len(own) - len(staying)):
                api.delete(f"{_CORE}/nodeclaims/{name}")

    def _provide(
        self,
        api: Api,
        waiting: Objects,
        pools: Objects,
        node_classes: Mapping[str, dict[str, Any]],
        claims: Objects,
        pods: Mapping[str, Objects],
    ) -> None:
        daemons = [each["spec"]["template"]["spec"] for each in api.items("/apis/apps/v1/daemonsets")]
        by_name = {pool["metadata"]["name"]: pool for pool in pools}
        current = [
            self._pool(pool, node_classes[pool["spec"]["template"]["spec"]["nodeClassRef"]["name"]], claims)
            for pool in pools
            if is_true(pool, "Ready") and "deletionTimestamp" not in pool["metadata"]
        ]
        starting = [space(claim, pods[claim["metadata"]["name"]], daemons) for claim in claims if is_starting(claim)]
        found = plan(waiting, current, starting, daemons)
        for launch in found.launches:
            pool = by_name[launch.pool.name]
            node_class = node_classes[pool["spec"]["template"]["spec"]["nodeClassRef"]["name"]]
            name = fit(launch.pool.name, secrets.token_hex(3), limit=DNS_LABEL_MAX)
            api.apply(f"{_CORE}/nodeclaims/{name}", claims_of.claim(launch, pool, node_class, name))
        for pod in waiting:
            if reason := found.hopeless.get(pod["metadata"]["uid"]):
                _tell_event(api, unplaced(pod, reason))

    def _pool(self, pool: dict[str, Any], node_class: dict[str, Any], claims: Objects) -> Pool:
        template, own = pool["spec"]["template"], _claims_of(pool, claims)
        return Pool(
            name=pool["metadata"]["name"],
            weight=pool["spec"].get("weight", 0),
            labels=pool_labels(template),
            taints=template["spec"].get("taints", []),
            limits=amounts(pool["spec"].get("limits", {})),
            in_use=total([amounts(claim.get("status", {}).get("capacity", {})) for claim in own]),
            offers=claims_of.offers(self.account, node_class, pool),
            nodes_by_zone=Counter(claim["metadata"]["labels"][ZONE] for claim in own),
        )


def _is_installed(api: Api) -> bool:
    records = api.items("/api/v1/secrets", selector=f"{_RELEASE}=true")
    charts = [record["metadata"]["annotations"][f"{_RELEASE}-chart"] for record in records]
    return any(re.match(r"karpenter-\d", chart) for chart in charts)


def _remove_orphans(api: Api, pools: Objects, claims: Objects) -> None:
    """Deletes claims whose NodePool is gone. The garbage collector does so too, but learns of new kinds late."""
    there = {pool["metadata"]["name"] for pool in pools}
    for claim in claims:
        if claim["metadata"]["labels"][NODE_POOL] not in there and "deletionTimestamp" not in claim["metadata"]:
            api.delete(f"{_CORE}/nodeclaims/{claim['metadata']['name']}")


def _tell_pool(api: Api, pool: dict[str, Any], node_classes: Mapping[str, dict[str, Any]], claims: Objects) -> None:
    name = pool["metadata"]["name"]
    wanted = pool["spec"]["template"]["spec"]["nodeClassRef"]["name"]
    node_class, own = node_classes.get(wanted), _claims_of(pool, claims)
    is_ready = node_class is not None and is_true(node_class, "Ready") and "deletionTimestamp" not in node_class["metadata"]
    in_use = total([amounts(claim.get("status", {}).get("capacity", {})) for claim in own])
    found = {
        "NodeClassReady": (is_ready, "NodeClassNotReady", f"EC2NodeClass {wanted} is not ready"),
        "ValidationSucceeded": (True, "", ""),
    }
    status = {
        "nodes": len(own),
        "resources": {key: str(amount.normalize().__format__("f")) for key, amount in in_use.items()},
        "conditions": conditions(pool, with_ready(found)),
    }
    _tell(api, f"{_CORE}/nodepools/{name}", {"apiVersion": "karpenter.sh/v1", "kind": "NodePool"}, pool, status)


def _tell(api: Api, path: str, identity: Mapping[str, str], live: dict[str, Any], status: dict[str, Any]) -> None:
    """Writes a status that is news."""
    before = live.get("status", {})
    if any(before.get(key) != value for key, value in status.items()):
        api.apply(f"{path}/status", {**identity, "metadata": {"name": live["metadata"]["name"]}, "status": status})
        live["status"] = {**before, **status}


def _apply_again(api: Api, path: str, manifest: dict[str, Any]) -> None:
    """Applies without a finalizer. The manifest's uid keeps an object that has gone meanwhile from being made anew."""
    if api.is_there(path):
        api.apply(path, manifest)


def _claims_of(pool: dict[str, Any], claims: Objects) -> Objects:
    return [claim for claim in claims if claim["metadata"]["labels"][NODE_POOL] == pool["metadata"]["name"]]


def _has_all(node: dict[str, Any], claim: dict[str, Any]) -> bool:
    """Whether a node offers every device its pods were promised."""
    offered = node["status"].get("allocatable", {})
    promised = [name for name in claim["spec"].get("resources", {}).get("requests", {}) if "/" in name]
    return all(offered.get(name, "0") != "0" for name in promised)


def _empty_for(claim: dict[str, Any]) -> float:
    """Seconds since the last pod came or went, or since the node was complete."""
    since = claim["status"].get("lastPodEventTime") or condition(claim, "Initialized")["lastTransitionTime"]
    return age(since)


def _tell_event(api: Api, event: dict[str, Any]) -> None:
    """Writes an event once."""
    path = f"/api/v1/namespaces/{event['metadata']['namespace']}/events/{event['metadata']['name']}"
    if not api.is_there(path):
        api.apply(path, event)
