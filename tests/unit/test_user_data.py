"""What nodes are told at their first boot."""

import base64
import email
import itertools
import tomllib
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from components.cluster.images import ImageFamily
from components.cluster.user_data import LIMIT, al2023, bottlerocket, cache_path, user_data

KINDS = [kind for kind in itertools.product((True, False), repeat=2) if any(kind)]
every_kind = pytest.mark.parametrize(("local_disks", "large_images"), KINDS)


def bound_directories(settings: dict[str, Any]) -> list[str]:
    """What Bottlerocket puts on local disks."""
    (command,) = settings["bootstrap-commands"].values()
    init, bind = command["commands"]
    assert init == ["apiclient", "ephemeral-storage", "init"]
    assert bind[:4] == ["apiclient", "ephemeral-storage", "bind", "--dirs"]
    return list(bind[4:])


def node_config(text: str) -> dict[str, Any]:
    """The one part of a MIME document."""
    document = email.message_from_string(text)
    assert document.get_content_type() == "multipart/mixed"
    _, part = document.walk()
    assert part.get_content_type() == "application/node.eks.aws"
    found: dict[str, Any] = yaml.safe_load(str(part.get_payload()))
    return found


@every_kind
@pytest.mark.parametrize("family", ImageFamily)
def test_reviewed_text(family: ImageFamily, local_disks: bool, large_images: bool, snapshot: SnapshotAssertion) -> None:
    encoded = user_data(family, local_disks=local_disks, large_images=large_images)
    assert encoded is not None
    assert base64.b64decode(encoded, validate=True).decode() == snapshot


@every_kind
@pytest.mark.parametrize("family", ImageFamily)
def test_ec2_takes_it(family: ImageFamily, local_disks: bool, large_images: bool) -> None:
    encoded = user_data(family, local_disks=local_disks, large_images=large_images)
    assert encoded is not None
    assert len(base64.b64decode(encoded)) <= LIMIT


@pytest.mark.parametrize("family", ImageFamily)
def test_nothing_is_said_where_there_is_nothing_to_say(family: ImageFamily) -> None:
    assert user_data(family, local_disks=False, large_images=False) is None


def test_images_pods_and_model_caches_lie_on_the_local_disks_of_bottlerocket() -> None:
    directories = bound_directories(tomllib.loads(bottlerocket(local_disks=True, large_images=True))["settings"])
    assert {"/var/lib/containerd", "/var/lib/kubelet", "/var/log/pods", "/var/lib/soci-snapshotter"} < set(directories)
    cache = cache_path(ImageFamily.BOTTLEROCKET, local_disks=True)
    assert [directory for directory in directories if cache.startswith(f"{directory}/")] == ["/mnt/llm-platform"]


def test_a_node_without_its_disks_does_not_come_up() -> None:
    settings = tomllib.loads(bottlerocket(local_disks=True, large_images=False))["settings"]
    (command,) = settings["bootstrap-commands"].values()
    assert (command["essential"], command["mode"]) == (True, "always")
    assert settings.keys() == {"bootstrap-commands"}


def test_bottlerocket_pulls_layers_side_by_side() -> None:
    settings = tomllib.loads(bottlerocket(local_disks=False, large_images=True))["settings"]
    assert settings["container-runtime"] == {"snapshotter": "soci"}
    plugin = settings["container-runtime-plugins"]["soci-snapshotter"]
    assert plugin["pull-mode"] == "parallel-pull-unpack"
    # The keys of bottlerocket.dev, container-runtime-plugins; an unknown one would keep the node from starting.
    assert plugin["parallel-pull-unpack"].keys() <= {
        "concurrent-download-chunk-size",
        "discard-unpacked-layers",
        "max-concurrent-downloads",
        "max-concurrent-downloads-per-image",
        "max-concurrent-unpacks",
        "max-concurrent-unpacks-per-image",
    }


@pytest.mark.parametrize(
    ("local_disks", "large_images", "spec"),
    [
        (True, True, {"featureGates": {"FastImagePull": True}, "instance": {"localStorage": {"strategy": "RAID0"}}}),
        (True, False, {"instance": {"localStorage": {"strategy": "RAID0"}}}),
        (False, True, {"featureGates": {"FastImagePull": True}}),
    ],
)
def test_al2023_reads_a_node_config(local_disks: bool, large_images: bool, spec: dict[str, Any]) -> None:
    assert node_config(al2023(local_disks=local_disks, large_images=large_images)) == {
        "apiVersion": "node.eks.aws/v1alpha1",
        "kind": "NodeConfig",
        "spec": spec,
    }


@pytest.mark.parametrize(
    ("family", "local_disks", "expected"),
    [
        (ImageFamily.BOTTLEROCKET, True, "/mnt/llm-platform/models"),
        # Where nodeadm mounts its RAID 0 (awslabs/amazon-eks-ami, nodeadm).
        (ImageFamily.AL2023, True, "/mnt/k8s-disks/0/models"),
        (ImageFamily.BOTTLEROCKET, False, "/var/lib/llm-platform/models"),
        (ImageFamily.AL2023, False, "/var/lib/llm-platform/models"),
    ],
)
def test_where_model_caches_belong(family: ImageFamily, local_disks: bool, expected: str) -> None:
    assert cache_path(family, local_disks) == expected
