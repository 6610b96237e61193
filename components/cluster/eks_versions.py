"""Which Kubernetes versions EKS has, and until when. Pure; the dates are in eks_versions.yaml with their sources."""

import datetime
from functools import cache
from pathlib import Path

import yaml

_NOTICE = datetime.timedelta(days=90)


@cache
def _versions() -> dict[str, dict[str, datetime.date]]:
    found: dict[str, dict[str, datetime.date]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    return found


def check_version(version: str, today: datetime.date) -> str | None:
    """Raise ValueError for a version that EKS does not have, or not any more; return a warning when its time is short."""
    known = _versions()
    supported = [name for name, ends in known.items() if ends["standard"] >= today]
    if version not in known:
        raise ValueError(f"{version!r} is not a version of EKS known here; use one of {', '.join(supported)}")
    ends = known[version]
    if ends["extended"] < today:
        raise ValueError(f"EKS ended its support of {version} on {ends['extended']}; use one of {', '.join(supported)}")
    if ends["standard"] < today:
        return f"standard support of {version} ended on {ends['standard']}, and EKS charges extra since; go to {supported[0]}"
    if ends["standard"] - today <= _NOTICE:
        newest = supported[-1]
        return f"standard support of {version} ends on {ends['standard']}, then EKS upgrades by itself; go to {newest} before"
    return None
