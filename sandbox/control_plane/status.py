"""What `status` tells about a control plane; `dataclasses.asdict` of it is JSON."""

from dataclasses import dataclass
from typing import Literal

State = Literal["running", "degraded", "stopped"]


@dataclass(frozen=True)
class ProcessStatus:
    """One process; pid is None when it does not run, port when it serves nothing."""

    name: str
    running: bool
    pid: int | None
    port: int | None


@dataclass(frozen=True)
class NodeStatus:
    """One simulated node; capacity is as the API server has it, quantities as text."""

    name: str
    group: str
    ready: bool
    capacity: dict[str, str]


@dataclass(frozen=True)
class Status:
    """A control plane: running when all of it runs and answers, stopped when nothing runs, degraded in between."""

    name: str
    state: State
    server: str | None
    kubeconfig: str
    processes: tuple[ProcessStatus, ...]
    nodes: tuple[NodeStatus, ...]
