"""A real Kubernetes control plane on loopback, with simulated nodes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sandbox.control_plane.instance import ControlPlane
    from sandbox.control_plane.node_groups import NodeGroup
    from sandbox.control_plane.status import NodeStatus, ProcessStatus, Status

__all__ = ["ControlPlane", "NodeGroup", "NodeStatus", "ProcessStatus", "Status"]

_HOMES: Final = {
    "ControlPlane": "instance",
    "NodeGroup": "node_groups",
    "NodeStatus": "status",
    "ProcessStatus": "status",
    "Status": "status",
}


def __getattr__(name: str) -> Any:
    """Loaded when it is asked for: providers and controllers use other modules of this package, and start for every operation."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
