"""The Kubernetes versions EKS offers, and what depends on them."""

from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from sandbox.aws.eks.errors import invalid_parameter
from sandbox.aws.eks.wire import Parameters

MAX_SKEW = 3
"""Minor versions a kubelet may be older than its API server: kubernetes.io, "Version Skew Policy"."""

PLATFORM_VERSION = "eks.1"

_AMI_DATE = "20260724"  # awslabs/amazon-eks-ami, release v20260724
_BOTTLEROCKET = "1.68.0-00000000"  # the newest in ../seeds.yaml; its commit is not known here


class Version(BaseModel):
    """One entry of versions.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    released: date
    standard: date
    extended: date
    default: bool = False

    def status(self, today: date) -> str:
        """How EKS supports it on a day."""
        if today > self.extended:
            return "unsupported"
        return "standard-support" if today <= self.standard else "extended-support"


@cache
def versions() -> dict[str, Version]:
    """Every version by name, oldest first."""
    raw = yaml.safe_load(Path(__file__).with_name("versions.yaml").read_text(encoding="utf-8"))
    return {entry["version"]: Version(**entry) for entry in raw}


def default_version() -> str:
    """What a cluster gets that asks for none."""
    return next(version.version for version in versions().values() if version.default)


def require(version: str) -> None:
    """Raises EksError for a version that EKS does not offer today."""
    today = datetime.now(UTC).date()
    offered = [known.version for known in versions().values() if known.status(today) != "unsupported"]
    if version not in offered:
        raise invalid_parameter(f"unsupported Kubernetes version {version}; offered are {', '.join(offered)}")


def minor(version: str) -> int:
    """The minor number of a version such as 1.36."""
    return int(version.split(".")[1])


def release_version(ami_type: str, version: str) -> str:
    """The release of an AMI type for a Kubernetes version; its patch level is not known here, so it is 0."""
    if ami_type.startswith("BOTTLEROCKET"):
        return _BOTTLEROCKET
    if ami_type.startswith("WINDOWS"):
        return f"{version}-{_AMI_DATE[:4]}.{_AMI_DATE[4:6]}.{_AMI_DATE[6:]}"
    return f"{version}.0-{_AMI_DATE}"


class Versions:
    """Their operations."""

    def describe_cluster_versions(self, parameters: Parameters) -> Parameters:
        """The versions asked for; without asking for all of them, those still supported."""
        today = datetime.now(UTC).date()
        wanted = parameters.get("clusterVersions", [])
        asked: str = parameters.get("versionStatus") or parameters.get("status") or ""
        status = asked.lower().replace("_", "-")
        found = [
            version
            for version in reversed(versions().values())
            if (not wanted or version.version in wanted)
            and (not status or version.status(today) == status)
            and (version.default or not parameters.get("defaultOnly"))
            and (version.status(today) != "unsupported" or wanted or parameters.get("includeAll"))
        ]
        return {"clusterVersions": [_described(version, today) for version in found]}


def _described(version: Version, today: date) -> dict[str, Any]:
    status = version.status(today)
    return {
        "clusterVersion": version.version,
        "clusterType": "eks",
        "defaultPlatformVersion": PLATFORM_VERSION,
        "defaultVersion": version.default,
        "releaseDate": _midnight(version.released),
        "endOfStandardSupportDate": _midnight(version.standard),
        "endOfExtendedSupportDate": _midnight(version.extended),
        "status": status,
        "versionStatus": status.upper().replace("-", "_"),
    }


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
