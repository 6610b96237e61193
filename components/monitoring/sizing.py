"""How much memory and disk Prometheus takes for what it reads. Pure."""

import math
from collections.abc import Iterable

from .targets import Target

SERIES_PER_NODE = 1_000
"""Of the kubelet and of the containers of one node, as far as `scrape` keeps them: about ten for each of up to 100 containers."""
RECORDED = 1.25
"""Series that rules add, and those of pods that went within the last hours: the head holds them until it is cut."""
BYTES_PER_SERIES = 3_000
"""Memory of a series in the head (robustperception.io, "Why does Prometheus use so much RAM?")."""
QUERIES = 2
"""Times the head's memory: queries, rules, and what Go's collector has not taken back yet."""
BASE_MIB = 256
"""Memory of Prometheus with nothing to read."""
BYTES_PER_SAMPLE = 2
"""On disk, the upper end of "1-2 bytes per sample" (prometheus.io/docs/prometheus/latest/storage)."""
BLOCKS_SHARE = 0.8
"""Part of the volume for blocks; the rest is for the write-ahead log and for compaction, which `retention.size` does not count
(the same page: "80-85% of the allocated disk space")."""

_GIB = 2**30


def series(targets: Iterable[Target], nodes: int) -> int:
    """Series that Prometheus holds at the most, with all pods and nodes there are then."""
    read = sum(target.series_per_pod * target.replicas for target in targets) + nodes * SERIES_PER_NODE
    return math.ceil(read * RECORDED)


def memory_mib(count: int) -> int:
    """MiB of memory for that many series, in steps of 64."""
    wanted = BASE_MIB + count * BYTES_PER_SERIES * QUERIES / 2**20
    return math.ceil(wanted / 64) * 64


def cpu(count: int) -> str:
    """What is asked for of the processors: a tenth, and one for every 200,000 series. There is no limit."""
    return f"{100 + count // 200}m"


def storage_gib(count: int, interval_seconds: int, retention_days: int) -> int:
    """GiB of the volume that holds so many series for so many days."""
    samples = count / interval_seconds * retention_days * 86_400
    return math.ceil(samples * BYTES_PER_SAMPLE / BLOCKS_SHARE / _GIB)


def retention_size(gib: int) -> str:
    """What of a volume blocks may take, as Prometheus reads sizes: its MB are MiB."""
    return f"{int(gib * 1024 * BLOCKS_SHARE)}MB"


def check_storage(count: int, interval_seconds: int, retention_days: int, gib: int) -> None:
    """Raise ValueError when the volume is full before the days are over."""
    needed = storage_gib(count, interval_seconds, retention_days)
    if needed > gib:
        days = max(1, int(retention_days * gib / needed))
        raise ValueError(
            f"{gib} GiB are full after about {_days(days)} of {count:,} series read every {interval_seconds} seconds, and those "
            f"are to be kept for {_days(retention_days)}; use {needed}, or keep them for {_days(days)}"
        )


def _days(count: int) -> str:
    return "a day" if count == 1 else f"{count} days"
