"""Accelerators: who offers them, who gets them, when nodes with them go."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from components.serving.invariants import START, tolerated
from planner.timeouts import LEAST_CONSOLIDATE_AFTER
from policy_pack.pools import NODE_GROUP, NODE_POOL, Pool, keeps_others_away, pools, seconds
from policy_pack.resources import Pod, Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity, each_pod
from policy_pack.rules.pods import accelerators
from policy_pack.values import as_far_as_known, at, listed, maybe

_PLUGINS_DIRECTORY = "/var/lib/kubelet/device-plugins"
_RELEASE = "kubernetes:helm.sh/v3:Release"
_ONCE = frozenset(
    {"cert-manager", "external-secrets", "gpu-operator", "karpenter", "keda", "kuberay-operator", "lws", "sealed-secrets"}
)
"""Charts of controllers that act on a whole cluster."""


def _asks(pod: Pod) -> bool | None:
    """Whether the pod asks for accelerators; None where one of its containers that is not known yet may."""
    answers = [maybe(_has_some, container) for _, container in pod.containers]
    every_one = maybe(lambda: [*listed(pod.spec, "containers"), *listed(pod.spec, "initContainers")])
    if True in answers:
        return True
    return None if every_one is None or len(every_one) > len(answers) or None in answers else False


def _has_some(container: Mapping[str, Any]) -> bool:
    return bool(accelerators(container))


def _requested(pod: Pod) -> Iterator[str]:
    if _asks(pod) and not any(_for_accelerators(toleration) for toleration in at(pod.spec, "tolerations", default=[])):
        yield "it asks for accelerators and tolerates none of their taints, so only nodes that everybody may use can take it"


def _unused(pod: Pod) -> Iterator[str]:
    # One on every node serves the node; a Job gives its place back.
    if pod.owner.kind in ("DaemonSet", "Job") or _asks(pod) is not False:
        return
    for toleration in at(pod.spec, "tolerations", default=[]):
        if _for_accelerators(toleration):
            yield f"it asks for no accelerator and tolerates {at(toleration, 'key', default='every taint')}"


def _for_accelerators(toleration: Any) -> bool:
    key = at(toleration, "key", default="")
    return keeps_others_away(key) if key else at(toleration, "operator") == "Exists"


def _tainted(stack: Stack) -> Iterator[Finding]:
    for pool in pools(stack):
        if pool.accelerators and maybe(_is_shared, pool):
            yield Finding(pool.resource, "its nodes have accelerators and no taint, so any pod may fill them")


def _is_shared(pool: Pool) -> bool:
    return not any(at(taint, "effect") in ("NoSchedule", "NoExecute") for taint in pool.taints)


def _one_owner(stack: Stack) -> Iterator[Finding]:
    owners: defaultdict[object, list[Resource]] = defaultdict(list)
    for release in stack.of(_RELEASE):
        if maybe(_brings_plugin, release):
            owners["NVIDIA"].append(release)
            yield from as_far_as_known(_beside_its_own, stack, release)
    for plugin in stack.kinds("DaemonSet"):
        for found in as_far_as_known(_plugin, plugin):
            owners[found].append(plugin)
    for first, *others in owners.values():
        for second in others:
            yield Finding(second, f"{first.shown} is a device plugin for the same devices on the same nodes")


def _brings_plugin(release: Resource) -> bool:
    chart = _chart(release)
    operator = chart == "gpu-operator" and at(release.properties, "values", "devicePlugin", "enabled", default=True)
    return chart == "nvidia-device-plugin" or bool(operator)


def _beside_its_own(stack: Stack, release: Resource) -> Iterator[Finding]:
    """Nodes that bring a plugin (github.com/bottlerocket-os/bottlerocket, variants aws-k8s-*-nvidia) where this one goes too."""
    placed = any(at(release.properties, "values", key) for key in ("affinity", "nodeSelector"))
    for group in stack.of(NODE_GROUP):
        kind = group.properties.get("amiType")
        if not placed and isinstance(kind, str) and kind.startswith("BOTTLEROCKET") and kind.endswith("NVIDIA"):
            yield Finding(release, f"the nodes of {group.shown} bring a device plugin, and this one runs there too")


def _plugin(resource: Resource) -> Iterator[tuple[str, str]]:
    """The image's repository and the nodes of a device plugin."""
    spec = at(resource.properties, "spec", "template", "spec", default={})
    if any(
        at(volume, "hostPath", "path", default="").startswith(_PLUGINS_DIRECTORY) for volume in at(spec, "volumes", default=[])
    ):
        nodes = at(spec, "nodeSelector") or at(spec, "affinity", "nodeAffinity")
        for container in at(spec, "containers", default=[]):
            yield at(container, "image").partition("@")[0].rpartition(":")[0], str(nodes or "any label")


def _chart(release: Resource) -> str:
    return str(at(release.properties, "chart", default="")).rstrip("/").rpartition("/")[2]


def _of_whole_cluster(release: Resource) -> Iterator[str]:
    if (chart := _chart(release)) in _ONCE:
        yield chart


def _one_operator(stack: Stack) -> Iterator[Finding]:
    seen: dict[str, Resource] = {}
    for release in stack.of(_RELEASE):
        for chart in as_far_as_known(_of_whole_cluster, release):
            if seen.setdefault(chart, release) is not release:
                yield Finding(
                    release, f"{seen[chart].shown} installs the chart {chart} already, and both would act on the same objects"
                )


def _consolidation(stack: Stack) -> Iterator[Finding]:
    starts = [start for pod in stack.pods for start in as_far_as_known(_start, pod)]
    for pool in pools(stack):
        if pool.resource.type == NODE_POOL and pool.accelerators:
            yield from as_far_as_known(_keeps, pool, starts)


def _keeps(pool: Pool, starts: list[tuple[Pod, float]]) -> Iterator[Finding]:
    disruption = at(pool.resource.properties, "spec", "disruption", default={})
    closed = any(
        # One with a schedule closes for some hours only.
        str(at(budget, "nodes")) in ("0", "0%")
        and not at(budget, "schedule")
        and "Underutilized" in at(budget, "reasons", default=["Underutilized"])
        for budget in at(disruption, "budgets", default=[])
    )
    if at(disruption, "consolidationPolicy", default="WhenEmptyOrUnderutilized") != "WhenEmpty" and not closed:
        yield Finding(pool.resource, "Karpenter takes nodes away while models are loading or serving on them")
    # Karpenter waits for nothing where nothing is stated.
    waits = seconds(at(disruption, "consolidateAfter", default="0s"))
    slowest = max((start for pod, start in starts if maybe(_may_land, pod, pool)), default=0.0)
    if waits < (needed := max(float(LEAST_CONSOLIDATE_AFTER), slowest)):
        yield Finding(
            pool.resource, f"a node goes {waits:.0f} s after its last pod, and the next start takes up to {needed:.0f} s"
        )


def _start(pod: Pod) -> Iterator[tuple[Pod, float]]:
    if said := at(pod.owner.properties, "metadata", "annotations", START):
        yield pod, float(said)


def _may_land(pod: Pod, pool: Pool) -> bool:
    tolerations = at(pod.spec, "tolerations", default=[])
    return all(any(tolerated(taint, each) for each in tolerations) for taint in pool.taints)


RULES = (
    Rule(
        id="accelerator-request",
        title="Pods that ask for accelerators go to nodes that are kept for them.",
        reason="Nodes with accelerators that are not tainted fill up with other pods, and the model finds no place.",
        remedy="taint the nodes, e.g. nvidia.com/gpu=present:NoSchedule, and let the pod tolerate that",
        source="https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#example-use-cases",
        severity=Severity.MEDIUM,
        resource=each_pod(_requested),
    ),
    Rule(
        id="accelerator-unused",
        title="What runs for long without an accelerator stays away from nodes with accelerators.",
        reason="The CPU and memory they take there belong to a model, and the node is the dearest there is.",
        remedy="remove the toleration",
        source="https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#example-use-cases",
        severity=Severity.LOW,
        resource=each_pod(_unused),
    ),
    Rule(
        id="accelerator-taint",
        title="Nodes with accelerators have a taint.",
        reason="Without one every pod may take their CPU and memory, and no model fits any more.",
        remedy="taint them, e.g. nvidia.com/gpu=present:NoSchedule",
        source="https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#example-use-cases",
        severity=Severity.MEDIUM,
        stack=_tainted,
    ),
    Rule(
        id="device-plugin-once",
        title="Devices have one device plugin.",
        reason="Two offer every device twice, so two pods get the same one.",
        remedy="keep one",
        source="https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        stack=_one_owner,
    ),
    Rule(
        id="operator-once",
        title="A controller of the whole cluster is installed once.",
        reason="Two of them change the same objects in turn.",
        remedy="keep one release",
        source="https://helm.sh/docs/chart_best_practices/custom_resource_definitions/",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        stack=_one_operator,
    ),
    Rule(
        id="karpenter-consolidation",
        title="Karpenter leaves nodes with accelerators alone for as long as a model takes to start.",
        reason="It else removes nodes while images are pulled and models load, and the next start begins from nothing.",
        remedy="set consolidationPolicy: WhenEmpty and a consolidateAfter above the whole cold start",
        source="https://github.com/aws/karpenter-provider-aws/issues/7414",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        stack=_consolidation,
    ),
)
