"""What has metrics of one vendor's accelerators, as the vendor publishes it; NVIDIA's is `DcgmExporter`."""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ...accelerators.profiles import Exporter, Vendor, profile
from ...base import PlatformComponent, labels
from ...inputs import InputText, Model, validate
from ...security.account import service_account
from ...serving.engine_images import PinnedImage
from ...types import NodePool, NodePoolArgs
from .daemon_set import exporter_spec
from .pools import check_pools

APP = "accelerator-exporter"
"""Label `app.kubernetes.io/name` of the pods; the instance is the vendor."""
_TIMEOUT = 900
"""Seconds; a node that has just joined pulls the image first."""


class AcceleratorExporterArgs(TypedDict):
    """Inputs of `AcceleratorExporter`."""

    namespace_name: pulumi.Input[str]
    """Namespace of what runs on the nodes; it has to admit *privileged* pods."""
    vendor: Vendor
    """`amd`, `gaudi`, `neuron` or `rebellions`; NVIDIA has `DcgmExporter`, and nobody published one for the others."""
    pools: list[NodePoolArgs]
    """All pools with this vendor's accelerators."""
    image: NotRequired[str]
    """Another image, with its tag or digest."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that its pods pull images with; none by default."""


class _Config(Model):
    namespace_name: InputText
    vendor: Vendor
    pools: tuple[NodePool, ...] = Field(min_length=1)
    image: PinnedImage | None = Field(None, min_length=1, examples=["registry.example.com/metrics-exporter:v1.0"])
    image_pull_secrets: tuple[InputText, ...] = ()

    @model_validator(mode="after")
    def _can_be(self) -> "_Config":
        check_exporter(self.vendor)
        check_pools(self.vendor, self.pools)
        return self


class AcceleratorExporter(PlatformComponent):
    """The exporter of one vendor on every node with its accelerators. One per vendor and cluster."""

    vendor_name: pulumi.Output[str]
    """The vendor, known once it runs on the nodes there are."""

    def __init__(self, name: str, args: AcceleratorExporterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"AcceleratorExporter {name}")
        exporter = _chosen(config)
        common = labels(APP, config.vendor, "monitoring")
        metadata = {"namespace": config.namespace_name, "labels": common}
        account = service_account(self, config.namespace_name, common, pull_secrets=config.image_pull_secrets)
        made = kubernetes.apps.v1.DaemonSet(
            self.child_name("exporter"),
            metadata=metadata,
            spec=exporter_spec(
                exporter, config.pools, common, service_account=account, config_map=self._settings(exporter, metadata)
            ),
            opts=self.child(timeout=_TIMEOUT, depends_on=self._granted(exporter, metadata, account)),
        )
        self.vendor_name = made.id.apply(lambda _: config.vendor.value)
        self.finish()

    def _settings(self, exporter: Exporter, metadata: Mapping[str, Any]) -> pulumi.Output[str] | None:
        """Name of the ConfigMap with the file that it reads; None where it reads none."""
        if exporter.config is None:
            return None
        # Autonamed and immutable: another file is another object, and so a rollout of the exporter.
        content = json.dumps(exporter.config.content, indent=1, sort_keys=True)
        made = kubernetes.core.v1.ConfigMap(
            self.child_name("settings"),
            metadata=metadata,
            data={PurePosixPath(exporter.config.path).name: content},
            immutable=True,
            opts=self.child(),
        )
        name: pulumi.Output[str] = made.metadata["name"]
        return name

    def _granted(
        self, exporter: Exporter, metadata: Mapping[str, Any], account: pulumi.Output[str]
    ) -> list[pulumi.Input[pulumi.Resource]]:
        """What has to be there before its credentials are worth anything."""
        if not exporter.rules:
            return []
        wide = {"labels": metadata["labels"]}
        rules = [{"apiGroups": [""], "resources": list(rule.resources), "verbs": list(rule.verbs)} for rule in exporter.rules]
        role = kubernetes.rbac.v1.ClusterRole(self.child_name("role"), metadata=wide, rules=rules, opts=self.child())
        binding = kubernetes.rbac.v1.ClusterRoleBinding(
            self.child_name("binding"),
            metadata=wide,
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata["name"]},
            subjects=[{"kind": "ServiceAccount", "name": account, "namespace": metadata["namespace"]}],
            opts=self.child(),
        )
        return [binding]


def check_exporter(vendor: Vendor) -> None:
    """ValueError for a vendor of which no exporter is known, or whose exporter is another component."""
    known = profile(vendor)
    if vendor is Vendor.NVIDIA:
        raise ValueError("vendor: DCGM has metrics of NVIDIA's GPUs, by a chart; use DcgmExporter")
    if known.exporter is None:
        raise ValueError(
            f"vendor: no exporter for {known.title} is published; leave it out, and its pools have no metrics of devices"
        )


def _chosen(config: _Config) -> Exporter:
    exporter = profile(config.vendor).exporter
    assert exporter is not None  # noqa: S101
    return exporter.model_copy(update={"image": config.image}) if config.image else exporter
