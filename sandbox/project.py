"""The Pulumi project that is rehearsed, and where its rehearsals keep what they need."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

import settings
from components.cluster.contract import Brought
from components.inputs import Model, validate
from sandbox.control_plane import NodeGroup
from sandbox.errors import SandboxError
from sandbox.hosts.spec import HostSpec
from settings.k3s import K3sClusterSettings
from settings.secrets import SecretsSettings


@dataclass(frozen=True)
class Project:
    """A directory with a Pulumi.yaml."""

    root: Path

    @classmethod
    def find(cls, start: Path) -> "Project":
        """The project `start` lies in, found as Pulumi finds it: the nearest directory upwards with a Pulumi.yaml."""
        for directory in (start, *start.parents):
            if (directory / "Pulumi.yaml").is_file():
                return cls(directory)
        raise SandboxError(f"there is no Pulumi.yaml in {start} or above it; run this inside a Pulumi project")

    @property
    def home(self) -> Path:
        """Everything rehearsals write; git ignores it and `reset` empties it."""
        return self.root / ".sandbox"

    @property
    def clusters(self) -> Path:
        """Data of the control planes, one directory each."""
        return self.home / "clusters"

    @property
    def labs(self) -> Path:
        """Data of the rehearsed hosts, one directory each lab."""
        return self.home / "labs"

    @property
    def accounts(self) -> Path:
        """Data of the emulated AWS accounts, one directory each."""
        return self.home / "accounts"

    def checkpoint(self, stack: str) -> Path:
        """Where Pulumi records a stack."""
        return self.state / ".pulumi" / "stacks" / str(self.manifest["name"]) / f"{stack}.json"

    @property
    def state(self) -> Path:
        """Pulumi's file backend."""
        return self.home / "state"

    def workspace(self, stack: str) -> Path:
        """Where the engine runs a stack: copies of the project file and the stack file, so that neither is ever changed."""
        return self.home / "workspaces" / stack

    def stack(self, name: str) -> "Stack":
        """The stack of that name, its settings checked. Raises SandboxError with one sentence for every fault."""
        where = self._stack_file(name)
        path = self.root / where
        if not path.is_file():
            pattern = self._stack_file("*")
            known = sorted(p.name.removeprefix("Pulumi.").removesuffix(".yaml") for p in self.root.glob(pattern))
            raise SandboxError(f"{where} does not exist; the stacks of this project are: {', '.join(known) or 'none'}")
        config = settings.read_stack_file(path, where)
        rehearsal = Rehearsal.read(config, where)
        if self.manifest["name"] != settings.PROJECT:
            return Stack(self, name, path, None, rehearsal.region, rehearsal)
        given = settings.from_config(config, where)
        on_eks, on_hosts = given.on_eks(), given.on_hosts()
        return Stack(
            self,
            name,
            path,
            given.context,
            on_eks.aws.region if on_eks else None,
            rehearsal,
            rehearsal.described(on_hosts, where) if on_hosts else {},
            bastion=on_hosts is not None and on_hosts.ssh.bastion is not None,
            secrets=given.secrets,
            brought=[chart for what, chart in _CHARTS.items() if given.has(what)],
        )

    @property
    def manifest(self) -> dict[str, Any]:
        """Pulumi.yaml."""
        content: dict[str, Any] = yaml.safe_load((self.root / "Pulumi.yaml").read_text())
        return content

    def _stack_file(self, name: str) -> str:
        return str(Path(self.manifest.get("stackConfigDir", ".")) / f"Pulumi.{name}.yaml")


_CHARTS = {
    Brought.PROMETHEUS_OPERATOR: "kube-prometheus-stack",
    Brought.KEDA: "keda",
    Brought.CERT_MANAGER: "cert-manager",
    Brought.GATEWAY_API: "gateway-api",
}
"""What brings the definitions that a cluster says it has."""


@dataclass(frozen=True)
class Stack:
    """A stack file that was read and found good."""

    project: Project
    name: str
    file: Path
    context: str | None
    """The kubeconfig context its program asks for, where it says so."""
    region: str | None
    """The AWS region its program works in; None without AWS."""
    rehearsal: "Rehearsal"
    hosts: Mapping[str, HostSpec] = field(default_factory=dict)
    """The hosts its cluster is made on, by name; empty without."""
    bastion: bool = False
    """Whether they are reached through another host."""
    secrets: SecretsSettings | None = None
    """The secrets of a stack of this program."""
    brought: Collection[str] = ()
    """Charts that its cluster has already, by name."""


class Rehearsal(Model):
    """What a stack file says about its rehearsal, under `sandbox:`; a real deployment ignores it."""

    nodes: tuple[NodeGroup, ...] = Field((), alias="sandbox:nodes")
    """The simulated nodes."""
    await_seconds: int = Field(120, alias="sandbox:awaitSeconds", ge=1, strict=True, examples=[120])
    """Longest wait for any one object, whatever the program allows for: nodes that pull no image start in a second."""

    region: str | None = Field(None, alias="sandbox:region", min_length=1, examples=["us-east-1"])
    """The AWS region of a program that is not this one; this one says it under `aws`."""
    quotas: Mapping[str, Annotated[float, Field(ge=0)]] = Field({}, alias="sandbox:quotas", examples=["{L-DB2E81BA: 64}"])
    """Quotas of the emulated account by code, in vCPUs; whatever is left out is plenty."""

    hosts: Mapping[str, HostSpec] = Field({}, alias="sandbox:hosts", examples=["{gpu-1: {os: ubuntu-22.04}}"])
    """Hosts that differ from healthy ones with the accelerators of their pool."""

    def described(self, cluster: K3sClusterSettings, where: str) -> dict[str, HostSpec]:
        """Every host of a cluster by name. Raises SandboxError for a description of one that is not of the cluster."""
        found = {name: self.hosts.get(name) or HostSpec() for name in cluster.servers}
        for pool in cluster.node_pools.values():
            card = pool.accelerator
            # What the catalogue does not have cannot be put on a simulated bus.
            known = {"accelerator": {"product": card.product, "count": card.per_node}} if card and card.product else {}
            for name in pool.hosts:
                described = self.hosts[name].model_dump(exclude_unset=True) if name in self.hosts else {}
                found[name] = HostSpec.model_validate({**known, **described})
        if strangers := sorted(self.hosts.keys() - found.keys()):
            raise SandboxError(
                f"{where}: sandbox:hosts.{strangers[0]} is not a host of this cluster; its hosts are {', '.join(sorted(found))}"
            )
        return found

    @classmethod
    def read(cls, config: Mapping[str, Any], where: str) -> "Rehearsal":
        """The declarations in the `config` of a stack file. Raises InputError with one sentence for every fault."""
        return validate(cls, {key: value for key, value in config.items() if key.startswith("sandbox:")}, where)

    @model_validator(mode="after")
    def _names_apart(self) -> "Rehearsal":
        names = [group.name for group in self.nodes]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"sandbox:nodes[{number}].name: {name!r} is the name of another group already; use another one")
        return self
