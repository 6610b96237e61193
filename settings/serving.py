"""What a model entry asks that its pool, its engine or its cache cannot do."""

from typing import TYPE_CHECKING

from components.accelerators.rules import driver_faults
from components.serving.config import check_model_name, check_priority_class
from components.serving.engine_images import engine_on
from components.serving.extras import check_arguments, check_environment, check_parsers, check_version
from components.serving.groups import GENERATING, MultiNode, check_names, check_task
from components.serving.lifecycle import check_stop
from components.serving.placement import check_one_replica, nodes_of_replica
from components.serving.ray_service import check_ray, check_without_ray
from components.storage.gated import check_token
from components.types import NodePool
from settings.cache import CacheKind
from settings.checking import at, inside
from settings.models import ModelSettings
from settings.tgi import check_tgi

if TYPE_CHECKING:
    from settings.sections import Settings

_ID_MAPPED = (CacheKind.HOST_PATH, CacheKind.BLOCK, CacheKind.S3_STREAM)
"""Caches whose file systems Kubernetes can mount in a user namespace (kubernetes.io/docs, "User Namespaces")."""


def check_model(name: str, model: ModelSettings, settings: "Settings") -> None:
    """Raise ValueError, a sentence that begins with its setting, for a model that this stack cannot serve."""
    key, pools = f"models.{name}", settings.cluster.node_pools
    if model.node_pool not in pools:
        known = ", ".join(sorted(pools)) or "none; add it to cluster.nodePools"
        raise ValueError(f"{key}.nodePool: {model.node_pool!r} is not a pool of this cluster; known: {known}")
    pool, sizes = settings.cluster.pool(model.node_pool), model.parallelism
    at(key, check_model_name, name)
    if model.priority_class_name is not None:
        at(f"{key}.priorityClassName", check_priority_class, model.priority_class_name)
    inside(key, check_one_replica, sizes.tensor or 1, sizes.pipeline, sizes.data, pool)
    inside(key, check_task, model.task, [field for field in GENERATING if getattr(model, field) is not None])
    if model.engine.by_tgi:
        inside(key, check_tgi, model, pool)
    else:
        _check_vllm(key, name, model, pool, settings)
    inside(key, check_stop, model.drain.drain(), pool)
    _check_files(key, model)


def _check_vllm(key: str, name: str, model: ModelSettings, pool: NodePool, settings: "Settings") -> None:
    version, image, sizes = model.engine.version, model.engine.image, model.parallelism
    inside(key, check_names, (name, *model.aliases), model.lora.adapters if model.lora else ())
    at(f"{key}.engine.version", check_version, version, model.engine.accepted_advisories)
    at(f"{key}.engine.image", engine_on, pool, image, version)
    if driver := settings.accelerators.driver(pool):
        for fault in driver_faults(pool, driver, engine_on(pool, image, version)):
            raise ValueError(f"{key}.nodePool: {fault}")
    inside(key, check_parsers, model.tool_call_parser, model.reasoning_parser, version)
    at(f"{key}.extraArguments", check_arguments, model.extra_arguments, version)
    at(f"{key}.environment", check_environment, model.environment, version)
    nodes = nodes_of_replica((sizes.tensor or 1) * sizes.pipeline * sizes.data, pool)
    if model.kept_by(nodes) is MultiNode.RAY_SERVICE:
        at(f"{key}.engine", check_ray, image, model.engine.ray_version)
        given = [field for field in ("aliases", "api_key_secret", "lora") if getattr(model, field)]
        inside(key, check_without_ray, [*given, *(["parallelism.data"] if sizes.data > 1 else [])])


def _check_files(key: str, model: ModelSettings) -> None:
    for source in model.sources():
        if needed := check_token(source, model.token_secret is not None):
            raise ValueError(f"{key}.tokenSecret: {needed}")
    if model.host_users is False and model.cache.kind not in _ID_MAPPED:
        raise ValueError(
            f"{key}.hostUsers: a user namespace needs id-mapped mounts, which kind {model.cache.kind} has not; "
            "leave it out, or use cache.kind: hostPath or block"
        )
    if model.cache.kind is CacheKind.S3_STREAM and len(model.sources()) > 1:
        raise ValueError(
            f"{key}.cache: a model alone is streamed; adapters and drafts need a cache that is mounted, e.g. kind: efs"
        )
