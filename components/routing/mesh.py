"""What makes a namespace part of Istio's ambient mesh."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from ..base import PlatformComponent
from ..inputs import InputText, Model, validate
from ..names import DNS_LABEL_MAX, fit
from ..ordering import known_after
from .istio_mesh import NAMESPACE_LABELS, mesh_objects
from .objects import make


class MeshArgs(TypedDict):
    """Inputs of `Mesh`."""

    namespace_name: pulumi.Input[str]
    """Namespace whose pods become part of it; none of them restarts."""
    has_servers: NotRequired[bool]
    """Whether models are there, which then take encrypted connections to their API alone; true by default."""


class _Config(Model):
    namespace_name: InputText
    has_servers: bool = True


class Mesh(PlatformComponent):
    """The pods of a namespace in the mesh. It needs `IstioController` before it, and Istio's ztunnel and istio-cni on every node.

    The label is not the namespace's own: pods that start before the control plane runs would wait for it.
    """

    namespace_name: pulumi.Output[str]
    """The namespace, known once it is part of the mesh."""

    def __init__(self, name: str, args: MeshArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"Mesh {name}")
        member = kubernetes.core.v1.NamespacePatch(
            self.child_name("member"),
            metadata={
                "name": config.namespace_name,
                "labels": dict(NAMESPACE_LABELS),
                "annotations": {"pulumi.com/patchForce": "true"},
            },
            opts=self.child(),
        )
        joined = known_after(config.namespace_name, member.metadata["name"])
        objects = mesh_objects(joined, fit(name, limit=DNS_LABEL_MAX)) if config.has_servers else {}
        made = make(self, objects)
        self.namespace_name = known_after(joined, *(child.metadata["name"] for child in made.values()))
        self.finish()
