"""A real Kubernetes control plane on loopback, with simulated nodes."""

from sandbox.control_plane.instance import ControlPlane
from sandbox.control_plane.node_groups import NodeGroup
from sandbox.control_plane.status import NodeStatus, ProcessStatus, Status

__all__ = ["ControlPlane", "NodeGroup", "NodeStatus", "ProcessStatus", "Status"]
