"""Pulumi stacks run inline against a control plane of the test's own, and what the engine did with them."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pulumi
from pulumi import automation as auto

from sandbox.operations import Operations
from sandbox.plugins import EMULATED
from sandbox.providers.kubernetes.client import ApiError, Cluster

Program = Callable[[], None]
_PROJECT = "rehearsal"


@dataclass
class Run:
    """One operation: what happened to each resource (by logical name, in order), and what the user was told."""

    operations: dict[str, list[str]] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)  # of a refresh: what the resource turned out to be
    replaced_for: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    output: str = ""
    succeeded: bool = True

    def watch(self, event: auto.EngineEvent) -> None:
        if event.resource_pre_event:
            meta = event.resource_pre_event.metadata
            name = meta.urn.rsplit("::", 1)[-1]
            self.operations.setdefault(name, []).append(str(meta.op.value))
            if meta.keys:
                self.replaced_for[name] = list(meta.keys)
            if meta.detailed_diff:
                self.changed[name] = sorted(meta.detailed_diff)
        if event.res_outputs_event:
            meta = event.res_outputs_event.metadata
            self.outcomes[meta.urn.rsplit("::", 1)[-1]] = str(meta.op.value)
        if event.diagnostic_event:
            text = event.diagnostic_event.message.strip()
            if event.diagnostic_event.severity == "error":
                self.errors.append(text)
            elif event.diagnostic_event.severity == "warning" and "using pulumi-resource" not in text:
                self.warnings.append(text)
            elif event.diagnostic_event.severity.startswith("info"):
                self.infos.append(text)


class StackUnderTest:
    """A stack with a file backend in a folder, whose provider plugin comes from `plugins`."""

    def __init__(
        self,
        folder: Path,
        pulumi_bin: Path,
        name: str = "test",
        plugins: Path = EMULATED,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        for part in ("state", "work"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "provider.log"
        self._environment = {
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "LLM_PLATFORM_PYTHON": sys.executable,
            "LLM_PLATFORM_PROVIDER_LOG": str(self.log),
            "PATH": os.pathsep.join([str(plugins), str(pulumi_bin.parent), os.environ["PATH"]]),
            **(environment or {}),
        }
        self._name = name
        self.pulumi_bin = pulumi_bin

    @cached_property
    def _stack(self) -> Operations:
        workspace = auto.LocalWorkspace(
            work_dir=str(self.folder / "work"),
            env_vars=self._environment,
            pulumi_command=_command(self.pulumi_bin),
            project_settings=auto.ProjectSettings(name=_PROJECT, runtime="python", main=str(Path.cwd())),
        )
        return Operations(self._name, workspace)

    def _run(self, verb: str, program: Program, **options: Any) -> Run:
        run = Run()
        lines: list[str] = []
        try:
            self._stack.workspace.program = program
            getattr(self._stack, verb)(on_event=run.watch, on_output=lines.append, **options)
        except auto.CommandError:
            run.succeeded = False
        run.output = "\n".join(lines)
        return run

    def preview(self, program: Program, **options: Any) -> Run:
        return self._run("preview", program, **options)

    def up(self, program: Program, **options: Any) -> Run:
        return self._run("up", program, **options)

    def refresh(self, program: Program) -> Run:
        return self._run("refresh", program)

    def destroy(self) -> Run:
        return self._run("destroy", lambda: None)

    def state(self) -> dict[str, dict[str, Any]]:
        """The recorded resources by logical name; of two with one name the one that is kept."""
        resources = (self._stack.export_stack().deployment or {}).get("resources", [])
        return {item["urn"].rsplit("::", 1)[-1]: item for item in resources if not item.get("delete")}

    def state_file(self) -> str:
        """The state as it lies on disk, secrets encrypted."""
        return (self.folder / "state" / ".pulumi" / "stacks" / _PROJECT / f"{self._name}.json").read_text()

    def assert_no_error_escaped(self) -> None:
        """The emulated providers foresaw whatever went wrong."""
        assert "Error in the emulated" not in (self.log.read_text() if self.log.exists() else "")


class Api:
    """Requests of the test itself, behind the provider's back."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def call(self, method: str, path: str, body: Any = None, **params: str) -> dict[str, Any]:
        async def request() -> dict[str, Any]:
            patch = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
            return dict(await Cluster(str(self.kubeconfig)).request(method, path, body=body, params=params, headers=patch))

        return asyncio.run(request())

    def find(self, path: str) -> dict[str, Any] | None:
        try:
            return self.call("GET", path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise


def options(provider: pulumi.ProviderResource, **more: Any) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(provider=provider, **more)


def pod(image: str = "registry.k8s.io/pause:3.10", **container: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": image, **container}]}


def deployment_spec(name: str, image: str = "registry.k8s.io/pause:3.10", **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod(image)},
        **spec,
    }


@cache
def _command(pulumi_bin: Path) -> auto.PulumiCommand:
    """The CLI, which the Automation API wants as ROOT/bin/pulumi and asks for its version."""
    return auto.PulumiCommand(root=str(pulumi_bin.parents[1]), skip_version_check=True)
