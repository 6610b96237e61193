"""What an AWS account has of a cluster's stack, by its tags, beyond what the state knows."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from components.base import PACKAGE
from components.inputs import Model


@dataclass(frozen=True)
class Left:
    """One thing that is left."""

    kind: str
    arn: str
    leaked: bool
    """Neither kept on purpose nor on its way out."""
    why: str
    remedy: str


class _Kind(Model):
    kind: str
    why: str
    remedy: str
    kept: bool = False
    waiting: bool = False


def marks(cluster: str) -> dict[str, str]:
    """Tags of what belongs to a cluster, by who gives them: this program, Kubernetes and its storage drivers, the load balancer
    controller, the network plugin, and Karpenter (their projects' pages on tagging; components/cluster/karpenter_policies.py)."""
    return {
        f"{PACKAGE}/cluster": cluster,
        f"kubernetes.io/cluster/{cluster}": "owned",
        "elbv2.k8s.aws/cluster": cluster,
        "cluster.k8s.amazonaws.com/name": cluster,
        "eks:eks-cluster-name": cluster,
    }


def left(session: Any, cluster: str, known: Collection[str] = ()) -> list[Left]:
    """Everything of the cluster in the account and region of `session` (boto3) but the ARNs that are `known`.

    botocore's errors where the account refuses or does not answer.
    """
    found = {arn: _described(arn) for arn in _tagged(session, cluster) if arn not in known}
    found |= {arn: _described(arn) for arn in _log_groups(session, cluster) if arn not in known}
    ended = _ended(session, [arn for arn in found if ":instance/" in arn])
    there = (each for arn, each in found.items() if arn not in ended)
    return sorted(there, key=lambda each: (not each.leaked, each.kind, each.arn))


def _tagged(session: Any, cluster: str) -> Iterator[str]:
    pages = session.client("resourcegroupstaggingapi").get_paginator("get_resources")
    for key, value in marks(cluster).items():
        for page in pages.paginate(TagFilters=[{"Key": key, "Values": [value]}]):
            yield from (resource["ResourceARN"] for resource in page["ResourceTagMappingList"])


def _log_groups(session: Any, cluster: str) -> Iterator[str]:
    """Those that EKS makes have no tags."""
    for page in session.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=f"/aws/eks/{cluster}/"):
        yield from (group["arn"].removesuffix(":*") for group in page["logGroups"])


def _ended(session: Any, arns: Collection[str]) -> set[str]:
    """Instances are listed for an hour after they have ended."""
    by_id = {arn.rpartition("/")[2]: arn for arn in arns}
    if not by_id:
        return set()
    filters = [{"Name": "instance-id", "Values": list(by_id)}]
    running = {
        instance["InstanceId"]
        for page in session.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] not in ("terminated", "shutting-down")
    }
    return {arn for identity, arn in by_id.items() if identity not in running}


def _described(arn: str) -> Left:
    _, _, service, _, _, resource = arn.split(":", 5)
    type_ = resource.replace(":", "/").partition("/")[0] if service != "s3" else ""
    what = _kinds().get(f"{service}:{type_}".rstrip(":"))
    if what is None:
        why = "its deletion failed, or nobody has tried"
        return Left(f"{service} {type_}".strip(), arn, leaked=True, why=why, remedy="pulumi destroy, or delete it")
    return Left(what.kind, arn, leaked=not (what.kept or what.waiting), why=what.why, remedy=what.remedy)


@cache
def _kinds() -> dict[str, _Kind]:
    raw = yaml.safe_load(Path(__file__).with_name("kinds.yaml").read_text("utf-8"))
    return {name: _Kind.model_validate(entry) for name, entry in raw.items()}
