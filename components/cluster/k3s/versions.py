"""Which releases of k3s can be installed, and which may follow which. Pure."""

import re
from collections.abc import Mapping

MINORS = range(34, 38)
"""Minor versions of Kubernetes that this platform installs: containerd 2 and its NVIDIA runtime without a template of one's own
(docs.k3s.io, "Advanced Options": k3s 1.31.6 and newer), and upstream's support."""


def number(version: str) -> tuple[int, int, int]:
    """`v1.36.3+k3s1` as what its order is by: minor version, patch, build."""
    found = re.fullmatch(r"v1\.(\d+)\.(\d+)\+k3s(\d+)", version)
    if not found:
        raise ValueError(f"{version!r} is not a release of k3s; use e.g. v1.36.3+k3s1")
    return int(found[1]), int(found[2]), int(found[3])


def check_release(version: str) -> None:
    """Raise ValueError for a release that this platform does not install."""
    minor = number(version)[0]
    if minor not in MINORS:
        raise ValueError(f"{version} is not of Kubernetes 1.{MINORS[0]} to 1.{MINORS[-1]}; use e.g. v1.{MINORS[-2]}.3+k3s1")


def check_upgrade(version: str, servers: Mapping[str, str | None], agents: Mapping[str, str | None]) -> None:
    """Raise ValueError when a host (release by name, None for none) runs one that `version` may not follow.

    Agents may leave releases out: they hold no data of the cluster, and one that was off is not the pace of all others.
    """
    wanted = number(version)
    held = {name: (now, number(now)) for name, now in servers.items() if now is not None}
    for name, (now, found) in held.items():
        if wanted < found:
            raise ValueError(f"{version}: {name} runs {now}, and etcd does not go back; use {now} or newer")
    newest = max((found[0] for _, found in held.values()), default=wanted[0])
    for name, (now, found) in held.items():
        if newest > found[0] + 1:
            raise ValueError(
                f"{version}: {name} runs {now}, too old for what the other servers run; run k3s-uninstall.sh on {name}, then "
                "it joins them anew"
            )
        if wanted[0] > found[0] + 1:
            raise ValueError(
                f"{version}: {name} runs {now}, and no minor version may be left out; use one of 1.{found[0] + 1} first"
            )
    for name, kubelet in agents.items():
        if kubelet is not None and wanted < number(kubelet):
            raise ValueError(
                f"{version}: {name} runs {kubelet}, and no agent may be newer than the servers; use {kubelet} or newer, or run "
                f"k3s-agent-uninstall.sh on {name}, then it joins anew"
            )


def minor_version(version: str) -> str:
    """Minor version of Kubernetes of a release, e.g. `1.36`."""
    return f"1.{number(version)[0]}"
