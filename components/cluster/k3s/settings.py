"""What a cluster of k3s is made from: inputs of `K3sCluster` and the rules over them. Pure."""

from collections.abc import Iterator, Mapping
from typing import Annotated, NotRequired, TypedDict

from pydantic import AfterValidator, Field, field_validator, model_validator

from planner.compatibility import oldest_driver

from ...accelerators.sharing import MIG_LABEL, sharing_labels
from ...inputs import Matching, Model
from ...types import (
    COMPUTED_LABELS,
    Accelerator,
    AcceleratorArgs,
    DnsLabel,
    LabelValue,
    NodePool,
    QualifiedName,
    Taint,
    TaintArgs,
)
from ..eks_pool import POOL_LABEL
from .config import (
    Component,
    Mirror,
    Registry,
    RegistryArgs,
    RegistryName,
    Snapshots,
    SnapshotsArgs,
    Version,
)
from .hosts import (
    FOUNDER,
    Address,
    Host,
    HostArgs,
    HostName,
    Ssh,
    SshArgs,
    check_hosts,
    check_servers,
)
from .versions import check_release, check_upgrade

NVIDIA = "nvidia.com/gpu"

TOOLKIT = "1.20.0"
"""NVIDIA container toolkit that is installed where none is (github.com/NVIDIA/nvidia-container-toolkit, releases)."""

TOOLKIT_LEAST = "1.17.8"
"""The first that does not let a container out (NVIDIA security bulletin of CVE-2025-23266)."""

DRIVER_LEAST = oldest_driver(13)
"""Branch of NVIDIA's driver that CUDA 13 needs, with which the engine's image is built."""

_WELL_KNOWN = frozenset(
    {
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "beta.kubernetes.io/instance-type",
    }
)


def _node_label(key: str) -> str:
    # What a kubelet may set, else it does not start (kubernetes/kubernetes, kubelet/pkg/apis/well_known_labels.go).
    if key in {*COMPUTED_LABELS, POOL_LABEL}:
        raise ValueError(f"every node gets its own {key}; remove it")
    domain = f".{key.rpartition('/')[0]}"
    reserved = domain.endswith((".kubernetes.io", ".k8s.io"))
    if reserved and key not in _WELL_KNOWN and not domain.endswith((".kubelet.kubernetes.io", ".node.kubernetes.io")):
        raise ValueError(f"no kubelet may set {key}, whose domain is Kubernetes' own; use another, e.g. example.com/pool")
    return key


NodeLabel = Annotated[QualifiedName, AfterValidator(_node_label)]
"""Key of a label that a node gives itself."""


class K3sPoolArgs(TypedDict):
    """Hosts that are alike for a workload."""

    name: str
    """Name of the pool."""
    hosts: dict[str, HostArgs]
    """Its hosts by the names that their nodes get."""
    accelerator: NotRequired[AcceleratorArgs]
    """The accelerators of each; none for a pool of plain hosts."""
    labels: NotRequired[dict[str, str]]
    """Labels of its nodes, beside the one that selects the pool."""
    taints: NotRequired[list[TaintArgs]]
    """Taints of its nodes; by default one by the accelerators' resource, so that only pods that want them come."""


class DriverArgs(TypedDict):
    """NVIDIA's driver on the hosts."""

    install: NotRequired[bool]
    """Whether it is installed where none is loaded (Ubuntu, RHEL 9); false by default, then it has to be there."""
    branch: NotRequired[str]
    """Branch that is installed; `580` by default."""
    minimum: NotRequired[int]
    """Branch that the engine's image needs at least; 580 by default."""


class Driver(Model):
    """Validated `DriverArgs`."""

    install: bool = Field(False, description="Whether it is installed where none is loaded (Ubuntu, RHEL 9).")
    branch: Annotated[str, Matching(pattern=r"\d{3}", what="a branch of NVIDIA's driver", example='"580"')] = Field(
        str(DRIVER_LEAST), description="Branch that is installed."
    )
    minimum: int = Field(
        DRIVER_LEAST, ge=450, le=999, description="Branch that the engine's image needs at least.", examples=[DRIVER_LEAST]
    )

    @model_validator(mode="after")
    def _enough(self) -> "Driver":
        if self.install and int(self.branch) < self.minimum:
            raise ValueError(f'branch: {self.branch} is older than what the engine needs; use "{self.minimum}"')
        return self


class K3sClusterArgs(TypedDict):
    """Inputs of `K3sCluster`."""

    cluster_name: str
    """Name of the cluster; that of the context in its kubeconfig."""
    version: str
    """Release of k3s, e.g. `v1.36.3+k3s1`."""
    ssh: SshArgs
    """How the hosts are reached."""
    servers: dict[str, HostArgs]
    """One, three or five hosts that run the control plane and etcd, in the order in which they join."""
    endpoint: NotRequired[str]
    """Address under which the API is reached; that of the first server by default. Point it at all servers to outlive one."""
    node_pools: NotRequired[list[K3sPoolArgs]]
    """Hosts that run models."""
    driver: NotRequired[DriverArgs]
    """NVIDIA's driver."""
    toolkit: NotRequired[str]
    """Version of NVIDIA's container toolkit that is installed where none is."""
    cis: NotRequired[bool]
    """Whether the settings of k3s' CIS hardening guide hold; true by default."""
    components: NotRequired[list[Component]]
    """Parts of k3s that are off otherwise: `traefik`, `servicelb`."""
    registries: NotRequired[dict[str, RegistryArgs]]
    """Where the images of a registry come from, by registry, e.g. `docker.io`."""
    snapshots: NotRequired[SnapshotsArgs]
    """Copies of etcd."""
    mirror: NotRequired[str]
    """Directory on every host, or https address, with the files of k3s' releases; from the internet by default."""


class K3sPool(Model):
    """Validated `K3sPoolArgs`."""

    name: DnsLabel = Field(examples=["h100"])
    hosts: Mapping[HostName, Host] = Field(min_length=1)
    accelerator: Accelerator | None = None
    labels: Mapping[NodeLabel, LabelValue] = Field(default_factory=dict)
    taints: tuple[Taint, ...] | None = None

    @model_validator(mode="after")
    def _can_be_made(self) -> "K3sPool":
        for key in sorted(sharing_labels(self.contract()).keys() & self.labels.keys()):
            raise ValueError(f"labels: the pool's sharing gives every node its own {key}; remove it")
        given = [(taint.key, taint.effect.value) for taint in self.taints or ()]
        for key, effect in given:
            if given.count((key, effect)) > 1:
                raise ValueError(f"taints: {key} with {effect} is there twice; keep one")
        return self

    @property
    def nvidia(self) -> bool:
        """Whether its accelerators are NVIDIA's."""
        return self.accelerator is not None and self.accelerator.resource == NVIDIA

    def mig(self) -> tuple[str, int] | None:
        """Profile of the MIG instances and how many each GPU is cut into; None where none is cut."""
        accelerator = self.accelerator
        if accelerator is None or accelerator.sharing is None or accelerator.sharing.profile is None:
            return None
        return accelerator.sharing.profile, accelerator.units // accelerator.per_node

    def effective_labels(self) -> dict[str, str]:
        """Its labels, with the one that selects it."""
        return {**self.labels, **self._sharing(), POOL_LABEL: self.name}

    def _sharing(self) -> dict[str, str]:
        # The hosts cut their GPUs themselves, so an operator's MIG manager is told nothing.
        return {key: value for key, value in sharing_labels(self.contract()).items() if key != MIG_LABEL}

    def effective_taints(self) -> tuple[Taint, ...]:
        """Its taints."""
        if self.taints is not None:
            return self.taints
        if self.accelerator is None:
            return ()
        return (Taint.by_resource(self.accelerator.resource),)

    def contract(self) -> NodePool:
        """The pool as workloads know it."""
        return NodePool(
            name=self.name,
            accelerator=self.accelerator,
            max_nodes=len(self.hosts),
            labels={POOL_LABEL: self.name},
            taints=self.effective_taints(),
            ships_device_plugin=False,
            runtime_class_name="nvidia" if self.nvidia else None,
        )


class K3sSettings(Model):
    """Validated `K3sClusterArgs`."""

    cluster_name: DnsLabel = Field(examples=["rack"])
    version: Annotated[str, Version]
    ssh: Ssh
    servers: Mapping[HostName, Host] = Field(min_length=1)
    endpoint: Address | None = Field(None, examples=["10.20.0.11"])
    node_pools: tuple[K3sPool, ...] = ()
    driver: Driver = Driver()
    toolkit: Annotated[str, Matching(pattern=r"\d+\.\d+\.\d+", what="a version of the toolkit", example=TOOLKIT)] = TOOLKIT
    cis: bool = True
    components: tuple[Component, ...] = ()
    registries: Mapping[RegistryName, Registry] = Field(default_factory=dict)
    snapshots: Snapshots = Snapshots()
    mirror: Mirror | None = None

    @field_validator("version")
    @classmethod
    def _known(cls, value: str) -> str:
        check_release(value)
        return value

    @field_validator("toolkit")
    @classmethod
    def _safe(cls, value: str) -> str:
        if tuple(map(int, value.split("."))) < tuple(map(int, TOOLKIT_LEAST.split("."))):
            raise ValueError(f"{value} lets containers out of their isolation (CVE-2025-23266); use {TOOLKIT}")
        return value

    @model_validator(mode="after")
    def _together(self) -> "K3sSettings":
        check_hosts(self.hosts())
        check_servers(self.servers)
        names = [pool.name for pool in self.node_pools]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"nodePools: {name} is there twice; give each pool a name of its own")
        agents = {name: host.k3s for pool in self.node_pools for name, host in pool.hosts.items()}
        check_upgrade(self.version, {name: host.k3s for name, host in self.servers.items()}, agents)
        if self.mirror and self.driver.install:
            raise ValueError("driver.install needs the internet, which a mirror stands in for; install the driver and remove it")
        lost = [name for name, host in self.servers.items() if not host.reachable]
        first = next(iter(self.servers))
        if lost and self.servers[first].reachable and self.servers[first].k3s is None:
            raise ValueError(
                f"servers: {first} has no k3s, and whether {', '.join(lost)} still hold the cluster cannot be seen, so a second "
                f"cluster could begin; make {lost[0]} reachable, or remove it from servers"
            )
        return self

    def hosts(self) -> Iterator[tuple[str, Host]]:
        """All hosts by name: the servers, then those of the pools."""
        yield from self.servers.items()
        for pool in self.node_pools:
            yield from pool.hosts.items()

    def is_there(self) -> bool:
        """Whether a server was seen that has the cluster."""
        return any(host.reachable and host.k3s for host in self.servers.values())

    def founder(self) -> str | None:
        """The server that the cluster began with, or begins with; None once that one was wiped and joined again as any other.

        It is known by its generation, since what is installed on it does not tell.
        """
        first, host = next(iter(self.servers.items()))
        return first if host.generation.startswith(FOUNDER) or not self.is_there() else None

    def api_address(self) -> str:
        """Where the API is reached."""
        return self.endpoint or next(iter(self.servers.values())).address
