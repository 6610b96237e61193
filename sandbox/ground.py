"""What a stack stands on in its rehearsal: a control plane, an AWS account whose clusters have theirs, or hosts in a rack."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import yaml
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import settings
from sandbox.aws.account import Account
from sandbox.aws.clusters import clusters
from sandbox.charts import definitions
from sandbox.control_plane import ControlPlane, storage
from sandbox.control_plane.api import Api
from sandbox.control_plane.contents import objects_in
from sandbox.control_plane.files import write_private
from sandbox.control_plane.processes import tail
from sandbox.controllers import load_balancers_k3s
from sandbox.errors import SandboxError
from sandbox.hosts import BASTION, Address, HostStatus, Lab
from sandbox.project import Stack
from sandbox.summary import status_screen

STAND_INS = Path(__file__).parent / "aws" / "bin"
"""Programs that a kubeconfig of EKS calls."""

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Ground(Protocol):
    """Everything of a rehearsal that outlives one run of the engine."""

    def start(self, binaries: Mapping[str, Path]) -> None:
        """Makes it run; what runs is left alone."""

    def stop(self) -> None:
        """Ends it; what it holds stays. Raises SandboxError where it could not."""

    def reset(self) -> None:
        """Ends it and deletes what it holds."""

    def environment(self) -> dict[str, str]:
        """What programs need to reach it."""

    def kubeconfigs(self) -> list[Path]:
        """The administrators' kubeconfigs of its clusters."""

    def settings(self, config: dict[str, Any]) -> dict[str, Any]:
        """The `config` of the stack file as the program gets it: what is elsewhere in a rehearsal, where it is."""

    def leaks(self) -> list[str]:
        """What a stack that is down has left behind."""

    def status(self) -> tuple[Any, RenderableType]:
        """How it is, for machines and on a screen."""

    def logs(self, component: str | None, lines: int) -> str:
        """The last lines its processes wrote."""


def ground(stack: Stack) -> Ground:
    """That of a stack."""
    if stack.hosts:
        return OnHosts(stack)
    return OnAws(stack) if stack.region else OnControlPlane(stack)


class OnControlPlane:
    """For a stack whose cluster exists already."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._control_plane = ControlPlane(stack.name, stack.project.clusters)
        self._fresh = self._control_plane.directory / "fresh.json"
        """What was in the cluster before the stack."""

    def start(self, binaries: Mapping[str, Path]) -> None:
        self._control_plane.start(binaries, self._stack.rehearsal.nodes)
        with self._control_plane.connect() as api:
            storage.offer(api, "standard")
            load_balancers_k3s.offer(api)
            # Objects of a kind that was just defined cannot be listed yet, so what is there is looked at before.
            found = [] if self._fresh.exists() else _objects(api)
            for chart in self._stack.brought:
                definitions.install(api, chart)
            if found:
                defined = [f"CustomResourceDefinition {each['metadata']['name']}" for each in api.items(_DEFINITIONS)]
                write_private(self._fresh, json.dumps([*found, *defined]))

    def stop(self) -> None:
        self._control_plane.stop()

    def reset(self) -> None:
        self._control_plane.reset()

    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self._kubeconfig())}

    def kubeconfigs(self) -> list[Path]:
        return [self._control_plane.kubeconfig]

    def settings(self, config: dict[str, Any]) -> dict[str, Any]:
        return config

    def leaks(self) -> list[str]:
        with self._control_plane.connect() as api:
            return sorted(set(_objects(api)) - set(json.loads(self._fresh.read_text())))

    def status(self) -> tuple[Any, RenderableType]:
        found = self._control_plane.status()
        return asdict(found), status_screen(found)

    def logs(self, component: str | None, lines: int) -> str:
        return self._control_plane.logs(component, lines)

    def _kubeconfig(self) -> Path:
        """The control plane's kubeconfig under the context the stack asks for: a stack of a real cluster runs as it is."""
        wanted = self._stack.context
        if wanted in (None, self._control_plane.context):
            return self._control_plane.kubeconfig
        content = yaml.safe_load(self._control_plane.kubeconfig.read_text())
        content["contexts"][0]["name"] = content["current-context"] = wanted
        file = self._stack.project.workspace(self._stack.name) / "kubeconfig"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(content))
        return file


class OnAws:
    """For a stack that makes its cluster in AWS. The account lives in the memory of one process."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._account = Account(stack.name, stack.project.accounts)

    def start(self, binaries: Mapping[str, Path]) -> None:
        del binaries  # the account starts the control planes of its clusters itself
        region = self._stack.region or ""
        recorded = self._stack.project.checkpoint(self._stack.name)
        if self._account.start(region, self._stack.rehearsal.quotas).fresh and _has_resources(recorded):
            self._account.reset()
            raise SandboxError(
                f"the process of the rehearsed AWS account of {self._stack.name} has ended, and all that was in it is gone; "
                f"forget the stack with `python -m sandbox reset {self._stack.name}`, then bring it up anew"
            )

    def stop(self) -> None:
        raise SandboxError(
            f"the rehearsed AWS account of {self._stack.name} lives in memory and would be lost; "
            f"delete the stack with `python -m sandbox down {self._stack.name}`, or forget it with `reset`"
        )

    def reset(self) -> None:
        self._account.reset()

    def environment(self) -> dict[str, str]:
        # The program has no kubeconfig of its own: it makes one for each cluster it makes.
        return self._account.environment() | {"KUBECONFIG": os.devnull}

    def kubeconfigs(self) -> list[Path]:
        return list(clusters(self._account.home).values())

    def settings(self, config: dict[str, Any]) -> dict[str, Any]:
        return config

    def leaks(self) -> list[str]:
        return [f"{kind} {name}" for kind, names in self._account.inventory().items() for name in names]

    def status(self) -> tuple[Any, RenderableType]:
        account = self._account.status()
        clusters = [ControlPlane(file.parent.name, file.parent.parent).status() for file in self.kubeconfigs()]
        head = (
            f"the AWS account of {account.name} is at {account.endpoint}" if account.running else "the AWS account does not run"
        )
        machine = {"account": asdict(account), "clusters": [asdict(cluster) for cluster in clusters]}
        return machine, Group(Text(f"{head}\n"), *map(status_screen, clusters))

    def logs(self, component: str | None, lines: int) -> str:
        planes = [ControlPlane(file.parent.name, file.parent.parent) for file in self.kubeconfigs()]
        own = [] if component else ["==> the AWS account <==", *tail(self._account.log, lines)]
        return "\n".join([*own, *(plane.logs(component, lines) for plane in planes)])


class OnHosts:
    """For a stack whose cluster is made on hosts: each a real SSH server, the cluster what they install."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._lab = Lab(stack.name, stack.project.labs)
        self._control_plane = ControlPlane(stack.name, stack.project.clusters)
        self._addresses: Mapping[str, Address] = {}

    def start(self, binaries: Mapping[str, Path]) -> None:
        del binaries  # the control plane starts when k3s is installed on the first server
        self._addresses = self._lab.start(self._stack.hosts, self._control_plane, bastion=self._stack.bastion)

    def stop(self) -> None:
        self._lab.stop()
        self._control_plane.stop()

    def reset(self) -> None:
        self._lab.reset()
        self._control_plane.reset()

    def environment(self) -> dict[str, str]:
        # The program takes the kubeconfig from the first server.
        return {"KUBECONFIG": os.devnull}

    def kubeconfigs(self) -> list[Path]:
        return [file] if (file := self._control_plane.kubeconfig).exists() else []

    def settings(self, config: dict[str, Any]) -> dict[str, Any]:
        """With the addresses, host keys and the login of the lab: those of the stack file are never contacted."""
        given = config[f"{settings.PROJECT}:cluster"]
        ssh = {**given["ssh"], "user": self._lab.login_user, "privateKeyFile": str(self._lab.key_file), "agent": False}
        ssh.pop("port", None)
        if BASTION in self._addresses:
            ssh["bastion"] = {"user": self._lab.login_user, **_where(self._addresses[BASTION])}
        servers = self._moved(given["servers"])
        pools = {name: {**pool, "hosts": self._moved(pool["hosts"])} for name, pool in given.get("nodePools", {}).items()}
        first = next(iter(servers.values()))["address"]
        cluster = {**given, "ssh": ssh, "servers": servers, "nodePools": pools, "endpoint": first}
        return {**config, f"{settings.PROJECT}:cluster": cluster}

    def leaks(self) -> list[str]:
        return self._lab.leaks()

    def status(self) -> tuple[Any, RenderableType]:
        found, plane = self._lab.status(), self._control_plane.status()
        table = Table("host", "address", "k3s", "version")
        for host in found.hosts:
            where = f"{host.address.address}:{host.address.port}" if host.on else "off"
            table.add_row(host.name, where, _k3s(host), host.version or "")
        return {"lab": asdict(found), "clusters": [asdict(plane)]}, Group(table, status_screen(plane))

    def logs(self, component: str | None, lines: int) -> str:
        return "\n".join([self._lab.logs(lines=lines), self._control_plane.logs(component, lines)])

    def _moved(self, hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: {**host, **_where(self._addresses[name])} for name, host in hosts.items()}


def _where(found: Address) -> dict[str, Any]:
    return {"address": found.address, "port": found.port, "hostKey": found.host_key}


def _k3s(host: HostStatus) -> str:
    return f"{host.k3s}, {'active' if host.active else 'not active'}" if host.k3s else "none"


def _has_resources(checkpoint: Path) -> bool:
    if not checkpoint.exists():
        return False
    latest = json.loads(checkpoint.read_text()).get("checkpoint", {}).get("latest") or {}
    return any(resource["type"].startswith("aws:") for resource in latest.get("resources") or [])


def _objects(api: Api) -> list[str]:
    """What is in a cluster, but for the nodes, which are the rehearsal's own."""
    return [each for each in objects_in(api) if not each.startswith("Node ")]
