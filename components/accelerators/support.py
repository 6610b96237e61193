"""What makes the nodes of a cluster offer the accelerators of one vendor."""

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ..base import PlatformComponent, labels
from ..inputs import InputText, Matching, Model, validate
from ..types import NodePool, NodePoolArgs
from ..versions import GPU_OPERATOR, NVIDIA_DEVICE_PLUGIN
from .device_plugin import cluster_rules, config_data, plugin_spec
from .nvidia import device_plugin_values, operator_values
from .profiles import HostPath, Owner, Plugin, Vendor, profile
from .rules import Support, check_support

_DEVICE_PLUGIN_REPOSITORY = "https://nvidia.github.io/k8s-device-plugin"
_OPERATOR_REPOSITORY = "https://helm.ngc.nvidia.com/nvidia"
_TIMEOUT = 900
"""Seconds; a node that has just joined pulls the images first."""


_NodePath = Annotated[str, Matching(pattern=r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", what="a path below /", example="/sys")]


class PluginArgs(TypedDict):
    """A device plugin that is not the platform's."""

    image: NotRequired[str]
    """Image with its tag or digest; required for Sapeon and custom, whose plugins nobody published."""
    chart_version: NotRequired[str]
    """Version of NVIDIA's chart; the platform's by default."""
    privileged: NotRequired[bool]
    """Sapeon and custom: whether it runs privileged; false by default."""
    args: NotRequired[list[str]]
    """Sapeon and custom: its arguments."""
    env: NotRequired[dict[str, str]]
    """Sapeon and custom: its environment; no secrets."""
    host_paths: NotRequired[list[str]]
    """Sapeon and custom: paths of the node that it needs beside the kubelet's socket directory, e.g. `/sys`."""


class HostSoftwareArgs(TypedDict):
    """What the nodes have already, so that NVIDIA's operator leaves it alone."""

    driver: NotRequired[bool]
    """Whether they have the driver; true by default, as on EKS' machine images and on our own hosts."""
    toolkit: NotRequired[bool]
    """Whether they have the container toolkit; true by default likewise."""
    mig: NotRequired[bool]
    """Whether they cut their GPUs into MIG instances themselves, as our own hosts do; false by default."""
    containerd_socket: NotRequired[str]
    """Where containerd listens, for an operator that installs the toolkit, e.g. `/run/k3s/containerd/containerd.sock`."""


class AcceleratorSupportArgs(TypedDict):
    """Inputs of `AcceleratorSupport`."""

    namespace_name: pulumi.Input[str]
    """Namespace of what runs on the nodes; it has to admit *privileged* pods."""
    vendor: Vendor
    """Whose accelerators: `nvidia`, `amd`, `gaudi`, `neuron`, `tpu`, `rebellions`, `sapeon`, `xpu` or `custom`."""
    pools: list[NodePoolArgs]
    """The pools whose nodes shall offer them; none of any other vendor."""
    owner: NotRequired[Owner]
    """What is installed: `devicePlugin` (the default, but for TPUs), `operator` (NVIDIA) or `none`."""
    plugin: NotRequired[PluginArgs]
    """Another device plugin than the platform's."""
    host: NotRequired[HostSoftwareArgs]
    """What the nodes have already."""
    mofed: NotRequired[bool]
    """Whether pods with GPUs get the InfiniBand devices too; false by default, and never with EFA."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes that controllers run on; any Linux node by default."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that the pods of its own service account pull images with; none for charts."""


class _Plugin(Model):
    image: str | None = Field(None, min_length=1, examples=["registry.example.com/npu-device-plugin:v1.0"])
    chart_version: str | None = Field(None, min_length=1, examples=[NVIDIA_DEVICE_PLUGIN])
    privileged: bool = False
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = Field(default_factory=dict)
    host_paths: tuple[_NodePath, ...] = ()

    def own_settings(self) -> list[str]:
        """Names of the settings given here that a vendor's manifest decides otherwise."""
        return sorted(self.model_fields_set - {"image", "chart_version"})

    def over(self, vendor: Plugin) -> Plugin:
        """The vendor's plugin with what is given here."""
        return vendor.model_copy(
            update={
                "image": self.image or vendor.image,
                "privileged": vendor.privileged or self.privileged,
                "args": (*vendor.args, *self.args),
                "env": {**vendor.env, **self.env},
                "host_paths": (*vendor.host_paths, *(HostPath(path=path) for path in self.host_paths)),
            }
        )


class _Host(Model):
    driver: bool = True
    toolkit: bool = True
    mig: bool = False
    containerd_socket: str | None = Field(None, pattern="^/", examples=["/run/k3s/containerd/containerd.sock"])


class _Config(Model):
    namespace_name: InputText
    vendor: Vendor
    pools: tuple[NodePool, ...] = Field(min_length=1)
    owner: Owner | None = None
    plugin: _Plugin = Field(default_factory=_Plugin)
    host: _Host = Field(default_factory=_Host)
    mofed: bool = False
    system_labels: Mapping[str, str] = Field(default_factory=dict)
    image_pull_secrets: tuple[InputText, ...] = ()

    def chosen(self) -> Owner:
        """The owner, by default the vendor's usual one."""
        return self.owner or profile(self.vendor).owners[0]

    @model_validator(mode="after")
    def _can_be(self) -> "_Config":
        check_support(
            Support(
                vendor=self.vendor,
                owner=self.chosen(),
                pools=self.pools,
                image=self.plugin.image,
                chart_version=self.plugin.chart_version,
                own_settings=self.plugin.own_settings(),
                mofed=self.mofed,
            )
        )
        return self


class AcceleratorSupport(PlatformComponent):
    """Installs exactly one of a vendor's device plugin, its operator, or nothing, for the pools it is given and no others."""

    vendor_name: pulumi.Output[str]
    """The vendor, known once the plugin or operator runs; an operator then goes on by itself, node by node."""

    def __init__(self, name: str, args: AcceleratorSupportArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(_Config, args, f"AcceleratorSupport {name}")
        match config.chosen():
            case Owner.NONE:
                ready = pulumi.Output.from_input("")
            case Owner.OPERATOR:
                ready = self._operator().id
            case Owner.DEVICE_PLUGIN if config.vendor is Vendor.NVIDIA:
                ready = self._chart().id
            case Owner.DEVICE_PLUGIN:
                ready = self._daemon_set(name).id
        self.vendor_name = ready.apply(lambda _: config.vendor.value)
        self.finish()

    def _chart(self) -> "kubernetes.helm.v3.Release":
        config = self._config
        values = device_plugin_values(
            config.pools, image=config.plugin.image, mofed=config.mofed, system_labels=config.system_labels
        )
        version = config.plugin.chart_version or NVIDIA_DEVICE_PLUGIN
        return self._release("nvidia-device-plugin", version, _DEVICE_PLUGIN_REPOSITORY, values)

    def _operator(self) -> "kubernetes.helm.v3.Release":
        config = self._config
        values = operator_values(
            config.pools,
            driver=not config.host.driver,
            toolkit=not config.host.toolkit,
            containerd_socket=config.host.containerd_socket,
            mig_manager=not config.host.mig,
            mofed=config.mofed,
            system_labels=config.system_labels,
        )
        return self._release("gpu-operator", config.plugin.chart_version or GPU_OPERATOR, _OPERATOR_REPOSITORY, values)

    def _release(self, chart: str, version: str, repository: str, values: dict[str, Any]) -> "kubernetes.helm.v3.Release":
        """A release under its chart's name, since there is one owner of the devices of a cluster; whole or not at all."""
        return kubernetes.helm.v3.Release(
            self.child_name("owner"),
            name=chart,
            chart=chart,
            version=version,
            repository_opts=kubernetes.helm.v3.RepositoryOptsArgs(repo=repository),
            namespace=self._config.namespace_name,
            atomic=True,
            timeout=_TIMEOUT,
            values=values,
            # The old owner goes first: plugins of one vendor use one socket, and the one that ends takes it along.
            opts=pulumi.ResourceOptions.merge(self.child(timeout=_TIMEOUT), pulumi.ResourceOptions(delete_before_replace=True)),
        )

    def _daemon_set(self, name: str) -> "kubernetes.apps.v1.DaemonSet":
        config = self._config
        known = profile(config.vendor)
        plugin = config.plugin.over(known.plugin or Plugin())
        common = labels("device-plugin", name, "accelerators")
        metadata = {"namespace": config.namespace_name, "labels": common}
        data = config_data(plugin)
        config_map = self._settings(metadata, data) if data else None
        account, granted = self._account(plugin, metadata) if plugin.rules else (None, [])
        asked = [pool.accelerator.resource for pool in config.pools if pool.accelerator]
        return kubernetes.apps.v1.DaemonSet(
            self.child_name("plugin"),
            metadata=metadata,
            spec=plugin_spec(
                plugin,
                config.pools,
                known.resources or sorted(set(asked)),
                common,
                service_account=account,
                config_map=config_map,
            ),
            opts=self.child(timeout=_TIMEOUT, depends_on=granted),
        )

    def _settings(self, metadata: Mapping[str, Any], data: Mapping[str, str]) -> pulumi.Output[str]:
        # Autonamed and immutable: other settings are another object, and so a rollout of the plugin.
        settings = kubernetes.core.v1.ConfigMap(
            self.child_name("settings"), metadata=metadata, data=data, immutable=True, opts=self.child()
        )
        name: pulumi.Output[str] = settings.metadata["name"]
        return name

    def _account(self, plugin: Plugin, metadata: Mapping[str, Any]) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
        """Credentials of the plugin: name of its service account, and what has to be there before they are worth anything."""
        account = kubernetes.core.v1.ServiceAccount(
            self.child_name("account"),
            metadata=metadata,
            automount_service_account_token=False,
            image_pull_secrets=[{"name": secret} for secret in self._config.image_pull_secrets] or None,
            opts=self.child(),
        )
        wide = {"labels": metadata["labels"]}
        role = kubernetes.rbac.v1.ClusterRole(
            self.child_name("role"), metadata=wide, rules=cluster_rules(plugin), opts=self.child()
        )
        binding = kubernetes.rbac.v1.ClusterRoleBinding(
            self.child_name("binding"),
            metadata=wide,
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata["name"]},
            subjects=[{"kind": "ServiceAccount", "name": account.metadata["name"], "namespace": metadata["namespace"]}],
            opts=self.child(),
        )
        return account.metadata["name"], [binding]
