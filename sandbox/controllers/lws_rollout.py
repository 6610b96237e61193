"""How a LeaderWorkerSet follows a change group by group: the rules of pkg/controllers/leaderworkerset_controller.go. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """One group: its leader and its workers taken together."""

    ready: bool = False
    updated: bool = False


@dataclass(frozen=True)
class Rollout:
    """What is wanted, and how far the StatefulSet of the leaders has come."""

    replicas: int
    max_surge: int
    max_unavailable: int
    partition: int
    """Groups below it keep their revision (the user's setting)."""
    set_replicas: int
    set_partition: int
    scaled: bool
    """Whether `replicas` changed since the StatefulSet was last written."""


def begin(wanted: Rollout) -> tuple[int, int]:
    """Partition and replicas of the leaders when a new revision appears: nothing is replaced yet, the surge comes first."""
    partition = max(min(wanted.replicas, wanted.set_replicas), wanted.partition)
    if wanted.set_replicas < wanted.replicas:
        return partition, wanted.replicas
    return partition, _replicas(wanted, wanted.replicas)


def go_on(wanted: Rollout, groups: Sequence[Group]) -> tuple[int, int]:
    """Partition and replicas of the leaders from then on; `groups` are those of the StatefulSet, in order."""
    if wanted.set_partition == 0 and wanted.set_replicas == wanted.replicas:
        return wanted.partition, wanted.replicas
    if wanted.set_replicas < wanted.replicas:
        return max(wanted.set_partition, wanted.partition), wanted.replicas
    behind = sum(1 for index in range(wanted.replicas) if index >= len(groups) or groups[index] != Group(True, True))
    burst = wanted.replicas + wanted.max_surge
    if wanted.scaled:
        return max(min(wanted.set_partition, burst), wanted.partition), _replicas(wanted, behind)
    step = wanted.max_unavailable + wanted.max_surge - (burst - wanted.set_replicas)
    return max(_partition(groups, step, wanted.set_partition), wanted.partition), _replicas(wanted, behind)


def _partition(groups: Sequence[Group], step: int, current: int) -> int:
    done = 0
    for group in reversed(groups):
        if group != Group(True, True):
            break
        done += 1
    lowest = max(0, len(groups) - done - step)
    partition = lowest + sum(1 for group in groups[:lowest] if not group.ready)
    for index in range(min(partition, len(groups) - 1), lowest - 1, -1):
        if groups[index].ready and not groups[index].updated:
            break
        partition = index  # replacing what does not work, or is new already, takes nothing away
    return min(partition, current)


def _replicas(wanted: Rollout, behind: int) -> int:
    if behind <= wanted.max_surge:
        return wanted.replicas + max(0, behind - wanted.max_unavailable)
    return wanted.replicas + wanted.max_surge
