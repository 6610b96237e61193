"""A rack as tests describe it."""

from typing import Any

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIaUua9aTdZDO1lJvMSzTkq21bI2u/O62D+EFl3NlKYR"


def host(number: int, **changed: Any) -> dict[str, Any]:
    """One at 192.0.2.<number>."""
    return {"address": f"192.0.2.{number}", "host_key": KEY, **changed}


def servers(count: int = 3, **changed: Any) -> dict[str, Any]:
    return {f"rack-{number}": host(10 + number, **changed) for number in range(1, count + 1)}


MIG: dict[str, Any] = {
    "name": "h100",
    "hosts": {"gpu-1": host(21)},
    "accelerator": {"product": "H100-80GB", "per_node": 8, "sharing": {"kind": "mig", "profile": "3g.40gb"}},
}
L4: dict[str, Any] = {
    "name": "l4",
    "hosts": {"gpu-2": host(22), "gpu-3": host(23)},
    "accelerator": {"product": "L4", "per_node": 1},
}


def cluster(**changed: Any) -> Any:
    """Arguments of a K3sCluster: three servers and two pools."""
    return {
        "cluster_name": "rack",
        "version": "v1.36.3+k3s1",
        "ssh": {"user": "ops", "private_key": "PRIVATE-KEY"},
        "servers": servers(),
        "node_pools": [MIG, L4],
        **changed,
    }
