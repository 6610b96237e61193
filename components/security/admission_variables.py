"""What the rules of admission share, in CEL. Pure."""

import json
from collections.abc import Iterable

from ..base import PACKAGE, PART_OF

OURS = f"'{PART_OF}' in {{0}} && {{0}}['{PART_OF}'] == '{PACKAGE}'"
"""Whether labels have the one of the platform."""

COMMANDS = ("leaderworkerset.sigs.k8s.io/", "ray.io/")
"""Beginnings of labels by which the controllers of replicas on several nodes find their pods."""

_BUILT_IN = ("apps/v1", "batch/v1", "v1")
"""Owners of what deployers have: workloads they make themselves. Every other owner is the platform's, as are its controllers."""

_TEMPLATED = (
    "/ReplicationController",
    "apps/DaemonSet",
    "apps/Deployment",
    "apps/ReplicaSet",
    "apps/StatefulSet",
    "batch/Job",
)
"""Group and kind of what has a pod template in `spec.template`."""


def variables() -> dict[str, str]:
    """What the rules share, by name. `dyn` since the fields of each kind are others, and the API server would warn of each."""
    empty_or = "has(variables.spec.{0}) ? variables.spec.{0} : []"
    containers = (f"({empty_or.format(role)})" for role in ("containers", "initContainers", "ephemeralContainers"))
    labelled = (
        "has(o.metadata.labels) && "
        f"(({OURS.format('o.metadata.labels')}) || o.metadata.labels.exists(k, {begins('k', COMMANDS)}))"
    )
    owned = f"has(o.metadata.ownerReferences) && o.metadata.ownerReferences.exists(r, !(r.apiVersion in {listed(_BUILT_IN)}))"
    templates = "dyn(object).spec.volumeClaimTemplates"
    ephemeral = "has(v.ephemeral) && has(v.ephemeral.volumeClaimTemplate)"
    return {
        "kind": "request.kind.group + '/' + request.kind.kind",
        "template": _template("object"),
        "templateBefore": _template("oldObject"),
        "spec": "variables.template == null ? dyn({}) : variables.template.spec",
        "labels": _labels("variables.template"),
        "labelsBefore": _labels("variables.templateBefore"),
        "containers": " + ".join(containers),
        "volumes": empty_or.format("volumes"),
        "claimTemplates": f"variables.kind == 'apps/StatefulSet' && object != null && has({templates}) ? {templates} : dyn([])",
        "claims": (
            "(variables.kind == '/PersistentVolumeClaim' && request.operation == 'CREATE' ? [dyn(object).spec] : []) + "
            "variables.claimTemplates.map(t, t.spec) + "
            f"variables.volumes.filter(v, {ephemeral}).map(v, v.ephemeral.volumeClaimTemplate.spec)"
        ),
        "ours": (
            f"[dyn(object), dyn(oldObject)].exists(o, o != null && (({labelled}) || ({owned}))) || "
            f"({OURS.format('variables.labelsBefore')})"
        ),
    }


def _template(of: str) -> str:
    """The pod template of an object; null where it has none."""
    return (
        f"{of} == null ? dyn(null) : variables.kind in {listed(_TEMPLATED)} ? dyn({of}).spec.template : "
        f"variables.kind == 'batch/CronJob' ? dyn({of}).spec.jobTemplate.spec.template : "
        f"variables.kind == '/Pod' ? dyn({of}) : dyn(null)"
    )


def _labels(template: str) -> str:
    has = f"{template} != null && has({template}.metadata) && has({template}.metadata.labels)"
    return f"{has} ? {template}.metadata.labels : dyn({{}})"


def begins(name: str, prefixes: Iterable[str]) -> str:
    """Whether the text of that name begins with one of `prefixes`."""
    return " || ".join(f"{name}.startsWith('{prefix}')" for prefix in prefixes)


def listed(values: Iterable[str]) -> str:
    """As CEL writes it, which reads the escapes of JSON."""
    return json.dumps(sorted(values))
