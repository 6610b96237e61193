"""What nodes are told at their first boot. Pure; snapshots of it are in the tests.

Bottlerocket reads TOML (bottlerocket.dev, settings of 1.53 and later), AL2023 a NodeConfig in a MIME document (awslabs/
amazon-eks-ami, nodeadm). EKS adds what a node needs to join.
"""

import base64
from typing import Any

import tomli_w
import yaml

from .images import ImageFamily

LIMIT = 16 * 1024
"""Bytes of user data EC2 takes, before base64 (EC2 user guide, "Run commands when you launch an EC2 instance")."""

_BOUND = "/mnt/llm-platform"
"""Bottlerocket binds its own directories and those below /mnt to local disks (its apiclient, ephemeral_storage.rs)."""

_DISK_DIRECTORIES = ("/var/lib/containerd", "/var/lib/kubelet", "/var/log/pods", "/var/lib/soci-snapshotter", _BOUND)

_SOCI = {
    # As AWS's guide to parallel pulls sets it for ECR and instances of this size ("Introducing Seekable OCI Parallel Pull mode
    # for Amazon EKS"); the engine's image is a few very large layers.
    "max-concurrent-downloads-per-image": 20,
    "concurrent-download-chunk-size": "16mb",
    "max-concurrent-unpacks-per-image": 12,
    "discard-unpacked-layers": True,
}


def cache_path(family: ImageFamily, local_disks: bool) -> str:
    """Directory of a node below which model caches belong: on its own NVMe disks where it has them."""
    if not local_disks:
        return "/var/lib/llm-platform/models"
    return f"{_BOUND}/models" if family is ImageFamily.BOTTLEROCKET else "/mnt/k8s-disks/0/models"


def bottlerocket(*, local_disks: bool, large_images: bool) -> str:
    """Settings of Bottlerocket.

    `local_disks`: images, pods and model caches lie on the instance's NVMe disks. `large_images`: layers are downloaded and
    unpacked side by side.
    """
    settings: dict[str, Any] = {}
    if large_images:
        settings["container-runtime"] = {"snapshotter": "soci"}
        settings["container-runtime-plugins"] = {
            "soci-snapshotter": {"pull-mode": "parallel-pull-unpack", "parallel-pull-unpack": _SOCI}
        }
    if local_disks:
        commands = [
            ["apiclient", "ephemeral-storage", "init"],
            ["apiclient", "ephemeral-storage", "bind", "--dirs", *_DISK_DIRECTORIES],
        ]
        settings["bootstrap-commands"] = {"k8s-ephemeral-storage": {"commands": commands, "essential": True, "mode": "always"}}
    return tomli_w.dumps({"settings": settings})


def al2023(*, local_disks: bool, large_images: bool) -> str:
    """A NodeConfig of AL2023 in its MIME document; the arguments are those of `bottlerocket`."""
    spec: dict[str, Any] = {}
    if large_images:
        spec["featureGates"] = {"FastImagePull": True}
    if local_disks:
        spec["instance"] = {"localStorage": {"strategy": "RAID0"}}
    config = yaml.safe_dump({"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}, sort_keys=False)
    boundary = "node-config"
    return "\n".join(
        (
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{boundary}"',
            "",
            f"--{boundary}",
            "Content-Type: application/node.eks.aws",
            "",
            config.rstrip(),
            f"--{boundary}--",
            "",
        )
    )


def user_data(family: ImageFamily, *, local_disks: bool, large_images: bool) -> str | None:
    """User data in base64; None where there is nothing to tell."""
    if not (local_disks or large_images):
        return None
    write = bottlerocket if family is ImageFamily.BOTTLEROCKET else al2023
    text = write(local_disks=local_disks, large_images=large_images).encode()
    if len(text) > LIMIT:
        raise ValueError(f"the user data has {len(text)} bytes, and EC2 takes {LIMIT}")
    return base64.b64encode(text).decode()
