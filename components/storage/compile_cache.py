"""Where an engine keeps what it compiled, so that its next start need not compile again. Pure."""

import hashlib
from dataclasses import dataclass
from typing import Any

import pulumi

DIRECTORY = "/var/cache/vllm"
SIZE_GIB = 5
"""Compiled kernels and graphs of a few configurations."""

_VOLUME = "compile-cache"


@dataclass(frozen=True)
class CompileCache:
    """A compile cache as a pod has it."""

    volume: dict[str, Any]
    mount: dict[str, Any]
    environment: dict[str, str]
    """What tells the engine of it."""


def compile_key(image: str, product: str) -> str:
    """Name of the directory for one image on one kind of GPU: another one's results would be found, and not fit."""
    return hashlib.sha256(f"{image}\n{product}".encode()).hexdigest()[:16]


def keeps_compiled(one_node: bool, replicas: int, nodes: int = 1) -> bool:
    """Whether what a model's engine compiled may outlive its pod.

    `one_node`: on the disk of the pool's one node, or a volume of one node at a time; and with one server only. vLLM loads what
    it finds there without looking twice (its security guide, "Cache Directory Security"), and says nothing of engines that write
    it at the same time.
    """
    return one_node and replicas == 1 and nodes == 1


def compile_cache(claim_name: pulumi.Input[str], image: str, product: str) -> CompileCache:
    """The volume of a claim that belongs to one model alone, as the engine of that image on that kind of GPU uses it.

    A directory of its own below the mount and no subPath: the kubelet makes those for root.
    """
    return CompileCache(
        volume={"name": _VOLUME, "persistentVolumeClaim": {"claimName": claim_name}},
        mount={"name": _VOLUME, "mountPath": DIRECTORY},
        environment={"VLLM_CACHE_ROOT": f"{DIRECTORY}/{compile_key(image, product)}"},
    )
