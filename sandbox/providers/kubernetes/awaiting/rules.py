"""When an object of each kind counts as ready, judged from its JSON alone. Pure.

The rules are those of the official provider; kinds without a rule are ready as soon as they exist.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.providers.kubernetes.objects import Object
from sandbox.providers.properties import lookup


@dataclass(frozen=True)
class Verdict:
    """Ready, or what is awaited; `failed` when waiting longer cannot help."""

    ready: bool = False
    waiting: str = ""
    failed: bool = False


READY: Final = Verdict(ready=True)

# What a rule may have to know beside the object: "endpoints" (EndpointSlices), "classes" (StorageClasses).
Facts = Mapping[str, list[Object]]
Rule = Callable[[Object, Facts], Verdict]


def condition(obj: Object, kind: str) -> Object:
    """The condition of a type, or an empty one."""
    for entry in lookup(obj, ("status", "conditions")) or []:
        if entry.get("type") == kind:
            return dict(entry)
    return {}


def holds(obj: Object, kind: str) -> bool:
    return condition(obj, kind).get("status") == "True"


def number(obj: Object, *path: str, default: int = 0) -> int:
    value = lookup(obj, path)
    return value if isinstance(value, int) else default


def judge(obj: Object, facts: Facts) -> Verdict:
    """Whether the object is ready now."""
    rule = _RULES.get((str(obj.get("apiVersion")).rpartition("/")[0], str(obj.get("kind"))))
    return rule(obj, facts) if rule else READY


def has_rule(obj: Object) -> bool:
    return (str(obj.get("apiVersion")).rpartition("/")[0], str(obj.get("kind"))) in _RULES


def _observed(obj: Object) -> bool:
    return number(obj, "status", "observedGeneration") >= number(obj, "metadata", "generation")


def _deployment(obj: Object, _facts: Facts) -> Verdict:
    if lookup(obj, ("spec", "paused")) is True:
        return READY
    if not _observed(obj):
        return Verdict(waiting="the deployment controller has not seen it yet")
    progressing = condition(obj, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(waiting=f"{_ready_of(obj)}: {progressing.get('message', 'no progress within its deadline')}", failed=True)
    wanted = number(obj, "spec", "replicas", default=1)
    updated, total = number(obj, "status", "updatedReplicas"), number(obj, "status", "replicas")
    if updated < wanted or number(obj, "status", "availableReplicas") < wanted:
        return Verdict(waiting=_ready_of(obj))
    if total > updated:
        return Verdict(waiting=f"{total - updated} replicas of the previous version are still there")
    return READY


def _ready_of(obj: Object) -> str:
    wanted = number(obj, "spec", "replicas", default=1)
    updated = number(obj, "status", "updatedReplicas")
    # Ready pods of the previous version must not be counted: during a rollout they hide that the new ones are not.
    ready = number(obj, "status", "readyReplicas") - max(0, number(obj, "status", "replicas") - updated)
    return f"{max(0, min(ready, wanted))} of {wanted} replicas ready"


def _stateful_set(obj: Object, _facts: Facts) -> Verdict:
    if lookup(obj, ("spec", "updateStrategy", "type")) == "OnDelete":
        return READY
    if not _observed(obj):
        return Verdict(waiting="the statefulset controller has not seen it yet")
    wanted = number(obj, "spec", "replicas", default=1)
    ready = number(obj, "status", "readyReplicas")
    if ready < wanted:
        return Verdict(waiting=f"{ready} of {wanted} replicas ready")
    partition = number(obj, "spec", "updateStrategy", "rollingUpdate", "partition")
    updated = number(obj, "status", "updatedReplicas")
    rolled = lookup(obj, ("status", "currentRevision")) == lookup(obj, ("status", "updateRevision"))
    if partition:
        rolled = updated >= max(0, wanted - partition)
    return READY if rolled or wanted == 0 else Verdict(waiting=f"{updated} of {wanted} replicas updated")


def _daemon_set(obj: Object, _facts: Facts) -> Verdict:
    if not _observed(obj):
        return Verdict(waiting="the daemonset controller has not seen it yet")
    wanted = number(obj, "status", "desiredNumberScheduled")
    available = number(obj, "status", "numberAvailable")
    updated = number(obj, "status", "updatedNumberScheduled")
    if lookup(obj, ("spec", "updateStrategy", "type")) != "OnDelete" and updated < wanted:
        return Verdict(waiting=f"{updated} of {wanted} pods updated")
    return READY if available >= wanted else Verdict(waiting=f"{available} of {wanted} pods ready")


def _job(obj: Object, _facts: Facts) -> Verdict:
    if lookup(obj, ("spec", "suspend")) is True or holds(obj, "Complete"):
        return READY
    if holds(obj, "Failed"):
        failed = condition(obj, "Failed")
        return Verdict(waiting=f"failed: {failed.get('reason', '')}: {failed.get('message', '')}", failed=True)
    done, wanted = number(obj, "status", "succeeded"), number(obj, "spec", "completions", default=1)
    return Verdict(waiting=f"{done} of {wanted} completions")


def _pod(obj: Object, _facts: Facts) -> Verdict:
    phase = lookup(obj, ("status", "phase"))
    if phase == "Succeeded" or holds(obj, "Ready"):
        return READY
    return Verdict(waiting=f"it is {phase or 'not scheduled yet'}", failed=phase == "Failed")


def _service(obj: Object, facts: Facts) -> Verdict:
    spec = obj.get("spec") or {}
    kind = spec.get("type", "ClusterIP")
    if kind == "LoadBalancer" and not lookup(obj, ("status", "loadBalancer", "ingress")):
        return Verdict(waiting="no load balancer address has been given to it")
    if kind == "ExternalName" or spec.get("clusterIP") == "None" or not spec.get("selector"):
        return READY
    ready = any(
        (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses")
        for endpoints in facts.get("endpoints", [])
        for endpoint in endpoints.get("endpoints") or []
    )
    return READY if ready else Verdict(waiting=f"no ready pod matches its selector {_selector(spec['selector'])}")


def _selector(labels: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _claim(obj: Object, facts: Facts) -> Verdict:
    phase = lookup(obj, ("status", "phase"))
    if phase == "Bound":
        return READY
    if phase == "Lost":
        return Verdict(waiting="its volume is lost", failed=True)
    name = lookup(obj, ("spec", "storageClassName"))
    for storage_class in facts.get("classes", []):
        if lookup(storage_class, ("metadata", "name")) == name:
            if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
                return READY  # bound when the first pod uses it, which may be made only after this
            return Verdict(waiting=f"not bound to a volume (storage class {name})")
    return Verdict(waiting=f"not bound to a volume ({f'there is no storage class {name}' if name else 'no storage class'})")


def _namespace(obj: Object, _facts: Facts) -> Verdict:
    phase = lookup(obj, ("status", "phase"))
    return READY if phase == "Active" else Verdict(waiting=f"it is {phase or 'not active yet'}", failed=phase == "Terminating")


def _definition(obj: Object, _facts: Facts) -> Verdict:
    refused = condition(obj, "NamesAccepted")
    if refused.get("status") == "False":
        return Verdict(waiting=f"its names are not accepted: {refused.get('message', '')}", failed=True)
    return READY if holds(obj, "Established") else Verdict(waiting="not established")


def _ingress(obj: Object, _facts: Facts) -> Verdict:
    given = lookup(obj, ("status", "loadBalancer", "ingress"))
    return READY if given else Verdict(waiting="no ingress controller has given it an address")


def _secret(obj: Object, _facts: Facts) -> Verdict:
    token = obj.get("type") == "kubernetes.io/service-account-token" and not lookup(obj, ("data", "token"))
    return Verdict(waiting="its token has not been filled in") if token else READY


_RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Namespace"): _namespace,
    ("", "Secret"): _secret,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("networking.k8s.io", "Ingress"): _ingress,
}
