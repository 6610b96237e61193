"""What is known of each vendor's accelerators. Pure; the facts and their sources are in profiles.yaml."""

import fnmatch
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from planner.catalog.files import load_yaml

from ..image_lock import locked
from ..inputs import Model
from ..serving.engine_images import check_image
from ..types import NodePool


class Vendor(StrEnum):
    """Who makes accelerators."""

    NVIDIA = "nvidia"
    AMD = "amd"
    GAUDI = "gaudi"
    """Intel Gaudi."""
    NEURON = "neuron"
    """AWS Inferentia and Trainium."""
    TPU = "tpu"
    REBELLIONS = "rebellions"
    SAPEON = "sapeon"
    XPU = "xpu"
    """Intel GPUs."""
    CUSTOM = "custom"
    """Whatever else a plugin offers."""


class Owner(StrEnum):
    """Who makes nodes offer their accelerators. A device has one owner: two would each count it."""

    DEVICE_PLUGIN = "devicePlugin"
    OPERATOR = "operator"
    """The vendor's operator, which brings its own device plugin."""
    NONE = "none"
    """Nobody here: the nodes bring it, or somebody else installs it."""


class HostPath(Model):
    """A path of the node in the plugin's container, under the same name."""

    path: str = Field(pattern="^/")
    read_only: bool = False
    create: bool = False
    """Whether it is made where it is missing."""


class Rule(Model):
    """What a plugin or an exporter may do with objects of the core group."""

    resources: tuple[str, ...]
    verbs: tuple[str, ...]


class ConfigFile(Model):
    """A file in JSON that a plugin or an exporter reads."""

    path: str
    content: Mapping[str, Any]


class PluginResources(Model):
    """What the container of a plugin or an exporter asks for; its memory is its limit."""

    cpu: str = "50m"
    memory_mib: int = 256


class Plugin(Model):
    """The DaemonSet of a device plugin, beside what all of them have."""

    image: str | None = None
    """None where its vendor publishes none."""
    privileged: bool = False
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = Field(default_factory=dict)
    node_name: bool = False
    """Whether it is told its node's name, as NODE_NAME."""
    host_paths: tuple[HostPath, ...] = ()
    config: ConfigFile | None = None
    rules: tuple[Rule, ...] = ()
    """Its permissions; without any it has no credentials."""
    se_linux_type: str | None = None
    read_only_root: bool = False
    """Whether its vendor runs it so: a logger that finds no place for its files ends the program."""
    resources: PluginResources = Field(default_factory=PluginResources)


class Exporter(Model):
    """What has metrics of a vendor's devices: a DaemonSet, beside what all of them have. NVIDIA's comes from a chart."""

    image: str
    port: int
    privileged: bool = False
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    pod_env: Mapping[str, str] = Field(default_factory=dict)
    """Environment whose values are fields of the pod, e.g. `{NODE_NAME: spec.nodeName}`."""
    env: Mapping[str, str] = Field(default_factory=dict)
    host_paths: tuple[HostPath, ...] = ()
    """Beside the directory in which the kubelet says which pod has which device."""
    config: ConfigFile | None = None
    rules: tuple[Rule, ...] = ()
    """Its permissions; without any it has no credentials."""
    resources: PluginResources = Field(default_factory=PluginResources)


class Smoke(Model):
    """A command that succeeds only where a device answers."""

    command: tuple[str, ...] = ()
    """Empty where no tool is known."""
    image: str | None = None
    """None for the engine's."""
    memory_mib: int


class AcceleratorProfile(Model):
    """One vendor's accelerators."""

    vendor: Vendor
    title: str
    resources: tuple[str, ...]
    node_labels: tuple[str, ...] = ()
    taint_key: str | None = None
    """None for custom ones: their resource."""
    owners: tuple[Owner, ...] = Field(min_length=1)
    """Who can own its devices, the usual one first."""
    plugin: Plugin | None = None
    """None where a chart or the nodes bring it."""
    exporter: Exporter | None = None
    parallelism: str | None = None
    """What tensor parallelism obeys beside the rules for all; None where nothing else is known."""
    smoke: Smoke
    driver: str
    """Where the version an image needs is found."""

    @field_validator("plugin", "exporter", "smoke")
    @classmethod
    def _pinned(cls, part: Plugin | Exporter | Smoke | None) -> Plugin | Exporter | Smoke | None:
        if part is None or part.image is None:
            return part
        check_image(part.image)
        return part.model_copy(update={"image": locked(part.image)})

    def offers(self, resource: str) -> bool:
        """Whether `resource` is one of its."""
        return any(fnmatch.fnmatchcase(resource, pattern) for pattern in self.resources)


def profile(vendor: Vendor) -> AcceleratorProfile:
    """The accelerators of `vendor`."""
    return _profiles()[vendor]


def profile_of(resource: str) -> AcceleratorProfile:
    """Whose accelerators `resource` are; *custom* where no vendor is known for it."""
    return next((each for each in _profiles().values() if each.offers(resource)), profile(Vendor.CUSTOM))


def covers(pools: Iterable[NodePool]) -> dict[Vendor, list[NodePool]]:
    """The pools with accelerators, by vendor."""
    found: dict[Vendor, list[NodePool]] = {}
    for pool in pools:
        if pool.accelerator is not None:
            found.setdefault(profile_of(pool.accelerator.resource).vendor, []).append(pool)
    return found


@cache
def _profiles() -> Mapping[Vendor, AcceleratorProfile]:
    raw = load_yaml(Path(__file__).with_name("profiles.yaml"))["profiles"]
    found = [AcceleratorProfile.model_validate(entry) for entry in raw]
    return {each.vendor: each for each in found}
