"""Types that more than one component takes: for each a public `TypedDict` and the private model that validates it.

They stand in one module because the packaged schema puts every type into one namespace.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, NotRequired, TypedDict, cast

import pulumi
from pydantic import AfterValidator, Field, model_validator

from planner.catalog import UnknownAcceleratorError, accelerator
from planner.sharing import mig_profile

from .inputs import InputText, Matching, Model
from .names import DNS_LABEL, check_dns_label


def _dns_label(value: str) -> str:
    check_dns_label(value)
    return value


DnsLabel = Annotated[str, AfterValidator(_dns_label)]
"""Text that may name a Kubernetes Service, Namespace or label value."""


Repository = Annotated[
    str,
    Matching(
        pattern=r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*",
        what="a repository of Hugging Face (owner/name)",
        example="Qwen/Qwen2.5-7B-Instruct-AWQ",
    ),
]
"""Owner and name of a repository on Hugging Face."""

Revision = Annotated[
    str,
    Matching(
        pattern="[0-9a-f]{40}",
        what="a commit of 40 hexadecimal digits, and anything else can be moved",
        example="b25037543e9394b818fdfca67ab2a00ecc7dd641",
    ),
]
"""A commit: a branch or a tag can be moved to weights nobody reviewed."""

Checksum = Annotated[
    str, Matching(pattern="[0-9a-f]{64}", what="a SHA-256 checksum of 64 hexadecimal digits", example="0123456789abcdef" * 4)
]
"""SHA-256 in hexadecimal digits."""

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX = rf"(?=[^/]{{1,253}}/){DNS_LABEL.pattern}(\.{DNS_LABEL.pattern})*/"

ResourceName = Annotated[
    str, Matching(pattern=_PREFIX + _NAME, what="an extended resource (domain/name)", example="nvidia.com/gpu")
]
"""Name under which a device plugin offers its devices."""

KubernetesVersion = Annotated[
    str,
    Matching(
        pattern=r"1\.[3-9]\d",
        what="a minor version of Kubernetes from 1.30 on, and older ones have no admission policies to guard namespaces",
        example="'1.36'",
    ),
]
"""Minor version of Kubernetes, whose validating admission policies are stable since 1.30; text, or 1.30 would be 1.3."""

HostPath = Annotated[
    str, Matching(pattern=r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*){2,}", what="a path below a top directory", example="/var/lib/models")
]
"""A directory on a node, never the root or one of its own directories."""


QualifiedName = Annotated[
    str,
    Matching(
        pattern=f"({_PREFIX})?{_NAME}",
        what="a Kubernetes key (a name of up to 63 characters, or domain/name)",
        example="example.com/pool",
    ),
]
"""Key of a label, a taint or a resource (kubernetes.io, "Labels and Selectors", syntax)."""

LabelValue = Annotated[
    str,
    Matching(
        pattern=f"({_NAME})?",
        what="a label value (up to 63 letters, digits, dashes, dots and underscores)",
        example="gpu",
    ),
]
"""Value of a label or a taint."""

_HOST = r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_PORT = r"([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"

WEB_ADDRESS = Matching(
    pattern=rf"https?://{_HOST}(:{_PORT})?([/?#]\S*)?",
    what="a URL of http or https with a host and a port up to 65535",
    example="https://name.example.org:8443/path",
)
WebAddress = Annotated[str, WEB_ADDRESS]
"""Where something is asked by HTTP; without a user or a password."""

HostPort = Annotated[
    str, Matching(pattern=f"{_HOST}:{_PORT}", what="a host with a port up to 65535", example="smtp.example.org:587")
]
"""Where something listens."""

COMPUTED_LABELS = frozenset({"kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os"})
"""Labels that every kubelet works out for its node."""


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class TaintArgs(TypedDict):
    """A taint of the nodes of a pool; what runs there tolerates it."""

    key: str
    """Taint key, e.g. `nvidia.com/gpu`."""
    value: NotRequired[str]
    """Taint value; empty by default."""
    effect: TaintEffect
    """`NoSchedule`, `PreferNoSchedule` or `NoExecute`."""


class Taint(Model):
    """A taint of the nodes of a pool (validated `TaintArgs`)."""

    key: QualifiedName = Field(description="Its key.", examples=["nvidia.com/gpu"])
    value: LabelValue = Field("", description="Its value.")
    effect: TaintEffect = Field(description="What it does with pods that do not tolerate it.", examples=["NoSchedule"])

    @classmethod
    def by_resource(cls, resource: str) -> "Taint":
        """What nodes with accelerators have by default, so that only pods that want their extended resource come."""
        return cls(key=resource, value="present", effect=TaintEffect.NO_SCHEDULE)


class SharingKind(StrEnum):
    """How one accelerator serves several pods."""

    MIG = "mig"
    """Cut by the hardware into instances with memory of their own."""
    TIME_SLICING = "timeSlicing"
    """Taken in turns; memory is not kept apart."""
    MPS = "mps"
    """One process for all clients, each with an equal part of the memory."""


class SharingArgs(TypedDict):
    """How the accelerators of a pool are shared; all of its nodes alike."""

    kind: SharingKind
    """`mig`, `timeSlicing` or `mps`."""
    profile: NotRequired[str]
    """MIG only: the instances each GPU is cut into, e.g. `3g.40gb`."""
    replicas: NotRequired[int]
    """Time-slicing and MPS only: pods that share one accelerator."""


MigProfile = Annotated[str, Matching(pattern=r"[1-7]g\.\d+gb", what="a MIG profile", example="3g.40gb")]
"""Name of a kind of MIG instance: its share of the processors, and its memory."""


class Sharing(Model):
    """Validated `SharingArgs`."""

    kind: SharingKind = Field(description="How: mig, timeSlicing or mps.", examples=["mig"])
    profile: MigProfile | None = Field(None, description="MIG: the instances every GPU is cut into.")
    replicas: int | None = Field(None, ge=2, le=48, description="Time-slicing and MPS: pods that share one.", examples=[4])

    @model_validator(mode="after")
    def _complete(self) -> "Sharing":
        needed, other = ("profile", "replicas") if self.kind is SharingKind.MIG else ("replicas", "profile")
        if getattr(self, needed) is None:
            example = "profile: 3g.40gb" if needed == "profile" else "replicas: 4"
            raise ValueError(f"{needed} is missing, and kind {self.kind} needs it; add e.g. {example}")
        if getattr(self, other) is not None:
            raise ValueError(f"{other} has no meaning for kind {self.kind}; remove it")
        return self


class AcceleratorArgs(TypedDict):
    """The accelerators of one node."""

    product: NotRequired[str]
    """Name in the planner's catalogue, e.g. `L4`; derived from the pool's instance type where that is known."""
    memory_gib: NotRequired[float]
    """Memory in GiB of one accelerator, or of one MIG instance, as its driver reports it, where the catalogue lacks it."""
    resource: NotRequired[str]
    """Extended resource the device plugin offers; `nvidia.com/gpu` by default."""
    per_node: int
    """Accelerators of one node, each once however many pods share it."""
    sharing: NotRequired[SharingArgs]
    """How each of them serves several pods; one pod each by default."""
    device_groups: NotRequired[list[int]]
    """Groups that own the device files, as numbers on the nodes (`stat -c %g /dev/kfd`); pods that use them join these."""


class Accelerator(Model):
    """The accelerators of one node (validated `AcceleratorArgs`)."""

    product: str | None = Field(
        None, min_length=1, description="Name in the planner's catalogue, where no instance type tells it.", examples=["L4"]
    )
    memory_gib: float | None = Field(
        None,
        gt=0,
        le=4096,
        description="Memory of one, or of one MIG instance, as its driver reports it, where the catalogue lacks it.",
        examples=[22.0],
    )
    resource: ResourceName = Field("nvidia.com/gpu", description="Extended resource the device plugin offers.")
    per_node: int = Field(ge=1, le=64, description="How many a node has, each once however many pods share it.", examples=[1])
    sharing: Sharing | None = Field(None, description="How each serves several pods; one pod each when left out.")
    device_groups: tuple[int, ...] = Field(
        (), description="Groups that own the device files, as numbers on the nodes; pods that use them join these."
    )

    @model_validator(mode="after")
    def _can_be_shared(self) -> "Accelerator":
        if self.sharing is None:
            return self
        if self.resource != "nvidia.com/gpu":
            raise ValueError(f"sharing: {self.resource} cannot be shared, only nvidia.com/gpu; remove it")
        if self.sharing.profile is not None:
            if self.product is None:
                raise ValueError("sharing: MIG instances depend on the card, so product is needed; add e.g. product: H100-80GB")
            try:
                self._instances(self.product, self.sharing.profile)
            except ValueError as error:
                raise ValueError(f"sharing.profile: {error}") from None
        return self

    @property
    def offered(self) -> str:
        """The extended resource that pods ask for: shared accelerators go by a name of their own (NVIDIA/k8s-device-plugin,
        `mixed` MIG strategy and `renameByDefault`)."""
        if self.sharing is None:
            return self.resource
        return f"nvidia.com/mig-{self.sharing.profile}" if self.sharing.profile else f"{self.resource}.shared"

    @property
    def units(self) -> int:
        """How many of that one node offers."""
        if self.sharing is None:
            return self.per_node
        parts = self._instances(self.product or "", self.sharing.profile) if self.sharing.profile else self.sharing.replicas
        return self.per_node * (parts or 1)

    @staticmethod
    def _instances(product: str, profile: str) -> int:
        try:
            return mig_profile(accelerator(product).name, profile).count
        except UnknownAcceleratorError as error:
            raise ValueError(error.fact) from None


SecretKeyName = Annotated[str, Matching(pattern=r"[A-Za-z0-9._-]+", what="a key of a Secret", example="token")]
"""Key of one value of a Secret or ConfigMap; a file name where it is mounted."""


class SecretKeyArgs(TypedDict):
    """One value of a Secret that is there already."""

    name: pulumi.Input[str]
    """Name of the Secret, in the namespace of the pod that reads it."""
    key: str
    """Key of the value in it; pods get it as a file of that name."""


class SecretKey(Model):
    """Validated `SecretKeyArgs`."""

    name: InputText
    key: SecretKeyName


class NodePoolArgs(TypedDict):
    """Nodes of one kind, as far as the workloads on them must know it."""

    name: str
    """Name of the pool."""
    accelerator: NotRequired[AcceleratorArgs]
    """Its accelerators; none for a pool of plain nodes."""
    max_nodes: int
    """Nodes the pool can grow to."""
    labels: dict[str, str]
    """Labels that all its nodes have and no others; they select the pool."""
    taints: NotRequired[list[TaintArgs]]
    """Taints of its nodes."""
    interruptible: NotRequired[bool]
    """Whether its nodes can go with two minutes' notice (spot); false by default."""
    fabric_interfaces: NotRequired[int]
    """EFA interfaces of one node, offered to pods as `vpc.amazonaws.com/efa`; none by default."""
    topology_key: NotRequired[str | None]
    """Label whose value nodes near each other share; pods of one replica stay within one value. Anywhere by default."""
    ships_device_plugin: NotRequired[bool]
    """Whether its nodes offer their accelerators by themselves, as Bottlerocket's do, or nodes of a cluster that somebody else
    equipped; true by default."""
    runtime_class_name: NotRequired[str | None]
    """RuntimeClass that pods need to reach the accelerators; None where it is the nodes' default runtime."""


class NodePoolModel(Model):
    """Validated `NodePoolArgs` without the name, as stack files write it below the pool's name."""

    accelerator: Accelerator | None = Field(None, description="Its accelerators; none for a pool of plain nodes.")
    max_nodes: int = Field(ge=1, description="Nodes the pool can grow to.", examples=[1])
    labels: Mapping[str, str] = Field(
        min_length=1,
        description="Labels that all its nodes have and no others; they select the pool.",
        examples=["{node.kubernetes.io/instance-type: g6.xlarge}"],
    )
    taints: tuple[Taint, ...] = Field((), description="Taints of its nodes.")
    interruptible: bool = Field(False, description="Whether its nodes can go with two minutes' notice (spot).")
    fabric_interfaces: int = Field(0, ge=0, le=64, description="EFA interfaces of one node that pods may ask for.", examples=[32])
    topology_key: str | None = Field(
        None,
        min_length=1,
        description="Label whose value nodes near each other share; pods of one replica stay within one value.",
        examples=["topology.kubernetes.io/zone"],
    )
    ships_device_plugin: bool = Field(
        True, description="Whether its nodes offer their accelerators by themselves; false installs the vendor's device plugin."
    )
    runtime_class_name: DnsLabel | None = Field(
        None,
        description="RuntimeClass that pods need to reach the accelerators, where it is not the default.",
        examples=["nvidia"],
    )

    def capacity(self) -> int:
        """Accelerators of the whole pool at its largest."""
        return self.max_nodes * self.accelerator.units if self.accelerator else 0


class NodePool(NodePoolModel):
    """Validated `NodePoolArgs`."""

    name: DnsLabel = Field(examples=["l4"])

    def args(self) -> NodePoolArgs:
        """The same pool as a component takes it."""
        return cast(NodePoolArgs, self.model_dump(exclude_none=True))

    def tolerations(self) -> list[dict[str, Any]]:
        """Tolerations that let a pod onto these nodes."""
        return [
            {"key": taint.key, "operator": "Equal", "value": taint.value, "effect": taint.effect.value} for taint in self.taints
        ]

    def node_affinity(self) -> dict[str, Any]:
        """The node selector terms (of a pod's affinity or a volume's) that hold for exactly these nodes."""
        expressions = [{"key": key, "operator": "In", "values": [value]} for key, value in sorted(self.labels.items())]
        return {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
