"""Which exporters a cluster needs, and where Prometheus finds them. Pure."""

from collections.abc import Collection, Iterable, Mapping

from ...accelerators.profiles import Vendor, covers, profile
from ...types import NodePool
from ..targets import Target
from . import dcgm, kube_state, node
from .accelerator import APP

JOBS: Mapping[Vendor, str] = {
    Vendor.NVIDIA: "dcgm-exporter",
    Vendor.AMD: "amd-exporter",
    Vendor.GAUDI: "gaudi-exporter",
    Vendor.NEURON: "neuron-exporter",
    Vendor.REBELLIONS: "rebellions-exporter",
}
"""Label `job` of the metrics of each vendor's devices. TPUs, Sapeon's, Intel's GPUs and custom accelerators have none."""
NODE_EXPORTER, KUBE_STATE_METRICS = "node-exporter", "kube-state-metrics"
_NODE_PORT, _STATE_PORT = 9100, 8080
_SERIES_PER_DEVICE = 60
"""About how many each exporter has of one accelerator; AMD's most."""
_OBJECTS, _PER_POD = 2_000, 50
"""Series of kube-state-metrics that no node brings, and those of one pod."""
_USUAL_PODS, _MOST_PODS = 12, 110
"""Pods of a node: what memory is reckoned with, and the most that a kubelet takes (kubernetes.io/docs, "Considerations for large
clusters")."""


def exported(pools: Iterable[NodePool], without: Collection[Vendor] = ()) -> dict[Vendor, list[NodePool]]:
    """The pools whose accelerators an exporter speaks of, by vendor; `without` are vendors that are left out."""
    return {vendor: found for vendor, found in covers(pools).items() if vendor in JOBS and vendor not in without}


def unseen(pools: Iterable[NodePool]) -> dict[Vendor, list[str]]:
    """Names of the pools whose accelerators no exporter is known for, by vendor."""
    return {vendor: [pool.name for pool in found] for vendor, found in covers(pools).items() if vendor not in JOBS}


def exporter_targets(vendors: Mapping[Vendor, Iterable[NodePool]], agents: str, *, nodes: int) -> list[Target]:
    """Where Prometheus finds the exporters of `vendors`, and node exporter, all in the namespace `agents`.

    `nodes` is how many the cluster can have, of every kind.
    """
    found = [_of_vendor(vendor, list(pools), agents) for vendor, pools in vendors.items()]
    return [
        *found,
        Target(name=NODE_EXPORTER, namespaces=[agents], pods=node.PODS, port=_NODE_PORT, series_per_pod=900, replicas=nodes),
    ]


def kube_state_target(namespace: str, *, nodes: int) -> Target:
    """Where Prometheus finds kube-state-metrics."""
    return Target(
        name=KUBE_STATE_METRICS,
        namespaces=[namespace],
        pods=kube_state.PODS,
        port=_STATE_PORT,
        honor_labels=True,
        # Its page grows with the cluster, and one page is all there is: without it, rules know no pod and no pool.
        sample_limit=max(Target.sample_limit, _objects(nodes, _MOST_PODS)),
        series_per_pod=_objects(nodes, _USUAL_PODS),
    )


def _objects(nodes: int, pods: int) -> int:
    """Series about so many nodes with so many pods each."""
    return _OBJECTS + nodes * pods * _PER_POD


def _of_vendor(vendor: Vendor, pools: list[NodePool], agents: str) -> Target:
    exporter = profile(vendor).exporter
    assert exporter is not None  # noqa: S101
    most = max(pool.accelerator.units for pool in pools if pool.accelerator)
    return Target(
        name=JOBS[vendor],
        namespaces=[agents],
        pods=dcgm.PODS
        if vendor is Vendor.NVIDIA
        else {"app.kubernetes.io/name": APP, "app.kubernetes.io/instance": vendor.value},
        port=exporter.port,
        series_per_pod=200 + _SERIES_PER_DEVICE * most,
        replicas=sum(pool.max_nodes for pool in pools),
    )
