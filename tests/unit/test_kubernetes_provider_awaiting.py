"""When an object counts as ready, and what is said when it does not."""

import asyncio
from typing import Any

import pytest

from sandbox.providers.contract import ProviderError
from sandbox.providers.kubernetes.awaiting import wait_for
from sandbox.providers.kubernetes.awaiting.loop import NotReadyError, time_limit, until_gone, until_ready
from sandbox.providers.kubernetes.awaiting.reasons import Evidence, explain, of_pod
from sandbox.providers.kubernetes.awaiting.rules import Verdict, has_rule, judge
from sandbox.providers.kubernetes.client import Kind


def obj(kind: str, api_version: str = "v1", *, spec: Any = None, generation: int = 1, **status: Any) -> dict[str, Any]:
    found = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "qwen", "namespace": "models", "generation": generation},
        "status": status,
    }
    return found | ({"spec": spec} if spec is not None else {})


def true(kind: str, **more: str) -> dict[str, str]:
    return {"type": kind, "status": "True", **more}


def false(kind: str, **more: str) -> dict[str, str]:
    return {"type": kind, "status": "False", **more}


def deployment(**status: Any) -> dict[str, Any]:
    return obj("Deployment", "apps/v1", spec={"replicas": 2}, **{"observedGeneration": 1, **status})


DONE: dict[str, Any] = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
STUCK = [false("Progressing", reason="ProgressDeadlineExceeded", message="timed out progressing")]
SET: dict[str, Any] = {
    "observedGeneration": 1,
    "readyReplicas": 2,
    "updatedReplicas": 2,
    "currentRevision": "b",
    "updateRevision": "b",
}
DAEMON: dict[str, Any] = {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}


@pytest.mark.parametrize(
    ("live", "waiting"),
    [
        (deployment(**DONE), ""),
        (obj("Deployment", "apps/v1", spec={"replicas": 0}, observedGeneration=1), ""),
        (obj("Deployment", "apps/v1", spec={"paused": True}), ""),
        (deployment(**DONE | {"observedGeneration": 0}), "the deployment controller has not seen it yet"),
        (deployment(), "0 of 2 replicas ready"),
        (deployment(**DONE | {"readyReplicas": 1, "availableReplicas": 1}), "1 of 2 replicas ready"),
        (deployment(**DONE | {"availableReplicas": 1}), "2 of 2 replicas ready"),
        (
            obj("Deployment", "apps/v1", spec={"replicas": 1}, observedGeneration=1, **DONE | {"updatedReplicas": 1}),
            "1 replicas of the previous version",
        ),
        (obj("StatefulSet", "apps/v1", spec={"replicas": 2}, **SET), ""),
        (obj("StatefulSet", "apps/v1", spec={"replicas": 2}, **SET | {"readyReplicas": 1}), "1 of 2 replicas ready"),
        (
            obj("StatefulSet", "apps/v1", spec={"replicas": 2}, **SET | {"currentRevision": "a", "updatedReplicas": 1}),
            "1 of 2 replicas updated",
        ),
        (obj("StatefulSet", "apps/v1", spec={"updateStrategy": {"type": "OnDelete"}}), ""),
        (obj("DaemonSet", "apps/v1", spec={}, **DAEMON), ""),
        (obj("DaemonSet", "apps/v1", spec={}, **DAEMON | {"numberAvailable": 1}), "1 of 2 pods ready"),
        (obj("DaemonSet", "apps/v1", spec={}, **DAEMON | {"updatedNumberScheduled": 0}), "0 of 2 pods updated"),
        (obj("Job", "batch/v1", spec={}, conditions=[true("Complete")]), ""),
        (obj("Job", "batch/v1", spec={"suspend": True}), ""),
        (obj("Job", "batch/v1", spec={"completions": 3}, succeeded=1), "1 of 3 completions"),
        (obj("Pod", conditions=[true("Ready")], phase="Running"), ""),
        (obj("Pod", phase="Succeeded"), ""),
        (obj("Pod", phase="Pending"), "it is Pending"),
        (obj("Namespace", phase="Active"), ""),
        (obj("CustomResourceDefinition", "apiextensions.k8s.io/v1", conditions=[true("Established")]), ""),
        (obj("CustomResourceDefinition", "apiextensions.k8s.io/v1"), "not established"),
        (obj("Ingress", "networking.k8s.io/v1"), "no ingress controller"),
        (obj("ServiceAccount"), ""),
        (obj("Toy", "example.com/v1"), ""),
        (obj("Deployment", "example.com/v1"), ""),
    ],
)
def test_readiness(live: dict[str, Any], waiting: str) -> None:
    verdict = judge(live, {})
    assert verdict.ready == (not waiting)
    assert verdict.waiting.startswith(waiting)
    assert not verdict.failed


@pytest.mark.parametrize(
    ("live", "waiting"),
    [
        (deployment(conditions=STUCK), "0 of 2 replicas ready: timed out progressing"),
        (
            obj("Job", "batch/v1", conditions=[true("Failed", reason="BackoffLimitExceeded", message="m")]),
            "failed: BackoffLimitExceeded: m",
        ),
        (obj("Pod", phase="Failed"), "it is Failed"),
        (obj("PersistentVolumeClaim", phase="Lost"), "its volume is lost"),
        (
            obj("CustomResourceDefinition", "apiextensions.k8s.io/v1", conditions=[false("NamesAccepted", message="taken")]),
            "its names are not accepted: taken",
        ),
    ],
)
def test_waiting_longer_would_not_help(live: dict[str, Any], waiting: str) -> None:
    assert judge(live, {}) == Verdict(waiting=waiting, failed=True)


def endpoints(*, ready: bool) -> dict[str, Any]:
    return {"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]}


@pytest.mark.parametrize(
    ("spec", "slices", "status", "ready"),
    [
        ({"selector": {"a": "b"}}, [endpoints(ready=True)], {}, True),
        ({"selector": {"a": "b"}}, [endpoints(ready=False)], {}, False),
        ({"selector": {"a": "b"}}, [], {}, False),
        ({"selector": {"a": "b"}, "clusterIP": "None"}, [], {}, True),
        ({"type": "ExternalName", "selector": {"a": "b"}}, [], {}, True),
        ({}, [], {}, True),
        ({"type": "LoadBalancer"}, [], {}, False),
        ({"type": "LoadBalancer"}, [], {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}, True),
    ],
)
def test_services(spec: dict[str, Any], slices: list[dict[str, Any]], status: dict[str, Any], ready: bool) -> None:
    assert judge(obj("Service", spec=spec, **status), {"endpoints": slices}).ready == ready


def storage_class(mode: str) -> dict[str, Any]:
    return {"metadata": {"name": "fast"}, "volumeBindingMode": mode}


@pytest.mark.parametrize(
    ("classes", "waiting"),
    [
        ([storage_class("WaitForFirstConsumer")], ""),
        ([storage_class("Immediate")], "not bound to a volume (storage class fast)"),
        ([], "not bound to a volume (there is no storage class fast)"),
    ],
)
def test_claims(classes: list[dict[str, Any]], waiting: str) -> None:
    claim = obj("PersistentVolumeClaim", spec={"storageClassName": "fast"}, phase="Pending")
    assert judge(claim, {"classes": classes}).waiting == waiting
    assert judge(obj("PersistentVolumeClaim", phase="Bound"), {}).ready


UNSCHEDULABLE = (
    "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/2 nodes are available: "
    "2 No preemption victims found for incoming pod."
)


def pod(name: str = "qwen-abc", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"phase": "Pending", **status}}


def container(**state: Any) -> dict[str, Any]:
    return {"name": "vllm", "restartCount": 4, **state}


def event(reason: str, message: str, about: str = "qwen-abc") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"name": about}}


@pytest.mark.parametrize(
    ("found", "events", "expected"),
    [
        (
            pod(conditions=[false("PodScheduled", message=UNSCHEDULABLE)]),
            [],
            "is Pending: 0/2 nodes are available: 2 Insufficient nvidia.com/gpu",
        ),
        (
            pod(
                containerStatuses=[
                    container(state={"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image x"}})
                ]
            ),
            [],
            "container vllm waits: ImagePullBackOff: Back-off pulling image x",
        ),
        (
            pod(
                containerStatuses=[
                    container(
                        state={"waiting": {"reason": "CrashLoopBackOff"}},
                        lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    )
                ]
            ),
            [],
            "container vllm crashes again and again (4 restarts): it exited with 137 (OOMKilled)",
        ),
        (pod(containerStatuses=[container(state={"waiting": {"reason": "ContainerCreating"}})]), [], ""),
        (
            pod(conditions=[false("ContainersReady", message="containers with unready status: [vllm]")], phase="Running"),
            [event("Unhealthy", "Readiness probe failed: connection refused")],
            "Unhealthy: Readiness probe failed: connection refused",
        ),
        (
            pod(conditions=[false("ContainersReady", message="containers with unready status: [vllm]")], phase="Running"),
            [],
            "is Running: containers with unready status: [vllm]",
        ),
        (pod(phase="Failed", reason="Evicted", message="disk"), [], "Failed: Evicted disk"),
        (pod(), [event("FailedMount", "secret not found")], "FailedMount: secret not found"),
        ({"metadata": {"name": "x", "deletionTimestamp": "t"}}, [], "is being deleted"),
    ],
)
def test_why_a_pod_is_not_ready(found: dict[str, Any], events: list[dict[str, Any]], expected: str) -> None:
    assert of_pod(found, events) == expected


def test_the_whole_sentence() -> None:
    pods = [pod(f"qwen-{name}", conditions=[false("PodScheduled", message=UNSCHEDULABLE)]) for name in "abc"]
    text = explain(deployment(), "0 of 1 replicas ready", 60.4, Evidence(pods=pods))
    assert text == (
        "Deployment models/qwen: 0 of 1 replicas ready after 60 s: pod qwen-a is Pending: "
        "0/2 nodes are available: 2 Insufficient nvidia.com/gpu"
    )


def test_refused_pods_are_explained_by_the_events_of_their_owner() -> None:
    refused = 'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest"'
    evidence = Evidence(
        owners=[{"metadata": {"name": "qwen-5d"}}], events=[event("FailedCreate", refused, "qwen-5d"), event("Odd", "no", "z")]
    )
    assert (
        explain(deployment(), "0 of 1 replicas ready", 0, evidence)
        == f"Deployment models/qwen: 0 of 1 replicas ready: FailedCreate: {refused}"
    )


def test_unbound_claims_are_named() -> None:
    claim = {"metadata": {"name": "cache"}, "status": {"phase": "Pending"}}
    evidence = Evidence(claims=[claim], events=[event("ProvisioningFailed", "no such class.", "cache")])
    assert explain(deployment(), "w", 0, evidence).endswith("claim cache is not bound: no such class")


LIVE = {
    "spec": {"ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 81}]},
    "status": {"phase": "Running", "ready": True, "conditions": [true("Ready"), false("Synced")]},
}


@pytest.mark.parametrize(
    ("annotation", "ready"),
    [
        ("condition=Ready", True),
        ("condition=Synced", False),
        ("condition=Synced=False", True),
        ("condition=Missing", False),
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath={.status.phase}=Done", False),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.nothing}", False),
        ("jsonpath=.status.phase=Running", True),
        ("jsonpath={.status.ready}=true", True),
        ("jsonpath={.spec.ports[1].port}=81", True),
        ("jsonpath={.spec.ports[-1].name}=grpc", True),
        ("jsonpath={.spec.ports[*].port}=80", False),
        ('jsonpath={.spec.ports[?(@.name=="http")].port}=80', True),
        ('jsonpath=.spec.ports[?(@.name=="http")].port=80', True),
        ('["condition=Ready", "jsonpath={.status.phase}=Running"]', True),
        ('["condition=Ready", "condition=Synced"]', False),
    ],
)
def test_conditions_of_the_user_s_own(annotation: str, ready: bool) -> None:
    assert wait_for.judge(wait_for.parse(annotation), LIVE).ready == ready


@pytest.mark.parametrize(
    ("of_condition", "of_status", "ready"),
    [
        ({}, {}, True),
        ({"observedGeneration": 2}, {}, True),
        ({"observedGeneration": 1}, {"observedGeneration": 2}, False),
        ({}, {"observedGeneration": 1}, False),
        ({}, {"observedGeneration": 2}, True),
    ],
)
def test_what_was_said_of_an_earlier_generation_does_not_count(
    of_condition: dict[str, Any], of_status: dict[str, Any], ready: bool
) -> None:
    condition = {"type": "Available", "status": "True", **of_condition}
    live = {"metadata": {"generation": 2}, "status": {"conditions": [condition], **of_status}}
    assert wait_for.judge(wait_for.parse("condition=Available"), live).ready is ready


@pytest.mark.parametrize(
    "annotation", ["", "Ready", "condition=", "jsonpath=", "jsonpath={.a[1:2]}", "jsonpath={..a}", "[1", "jsonpath={.a"]
)
def test_what_is_not_understood_is_refused(annotation: str) -> None:
    with pytest.raises(ProviderError, match="is not understood"):
        wait_for.parse(annotation)


@pytest.mark.parametrize(
    ("kind", "annotations", "custom", "expected"),
    [
        ("Deployment", {}, 0.0, 600.0),
        ("PersistentVolumeClaim", {}, 0.0, 300.0),
        ("Deployment", {"pulumi.com/timeoutSeconds": "7"}, 0.0, 7.0),
        ("Deployment", {"pulumi.com/timeoutSeconds": "7"}, 9.0, 9.0),
        ("Deployment", {"pulumi.com/timeoutSeconds": "soon"}, 0.0, 600.0),
    ],
)
def test_time_limits(kind: str, annotations: dict[str, str], custom: float, expected: float) -> None:
    assert time_limit({"kind": kind, "metadata": {"annotations": annotations}}, custom) == expected


class FakeCluster:
    """Serves one object, each version in turn, and announces every change."""

    def __init__(self, *versions: dict[str, Any] | None) -> None:
        self.versions = list(versions)

    async def get(self, _kind: Kind, _obj: dict[str, Any]) -> dict[str, Any] | None:
        return self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]

    async def list(self, *_args: object, **_selectors: str) -> list[dict[str, Any]]:
        return []

    async def signal_changes(self, _path: str, _selectors: object, changed: asyncio.Event) -> None:
        while True:
            changed.set()
            await asyncio.sleep(0)


KIND = Kind("/apis/apps/v1", "deployments", namespaced=True)


def wait(cluster: FakeCluster, limit: float, *, cancel: bool = False) -> tuple[dict[str, Any], list[str]]:
    told: list[str] = []

    async def report(text: str) -> None:
        told.append(text)

    async def run() -> dict[str, Any]:
        cancelled = asyncio.Event()
        if cancel:
            asyncio.get_running_loop().call_later(0.05, cancelled.set)
        first = deployment()
        return await until_ready(cluster, KIND, first, first, limit=limit, cancelled=cancelled, report=report)  # type: ignore[arg-type]

    return asyncio.run(run()), told


def test_waiting_ends_when_it_is_ready_and_reports_progress_once() -> None:
    half = deployment(**DONE | {"readyReplicas": 1, "availableReplicas": 1})
    live, told = wait(FakeCluster(deployment(), half, half, deployment(**DONE)), limit=30)
    assert live == deployment(**DONE)
    assert told == ["0 of 2 replicas ready", "1 of 2 replicas ready", "ready"]


@pytest.mark.parametrize(
    ("cluster", "limit", "cancel", "expected"),
    [
        (FakeCluster(deployment()), 0.05, False, "Deployment models/qwen: 0 of 2 replicas ready"),
        (FakeCluster(deployment()), 60, True, "Deployment models/qwen: cancelled after 0 s: 0 of 2 replicas ready"),
        (
            FakeCluster(deployment(conditions=STUCK)),
            60,
            False,
            "Deployment models/qwen: 0 of 2 replicas ready: timed out progressing",
        ),
        (FakeCluster(None), 60, False, "Deployment models/qwen: deleted by someone else while it was awaited"),
    ],
)
def test_waiting_ends_with_the_reason(cluster: FakeCluster, limit: float, cancel: bool, expected: str) -> None:
    with pytest.raises(NotReadyError) as caught:
        wait(cluster, limit, cancel=cancel)
    assert str(caught.value) == expected


def gone(*versions: dict[str, Any] | None, limit: float = 30) -> None:
    asyncio.run(until_gone(FakeCluster(*versions), KIND, deployment(), limit, asyncio.Event()))  # type: ignore[arg-type]


def test_a_deletion_is_over_when_the_object_is_gone_or_another() -> None:
    first = {"metadata": {"name": "a", "uid": "1"}}
    gone(first, first, None)
    gone(first, {"metadata": {"name": "a", "uid": "2"}})


def test_a_deletion_that_hangs_names_the_finalizers() -> None:
    held = {"kind": "Toy", "metadata": {"name": "a", "namespace": "n", "uid": "1", "finalizers": ["x.io/hold"]}}
    with pytest.raises(NotReadyError, match=r"Toy n/a: not deleted after 0 s: the finalizers x\.io/hold are not removed"):
        gone(held, limit=0.05)


@pytest.mark.parametrize(
    ("api_version", "kind", "awaited"),
    [
        ("apps/v1", "StatefulSet", True),
        ("v1", "PersistentVolumeClaim", True),
        ("autoscaling/v2", "HorizontalPodAutoscaler", False),
        ("apiregistration.k8s.io/v1", "APIService", False),
        ("keda.sh/v1alpha1", "ScaledObject", False),
        ("monitoring.coreos.com/v1", "PrometheusRule", False),
    ],
)
def test_kinds_are_awaited_as_by_the_official_provider(api_version: str, kind: str, awaited: bool) -> None:
    """Its table is provider/pkg/await/awaiters.go of pulumi/pulumi-kubernetes."""
    assert has_rule(obj(kind, api_version)) is awaited
