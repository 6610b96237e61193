"""Which Kubernetes versions EKS has, and until when. Pure; the dates are in eks_versions.yaml with their sources."""

import datetime
from functools import cache
from pathlib import Path

from planner.catalog.files import load_yaml

_NOTICE = datetime.timedelta(days=90)

_NEWER = "a newer one, with its dates added to components/cluster/eks_versions.yaml"


@cache
def _versions() -> dict[str, dict[str, datetime.date]]:
    found: dict[str, dict[str, datetime.date]] = load_yaml(Path(__file__).with_suffix(".yaml"))
    return found


def check_version(version: str, today: datetime.date) -> str | None:
    """Raise ValueError for a version that EKS does not have, or not any more; return a warning when its time is short."""
    known = _versions()
    if version not in known:
        raise ValueError(f"{version!r} is not a version of EKS known here; use {_supported(today)}")
    ends = known[version]
    if ends["extended"] < today:
        raise ValueError(f"EKS ended its support of {version} on {ends['extended']}; use {_supported(today)}")
    if ends["standard"] - today > _NOTICE:
        return None
    newest = list(known)[-1]
    way = f"go to {newest}, one minor version at a time" if newest != version else f"go to {_NEWER}"
    if ends["standard"] < today:
        return f"standard support of {version} ended on {ends['standard']}, and EKS charges extra since; {way}"
    return f"standard support of {version} ends on {ends['standard']}, then EKS upgrades by itself; {way}"


def _supported(today: datetime.date) -> str:
    """The versions with standard support, or what to do when all that are known here are past it."""
    names = [name for name, ends in _versions().items() if ends["standard"] >= today]
    return f"one of {', '.join(names)}" if names else _NEWER
