"""Where the logs of pods go: a collector on every node, a store, and what never leaves."""

from components.logging.collector import CloudWatchArgs, LogCollector, LogCollectorArgs
from components.logging.names import collector_target, log_group, store_target
from components.logging.store import LogStore, LogStoreArgs

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
