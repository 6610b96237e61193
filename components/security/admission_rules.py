"""The rules of admission for those who deploy into a tenant's namespaces, in CEL. Pure.

Each is an expression that holds for what is admitted and a sentence for what is not. A rule about one kind asks first whether the
object at hand is of it; the variables are empty where there is no pod template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..base import PACKAGE, PART_OF
from .admission_variables import COMMANDS, OURS, begins, listed

_DEVICES = "NVIDIA_VISIBLE_DEVICES"
"""Environment by which NVIDIA's runtime gives a container devices that it never asked the scheduler for
(NVIDIA/nvidia-container-toolkit, "GPU Enumeration")."""

_OF_CONTROLLERS = (
    *COMMANDS,
    "app.kubernetes.io/created-by",
    "apps.kubernetes.io/",
    "batch.kubernetes.io/",
    "controller-",
    "job-name",
    "pod-template-hash",
    "statefulset.kubernetes.io/",
)
"""Beginnings of labels that controllers give pods beside those of their template (kubernetes.io, "Well-Known Labels, Annotations
and Taints"; ray-project/kuberay, ray-operator/controllers/ray/common/pod.go)."""


@dataclass(frozen=True)
class Allowed:
    """What the pods of those who deploy may name; by namespace where it is one's own."""

    accelerators: Sequence[str]
    """Extended resources by which the cluster offers them; how many is up to the quota."""
    priority_classes: Sequence[str]
    service_accounts: Mapping[str, Sequence[str]]
    secrets: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Reserved:
    """Objects of the platform that nothing of a deployer's may point at; `expression` compares with `params`."""

    api_version: str
    kind: str
    concerned: tuple[dict[str, Any], ...]
    expression: str
    message: str


def content_rules(allowed: Allowed) -> list[tuple[str, str]]:
    """About what is in an object: expressions and messages."""
    return [*_ownership(), *_pods(allowed), *_devices(allowed.accelerators), *_others()]


def reservations() -> dict[str, Reserved]:
    """What deployers may not point at, by the name of the policy."""
    workloads = (
        rule([""], ["pods", "pods/ephemeralcontainers", "replicationcontrollers"]),
        rule(["apps"], ["daemonsets", "deployments", "replicasets", "statefulsets"]),
        rule(["batch"], ["cronjobs", "jobs"]),
    )
    sources = " || ".join(
        f"(has(c.{field}) && c.{field}.kind == 'PersistentVolumeClaim' && c.{field}.name == params.metadata.name)"
        for field in ("dataSource", "dataSourceRef")
    )
    return {
        "claims": Reserved(
            "v1",
            "PersistentVolumeClaim",
            (*workloads, rule([""], ["persistentvolumeclaims"])),
            "!variables.volumes.exists(v, has(v.persistentVolumeClaim) && "
            "v.persistentVolumeClaim.claimName == params.metadata.name) && "
            f"!variables.claims.exists(c, {sources}) && "
            # A StatefulSet takes a claim that is there under the name it would give: template, set, number.
            "!variables.claimTemplates.exists(t, "
            "params.metadata.name.startsWith(t.metadata.name + '-' + dyn(object).metadata.name + '-'))",
            "volumes, dataSource and volumeClaimTemplates: this claim is the platform's, and its servers trust the weights in "
            "it; use a claim of your own, and another name where a template would name this one",
        ),
        "traffic": Reserved(
            "v1",
            "Service",
            workloads,
            # Of changes to its own objects the other policy speaks.
            "variables.ours || !has(params.spec.selector) || "
            "!params.spec.selector.all(k, k in variables.labels && variables.labels[k] == params.spec.selector[k])",
            "labels of the pod template: a Service of the platform would send its traffic to these pods; use other values, "
            "e.g. of app.kubernetes.io/instance",
        ),
        "disruption": Reserved(
            "v1",
            "Service",
            (rule(["policy"], ["poddisruptionbudgets"]),),
            "has(object.spec.selector) && has(object.spec.selector.matchLabels) && object.spec.selector.matchLabels.exists(k, "
            f"!({begins('k', _OF_CONTROLLERS)}) && "
            "!(k in params.metadata.labels && object.spec.selector.matchLabels[k] == params.metadata.labels[k]))",
            "selector: pods of the platform have a budget of their own, and with two they could not leave their node; "
            "select your own pods by matchLabels of their template",
        ),
        "scaling": Reserved(
            "apps/v1",
            "Deployment",
            (rule(["autoscaling"], ["horizontalpodautoscalers"]),),
            "dyn(object).spec.scaleTargetRef.name != params.metadata.name",
            "scaleTargetRef: this Deployment is the platform's; set replicas of the model in the stack file",
        ),
    }


def rule(groups: list[str], resources: list[str]) -> dict[str, Any]:
    """The making and changing of these resources in any namespace."""
    return {
        "apiGroups": groups,
        "apiVersions": ["*"],
        "resources": resources,
        "operations": ["CREATE", "UPDATE"],
        "scope": "Namespaced",
    }


def _ownership() -> list[tuple[str, str]]:
    """Rules about who an object belongs to."""
    commanding = " or ".join(COMMANDS)
    return [
        (
            "!variables.ours",
            f"objects with the label {PART_OF}: {PACKAGE}, and what controllers make for them, are the platform's; change what "
            f"it makes in the stack file, and leave the label out of your own, as well as owners and labels that begin with "
            f"{commanding}",
        ),
        (
            f"!({OURS.format('variables.labels')})",
            f"network policies let pods with the label {PART_OF}: {PACKAGE} pass as the platform's; "
            "leave the label out of the pod template, and ask for your client to be named in clients of the model",
        ),
        (
            f"!variables.labels.exists(k, {begins('k', COMMANDS)})",
            f"labels of the pod template that begin with {commanding} are for the controllers of replicas on several "
            "nodes; leave them out",
        ),
    ]


def _pods(allowed: Allowed) -> list[tuple[str, str]]:
    """Rules about pod templates; without one, the variables are empty and hold."""
    classes = sorted(allowed.priority_classes)
    accounts = _in_namespace(allowed.service_accounts, "variables.spec.serviceAccountName")

    def secret(name: str) -> str:
        return _in_namespace(allowed.secrets, name)

    mounted = " && ".join(
        (
            f"(!has(v.secret) || {secret('v.secret.secretName')})",
            f"(!has(v.csi) || !has(v.csi.nodePublishSecretRef) || {secret('v.csi.nodePublishSecretRef.name')})",
            "(!has(v.projected) || !has(v.projected.sources) || "
            f"v.projected.sources.all(s, !has(s.secret) || {secret('s.secret.name')}))",
        )
    )
    single = f"!has(e.valueFrom) || !has(e.valueFrom.secretKeyRef) || {secret('e.valueFrom.secretKeyRef.name')}"
    whole = f"!has(f.secretRef) || {secret('f.secretRef.name')}"
    pulled = f"variables.spec.imagePullSecrets.all(s, {secret('s.name')})"
    return [
        (
            f"!has(variables.spec.priorityClassName) || variables.spec.priorityClassName in {listed(classes)}",
            f"priorityClassName: the tenant's pods may have {_either(classes)} or none; use one of these or leave it out",
        ),
        (
            f"!has(variables.spec.serviceAccountName) || variables.spec.serviceAccountName == 'default' || {accounts}",
            "serviceAccountName: accounts give their pods rights in the cluster and the cloud, and this one is not granted to "
            "the tenant; leave it out, or ask for it in serviceAccounts of the namespace",
        ),
        (
            f"variables.volumes.all(v, {mounted}) && variables.containers.all(c, (!has(c.env) || c.env.all(e, {single})) && "
            f"(!has(c.envFrom) || c.envFrom.all(f, {whole}))) && (!has(variables.spec.imagePullSecrets) || {pulled})",
            "Secrets: pods may name those that are granted to the tenant only; ask for it in secrets of the namespace",
        ),
    ]


def _devices(accelerators: Sequence[str]) -> list[tuple[str, str]]:
    """Rules that keep devices behind the quota.

    NVIDIA's runtime obeys the environment of a container, that of its image too, and images made for GPUs ask for all. So on
    nodes with accelerators every container gets its devices from the scheduler, or says that it wants none.
    """
    none = f"e.name == '{_DEVICES}' && has(e.value) && e.value in ['none', 'void']"
    some = "quantity(c.resources.limits[r]).isGreaterThan(quantity('0'))"
    asks = f"has(c.resources) && has(c.resources.limits) && c.resources.limits.exists(r, r in {listed(accelerators)} && {some})"
    tolerates = (
        "has(variables.spec.tolerations) && "
        "variables.spec.tolerations.exists(t, !has(t.key) || !t.key.startsWith('node.kubernetes.io/'))"
    )
    # The scheduler writes the node into a pod that is there.
    placed = "has(variables.spec.nodeName) && !(variables.kind == '/Pod' && request.operation == 'UPDATE')"
    past = f"{_DEVICES} takes devices past the scheduler and the quota; remove it, and ask for accelerators in resources.limits"
    return [
        (f"variables.containers.all(c, !has(c.env) || c.env.all(e, e.name != '{_DEVICES}' || ({none})))", f"env: {past}"),
        (
            "variables.containers.all(c, !has(c.envFrom) || c.envFrom.all(f, !has(f.prefix) || f.prefix == '' || "
            f"!'{_DEVICES}'.startsWith(f.prefix)))",
            f"envFrom: with such a prefix a key could become {_DEVICES}, which takes devices past the quota; use another prefix",
        ),
        (
            f"variables.kind != '/ConfigMap' || object == null || !has(dyn(object).data) || !('{_DEVICES}' in dyn(object).data)",
            f"data: {past}",
        ),
        (
            f"!(has(variables.spec.runtimeClassName) || ({tolerates}) || ({placed})) || "
            f"variables.containers.all(c, ({asks}) || (has(c.env) && c.env.exists(e, {none})))",
            "tolerations, runtimeClassName and nodeName lead to nodes with accelerators, where a container that asks for none "
            f"could get all; ask for one in resources.limits of every container, or set {_DEVICES}: void in its env",
        ),
    ]


def _others() -> list[tuple[str, str]]:
    """Rules about objects that are no pods."""
    return [
        (
            "variables.claims.all(c, !has(c.volumeName) && "
            f"(!has(c.storageClassName) || !c.storageClassName.startsWith('{PACKAGE}-')))",
            "volumeName and storage classes of the platform: they name volumes of others; "
            "leave both to the cluster's own classes",
        ),
        (
            "variables.kind != '/Service' || object == null || !has(dyn(object).spec.externalIPs) || "
            "dyn(object).spec.externalIPs.size() == 0",
            "externalIPs: they take the traffic of addresses that belong to others; remove them",
        ),
        (
            "variables.kind != 'autoscaling/HorizontalPodAutoscaler' || object == null || "
            "dyn(object).spec.scaleTargetRef.kind == 'Deployment'",
            "scaleTargetRef: use a Deployment of your own, since whose a StatefulSet is its name does not say; "
            "a model is scaled by replicas in the stack file",
        ),
    ]


def _in_namespace(granted: Mapping[str, Sequence[str]], name: str) -> str:
    pairs = [f"{namespace}/{each}" for namespace, names in granted.items() for each in names]
    return f"(request.namespace + '/' + {name}) in {listed(pairs)}"


def _either(values: Sequence[str]) -> str:
    return ", ".join(values) or "no class"
