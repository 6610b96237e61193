"""Identities of workloads."""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes as kubernetes

from ..base import PlatformComponent


def service_account(
    owner: PlatformComponent,
    namespace_name: pulumi.Input[str],
    labels: Mapping[str, str],
    name: pulumi.Input[str] | None = None,
    *,
    pull_secrets: Sequence[pulumi.Input[str]] = (),
) -> pulumi.Output[str]:
    """A ServiceAccount of the owner's own, whose token no pod mounts; its name.

    `name` is one that a cloud identity was given to. `pull_secrets` are what its pods pull images with; other ones do not roll
    the pods that run.
    """
    account = kubernetes.core.v1.ServiceAccount(
        owner.child_name("account"),
        metadata={"namespace": namespace_name, "labels": labels, **({} if name is None else {"name": name})},
        automount_service_account_token=False,
        image_pull_secrets=[{"name": secret} for secret in pull_secrets] or None,
        opts=owner.child(),
    )
    made: pulumi.Output[str] = account.metadata["name"]
    return made
