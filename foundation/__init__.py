"""The half of the program below the platform: a cluster that is there, or one with everything around it."""

from components.mirroring import redirect
from foundation import eks, existing
from foundation.accelerators import equip
from foundation.entering import callers, engine_label
from foundation.foundation import Foundation
from foundation.models import ModelFiles, Storing, store
from foundation.monitoring import Watched, watch
from foundation.namespaces import Namespaces, partition
from foundation.secrets import MadeSecrets
from foundation.secrets import make as make_secrets
from planner.stack import StackPlan
from settings.clusters import ExistingClusterSettings
from settings.sections import Settings

__all__ = [
    "Foundation",
    "MadeSecrets",
    "ModelFiles",
    "Namespaces",
    "Storing",
    "Watched",
    "callers",
    "engine_label",
    "equip",
    "lay",
    "make_secrets",
    "partition",
    "store",
    "watch",
]


def lay(config: Settings, plan: StackPlan, file: str) -> Foundation:
    """What the stack file at `file` asks for, and from then on everything from its mirror where there is one."""
    redirect(config.mirror.redirection() if config.mirror else None)
    if on_eks := config.on_eks():
        return eks.lay(config, on_eks, plan, file)
    if on_hosts := config.on_hosts():
        # What speaks SSH takes a tenth of a second to import; most stacks have no hosts.
        from foundation import k3s  # noqa: PLC0415

        return k3s.make(config, on_hosts, file)
    if isinstance(config.cluster, ExistingClusterSettings):
        return existing.find(config.cluster, file)
    raise TypeError(f"there is no way to a cluster of kind {config.cluster.kind}")
