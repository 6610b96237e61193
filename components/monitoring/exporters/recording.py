"""Rules that give the accelerators of every vendor the same series, with the same labels and units. Pure.

Labels: vendor, node, accelerator (a UUID, or an index on the node), product; namespace, pod and model_name while a pod has it.
"""

from collections.abc import Sequence

from ...accelerators.profiles import Vendor
from ..facts import PoolFacts, StackFacts
from ..plan_rules import resource_of
from ..rules import Rule, RuleGroup, record
from .plan import JOBS
from .sources import Join, Replace, Series, Source, source

FAMILY = "accelerators"
_DEVICE = ("node", "accelerator", "product")
_HOLDER = ("namespace", "pod")
_ALONE = "accelerator:node_pod"
"""The one pod that asked for accelerators of its node."""


def accelerator_groups(facts: StackFacts) -> list[RuleGroup]:
    """The rules of the vendors that the stack has pools of, and of what nodes should offer."""
    vendors = sorted({Vendor(pool.vendor) for pool in facts.pools} & set(JOBS))
    groups = [RuleGroup(family=FAMILY, name=f"accelerators-{vendor}", rules=_of_vendor(vendor)) for vendor in vendors]
    offered = [rule for pool in facts.pools for rule in _of_pool(pool)]
    if offered:
        offered.append(record("accelerator:missing", "clamp_min(accelerator:expected - accelerator:allocatable, 0)"))
        groups.append(RuleGroup(family=FAMILY, name="accelerators-offered", rules=offered))
    return groups


def _of_vendor(vendor: Vendor) -> list[Rule]:
    known = source(vendor)
    rules = [record(_ALONE, _alone(known.resources), {"vendor": vendor.value})] if known.resources else []
    for name, series in known.series.items():
        found = _devices(known, series)
        if known.resources:
            alone = f'{_ALONE}{{vendor="{vendor}"}}'
            pods = f"group by (node, namespace, pod) ({alone})"
            found = f"({_extended(found, 'node', 'namespace, pod', pods, _DEVICE[:2])})"
        model = "max by (namespace, pod, model_name) (llm:model_pod)"
        joined = _extended(found, "namespace, pod", "model_name", model, (*_DEVICE[:2], *_HOLDER))
        rules.append(record(f"accelerator:{name}", joined, {"vendor": vendor.value}))
    return rules


def _devices(known: Source, series: Series) -> str:
    """One value for each device, and for each pod that shares it."""
    by = _DEVICE if known.resources else (*_DEVICE, *_HOLDER)
    return f"{series.by} by ({', '.join(by)}) ({_labelled(series.expression, series.device or known.device)})"


def _labelled(expression: str, steps: Sequence[Replace | Join]) -> str:
    for step in steps:
        if isinstance(step, Join):
            sources = ", ".join(f'"{name}"' for name in step.sources)
            expression = f'label_join({expression}, "{step.label}", "{step.separator}", {sources})'
        else:
            expression = f'label_replace({expression}, "{step.label}", "{step.value}", "{step.source}", "{step.pattern}")'
    return expression


def _extended(found: str, on: str, labels: str, by: str, device: Sequence[str]) -> str:
    """`found` with the `labels` of `by` where that has the same `on`, and as it is where not: an idle device keeps its series."""
    return f"{found} * on ({on}) group_left ({labels}) {by} or on ({', '.join(device)}) {found}"


def _alone(resources: str) -> str:
    asked = f'kube_pod_container_resource_requests{{resource=~"{resources}", node!=""}}'
    running = 'on (namespace, pod) kube_pod_status_phase{phase="Running"} == 1'
    pods = f"group by (node, namespace, pod) ({asked} and {running})"
    return f"{pods} unless on (node) (count by (node) ({pods}) > 1)"


def _of_pool(pool: PoolFacts) -> list[Rule]:
    """What each node of a pool should offer, and what it does."""
    labels = {"pool": pool.name, "vendor": pool.vendor, "resource": pool.resource}
    nodes = f'max by (node) (llm:node_pool{{pool="{pool.name}"}})'
    offered = f'kube_node_status_allocatable{{resource="{resource_of(pool.resource)}"}}'
    return [
        record("accelerator:expected", f"{nodes} * {pool.per_node}", labels),
        record("accelerator:allocatable", f"max by (node) ({offered} and on (node) {nodes}) or {nodes} * 0", labels),
    ]
