"""What each host becomes, and the scripts that make it so. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ...types import Taint
from .config import (
    SYSCTLS,
    admission,
    agent_config,
    audit_policy,
    restarting,
    server_config,
    taint_text,
    text,
)
from .hosts import Host, in_url
from .scripts import file_script, script, unit, yes
from .settings import TOOLKIT_LEAST, K3sPool, K3sSettings

DRAIN = 600
"""Seconds a node's pods get to leave it."""

START = 300
"""Seconds k3s gets to come up, and a node to be Ready."""

_SYSTEMS = (
    "ubuntu-22.04 ubuntu-24.04 ubuntu-26.04 debian-12 debian-13 rhel-9 rhel-10 almalinux-9 almalinux-10 rocky-9 rocky-10 sles-15"
)
"""ID and VERSION_ID of os-release: systems with cgroup v2 by default that k3s' documents name ("Requirements")."""

_KERNEL = "5.8"
"""The first with all of cgroup v2 (kubernetes.io, "About cgroup v2", Requirements)."""

_PCI_VENDORS = {
    "nvidia.com": "0x10de",
    "amd.com": "0x1002",
    "gpu.intel.com": "0x8086",
    "habana.ai": "0x1da3",
    "rebellions.ai": "0x1eff",
}
"""By the domain of their resource (pci-ids.ucw.cz). Others are not counted."""


class Role(StrEnum):
    """What k3s runs as."""

    SERVER = "server"
    AGENT = "agent"


@dataclass(frozen=True)
class _Needs:
    """What a role needs of a host (docs.k3s.io, "Requirements", Hardware and Networking)."""

    processors: int
    memory_mib: int
    ports: str


# A little less memory than the documents name: a part is the kernel's.
_NEEDS = {
    Role.SERVER: _Needs(2, 1800, "2379 2380 2381 6443 6444 8472 10010 10248 10249 10250 10256 10257 10258 10259"),
    Role.AGENT: _Needs(1, 450, "6444 8472 10010 10248 10249 10250 10256"),
}

_DISK = 20
_IMAGES_DISK = 80
"""GiB: an engine's image takes about 30 unpacked, and a new one comes before the old one goes."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One host, and all that is wanted of it."""

    name: str
    host: Host
    role: Role
    pool: K3sPool | None
    config: str
    """Content of config.yaml."""
    labels: Mapping[str, str]
    taints: Sequence[Taint]
    digest: str
    """Changes with everything that k3s takes up only when it restarts."""

    @property
    def nvidia(self) -> bool:
        """Whether containers get NVIDIA's runtime."""
        return self.pool is not None and self.pool.nvidia


def nodes(settings: K3sSettings) -> list[Node]:
    """All nodes: the servers in their order, then the pools."""
    names = [settings.api_address(), *(host.address for host in settings.servers.values())]
    found = []
    for name, host in settings.servers.items():
        config = server_config(
            name,
            list(dict.fromkeys(names)),
            components=settings.components,
            snapshots=settings.snapshots,
            hardened=settings.cis,
        )
        found.append(_node(settings, name, host, None, config))
    for pool in settings.node_pools:
        for name, host in pool.hosts.items():
            config = agent_config(name, hardened=settings.cis, labels=pool.effective_labels(), taints=pool.effective_taints())
            found.append(_node(settings, name, host, pool, config))
    return found


def _node(settings: K3sSettings, name: str, host: Host, pool: K3sPool | None, config: Mapping[str, object]) -> Node:
    read = {
        "version": settings.version,
        "config": restarting(config),
        "files": [admission(), audit_policy()] if settings.cis and pool is None else [],
        "mig": pool.mig() if pool else None,
        "toolkit": settings.toolkit if pool and pool.nvidia else None,
    }
    return Node(
        name=name,
        host=host,
        role=Role.AGENT if pool else Role.SERVER,
        pool=pool,
        config=text(config),
        labels=pool.effective_labels() if pool else {},
        taints=pool.effective_taints() if pool else (),
        digest=hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:16],
    )


def preflight(node: Node, settings: K3sSettings) -> str:
    """Looks at the host; see `doctor` for what it prints."""
    needs = _NEEDS[node.role]
    accelerator = node.pool.accelerator if node.pool else None
    return script(
        "preflight",
        values={
            "HOST": node.name,
            "SINCE": node.host.generation,
            "CLUSTER": settings.cluster_name,
            "ROLE": node.role.value,
            "SYSTEMS": _SYSTEMS,
            "KERNEL": _KERNEL,
            "PROCESSORS": str(needs.processors),
            "MEMORY": str(needs.memory_mib),
            "DISKS": f"/var/lib/rancher={_IMAGES_DISK if accelerator else _DISK} /usr/local/bin=1",
            "PORTS": needs.ports,
            "MIRROR": yes(settings.mirror is not None),
            "PCI_VENDOR": _PCI_VENDORS.get(accelerator.resource.partition("/")[0], "") if accelerator else "",
            "PER_NODE": str(accelerator.per_node if accelerator else 0),
            "DRIVER": str(settings.driver.minimum),
            "DRIVER_INSTALL": yes(settings.driver.install),
            "TOOLKIT_LEAST": TOOLKIT_LEAST,
        },
    )


def prepare(node: Node, settings: K3sSettings) -> str:
    """Kernel settings and NVIDIA's software."""
    return script(
        "lib",
        "local",
        "mirror",
        "partition",
        "prepare",
        values={
            "HOST": node.name,
            "GENERATION": node.host.generation,
            "CLUSTER": settings.cluster_name,
            "SYSCTLS": SYSCTLS if settings.cis else "",
            "DRIVER_INSTALL": yes(settings.driver.install and node.nvidia),
            "DRIVER": settings.driver.branch,
            "TOOLKIT": settings.toolkit if node.nvidia else "",
            "MIRROR": settings.mirror or "",
        },
    )


def secrets(node: Node, token: str, agent_token: str, registries: str) -> str:
    """Secret files. Without tokens a server makes its own, unless it has them."""
    values = {"HOST": node.name, "SINCE": node.host.generation, "ROLE": node.role.value}
    values |= {"TOKEN": token, "AGENT_TOKEN": agent_token, "REGISTRIES": registries.rstrip("\n")}
    return script("lib", "local", "secrets", values=values)


def drain(node: Node, settings: K3sSettings) -> str:
    """On a server, before the host is changed or leaves."""
    alone = node.pool is not None and len(node.pool.hosts) == 1
    return script("lib", "cluster", "drain", values=_about(node, settings) | {"TIMEOUT": str(DRAIN), "ALONE": yes(alone)})


def settle(node: Node, settings: K3sSettings) -> str:
    """On a server, after the host was changed."""
    values = {
        "LABELS": " ".join(f"{key}={value}" for key, value in sorted(node.labels.items())),
        "TAINTS": " ".join(taint_text(taint) for taint in node.taints),
        "TIMEOUT": str(START),
    }
    return script("lib", "cluster", "settle", values=_about(node, settings) | values)


def _about(node: Node, settings: K3sSettings) -> dict[str, str]:
    mig = node.pool.mig() if node.pool else None
    return {
        "HOST": node.name,
        "NODE": node.name,
        "GENERATION": node.host.generation,
        "VERSION": settings.version,
        "HASH": node.digest,
        "MIG": f"{mig[1]} x {mig[0]}" if mig else "",
    }


def install(node: Node, settings: K3sSettings, secrets_id: str) -> str:
    """k3s itself."""
    hardened = settings.cis and node.role is Role.SERVER
    mig = node.pool.mig() if node.pool else None
    files = {"config_file": node.config}
    if hardened:
        files |= {"admission_file": admission(), "audit_file": audit_policy()}
    if mig:
        partition = {"HOST": node.name, "MIG_PROFILE": mig[0], "MIG_COUNT": str(mig[1])}
        files |= {"mig_file": file_script("mig", values=partition), "mig_unit": unit("mig")}
    return script(
        "lib",
        "local",
        "mirror",
        "partition",
        "node",
        files=files,
        values={
            "HOST": node.name,
            "ROLE": node.role.value,
            "VERSION": settings.version,
            "GENERATION": node.host.generation,
            "HASH": node.digest,
            "SECRETS": secrets_id,
            "HARDENED": yes(hardened),
            "ENDPOINT": in_url(settings.api_address()),
            "SERVERS": " ".join(in_url(host.address) for name, host in settings.servers.items() if name != node.name),
            "FIRST": yes(node.name == settings.founder()),
            "MIRROR": settings.mirror or "",
            "NVIDIA": yes(node.nvidia),
            "MIG": yes(mig is not None),
            "TIMEOUT": str(START),
        },
    )


def reading(name: str, since: str) -> str:
    """`tokens`, `identity` or `kubeconfig`: printed by a server, and again whenever `since` is another text."""
    return script("lib", name, values={"HOST": "the cluster", "SINCE": since})
