"""What passes between the plugin host and an emulated provider."""

from dataclasses import dataclass, field
from enum import Enum

from pulumi.runtime.proto import provider_pb2

from sandbox.errors import SandboxError
from sandbox.providers.properties import Properties


class ProviderError(SandboxError):
    """An operation failed before it changed anything."""


class InitFailedError(ProviderError):
    """The resource exists, but is not ready: its state is recorded with the reasons, and the next `up` resumes it."""

    def __init__(self, reason: str, identity: str, state: Properties, inputs: Properties | None = None) -> None:
        super().__init__(reason)
        self.identity = identity
        self.state = state
        self.inputs = inputs


class ChangeKind(Enum):
    """How one property changes; `replace` tells whether the whole resource has to go for it."""

    ADD = (provider_pb2.PropertyDiff.ADD, provider_pb2.PropertyDiff.ADD_REPLACE)
    DELETE = (provider_pb2.PropertyDiff.DELETE, provider_pb2.PropertyDiff.DELETE_REPLACE)
    UPDATE = (provider_pb2.PropertyDiff.UPDATE, provider_pb2.PropertyDiff.UPDATE_REPLACE)


@dataclass(frozen=True)
class Request:
    """One operation on one resource; fields an operation does not have are empty."""

    urn: str
    id: str = ""
    inputs: Properties = field(default_factory=Properties)
    old_inputs: Properties = field(default_factory=Properties)
    state: Properties = field(default_factory=Properties)
    timeout: float = 0.0  # seconds; 0 means the provider's default
    preview: bool = False
    ignore_changes: tuple[str, ...] = ()
    seed: bytes = b""
    proposed_name: str = ""
    autonaming: bool = True

    @property
    def type(self) -> str:
        return self.urn.split("::")[2].rsplit("$", 1)[-1]

    @property
    def name(self) -> str:
        return self.urn.split("::", 3)[3]

    def redact(self, text: str) -> str:
        for properties in (self.inputs, self.old_inputs, self.state):
            text = properties.redact(text)
        return text


@dataclass(frozen=True)
class Checked:
    """Inputs as they will be used, and (property, reason) pairs for what is wrong with them."""

    inputs: Properties
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Diffed:
    """Changes by property path; paths in `replaces` force a replacement."""

    changes: dict[str, ChangeKind] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()
    delete_before_replace: bool = False


@dataclass(frozen=True)
class Live:
    """A resource as it is now; an empty id says that it is gone (or, in a preview, not made yet)."""

    id: str = ""
    state: Properties = field(default_factory=Properties)
    inputs: Properties = field(default_factory=Properties)
