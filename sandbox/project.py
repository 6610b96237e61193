"""The Pulumi project that is rehearsed, and where its rehearsals keep what they need."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

import settings
from components.inputs import Model, validate
from sandbox.control_plane import NodeGroup
from sandbox.errors import SandboxError


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
        on_eks = given.on_eks()
        return Stack(self, name, path, given.context, on_eks.aws.region if on_eks else None, rehearsal)

    @property
    def manifest(self) -> dict[str, Any]:
        """Pulumi.yaml."""
        content: dict[str, Any] = yaml.safe_load((self.root / "Pulumi.yaml").read_text())
        return content

    def _stack_file(self, name: str) -> str:
        return str(Path(self.manifest.get("stackConfigDir", ".")) / f"Pulumi.{name}.yaml")


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
