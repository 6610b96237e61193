"""Where the logs of pods go: a collector on every node, a store, and what never leaves."""

from .collector import CloudWatchArgs, LogCollector, LogCollectorArgs
from .names import collector_target, log_group, store_target
from .store import LogStore, LogStoreArgs

__all__ = [
    "CloudWatchArgs",
    "LogCollector",
    "LogCollectorArgs",
    "LogStore",
    "LogStoreArgs",
    "collector_target",
    "log_group",
    "store_target",
]
