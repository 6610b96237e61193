"""Who may mount an EFS file system: its policy, and the directories it hands out. Pure; values may be outputs."""

from typing import Any

import pulumi

from ..pods import ENGINE_UID
from ..security.policies import Statement, allow, deny, deny_insecure_transport
from .layout import MODEL_ROOT

_MOUNT = ("elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite")
_AS_ROOT = "elasticfilesystem:ClientRootAccess"


def file_system_statements(file_system_arn: pulumi.Input[str], access_point_arns: pulumi.Input[str]) -> list[Statement]:
    """Statements of the policy: mounted from inside the network, over TLS, through an access point of the account; never as root.

    Clients carry no credentials (the CSI driver of the nodes mounts), so that the security group says who they are.
    """
    everybody = {"AWS": "*"}
    return [
        allow(
            _MOUNT,
            file_system_arn,
            principals=everybody,
            conditions={
                "Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"},
                "ArnLike": {"elasticfilesystem:AccessPointArn": access_point_arns},
            },
            sid="MountThroughAccessPoints",
        ),
        deny(
            [*_MOUNT, _AS_ROOT],
            file_system_arn,
            principals=everybody,
            conditions={"Null": {"elasticfilesystem:AccessPointArn": "true"}},
            sid="DenyMountOfTheRoot",
        ),
        deny_insecure_transport([*_MOUNT, _AS_ROOT], file_system_arn),
    ]


def directory(key: str) -> dict[str, Any]:
    """The arguments of an access point: one directory, made when missing, all access as the engine's user."""
    return {
        "posix_user": {"uid": ENGINE_UID, "gid": 0},
        "root_directory": {
            "path": f"{MODEL_ROOT}/{key}",
            "creation_info": {"owner_uid": ENGINE_UID, "owner_gid": 0, "permissions": "0770"},
        },
    }
