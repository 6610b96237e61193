"""One replica on several nodes by Ray: the RayService that Ray Serve answers in. Pure.

A RayService is ready only through Ray Serve: KubeRay hands it the applications through the dashboard of the head, and sends
traffic to pods whose Serve proxy is healthy (ray-project/kuberay ray-operator/controllers/ray/rayservice_controller.go). So the
engine runs inside Serve's own OpenAI application, with the arguments `vllm serve` would have, and the dashboard cannot be off: a
token and a policy (`components.security.network.flows`) guard it.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import pulumi
from pydantic.alias_generators import to_camel

from ..versions import VLLM, VLLM_IMAGE
from .arguments import PORT
from .engine_tables import engine_table
from .manifests import engine_of

AWAIT_READY = {"pulumi.com/waitFor": json.dumps(["condition=Ready", "condition=UpgradeInProgress=False"])}
"""Annotations that have Pulumi wait until the newest cluster answers: `Ready` alone is true of the one before it as well."""
SERVING = {"ray.io/serve": "true"}
"""Label of the pods that answer, beside those of their template (KubeRay, controllers/ray/utils/constant.go)."""
GUARDED_BY = "llm-platform/guarded-by"
"""Annotation of a RayService: the name of the NetworkPolicy without which whoever reaches Ray's own ports runs code."""
DASHBOARD, _GCS = 8265, 6379
_OLDEST_RAY = (2, 52)
"""The first Ray with token authentication, and without CVE-2025-62593 (KubeRay, controllers/ray/utils/validation.go)."""
_APPLICATION = "ray.serve.llm:build_openai_app"
_STOCK = re.compile(r"(docker\.io/)?vllm/vllm-openai([:@].*)?")
_SERVES_ITSELF = frozenset({"host", "port"})
"""Arguments of `vllm serve` that are Serve's own business."""
_LISTS = frozenset(
    {
        "allowed_media_domains",
        "collect_detailed_traces",
        "cudagraph_capture_sizes",
        "device_ids",
        "kv_cache_dtype_skip_layers",
        "logits_processors",
        "lora_target_modules",
        "numa_bind_cpus",
        "numa_bind_nodes",
        "sleep_preserve_parameter_names",
    }
)
"""Settings of the engine that are lists even with one entry (vllm/engine/arg_utils.py): of a domain that is text vLLM would allow
every part."""
_NOT_IN_SERVE = {"--data-parallel-size": "data parallelism", "--lora-modules": "adapters"}
"""Ray has other builders and settings for these (docs.ray.io, Serve LLM, configuration reference)."""


def ray_service(
    template: Mapping[str, Any],
    *,
    image: str | None,
    ray_version: str,
    nodes: int,
    replicas: int = 1,
    engine_version: str = VLLM,
) -> dict[str, Any]:
    """Spec of a RayService with `replicas` engines of `nodes` pods each; `template` is the pod of a server that needs one node.

    A change of the pods makes a second cluster, which needs as many accelerators again until it answers. The image has
    `ray[serve,llm]` of that version beside the engine, and bash and wget for KubeRay's probes.

    Raises ValueError for what Ray Serve cannot do.
    """
    engine = engine_of(template)
    check_ray(image, ray_version)
    _check(engine)
    head, worker = _pod(template, image, _ports()), _pod(template, image, [])
    workers = replicas * nodes - 1
    return {
        "serveConfigV2": _applications(engine["args"], replicas, engine_version),
        "upgradeStrategy": {"type": "NewCluster"},
        "rayClusterConfig": {
            "rayVersion": ray_version,
            "authOptions": {"mode": "token"},
            "enableInTreeAutoscaling": False,
            "headGroupSpec": {"rayStartParams": {"dashboard-host": "0.0.0.0"}, "template": head},  # noqa: S104 - see above
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    "replicas": workers,
                    "minReplicas": workers,
                    "maxReplicas": workers,
                    "rayStartParams": {},
                    "template": worker,
                }
            ],
        },
    }


def check_ray(image: str | None, ray_version: str | None) -> None:
    """Raise ValueError for an image without Ray, or a Ray that lets everybody in."""
    if ray_version is None:
        raise ValueError("rayVersion is missing; name the version of Ray in the image, e.g. rayVersion: 2.52.1")
    if image is None or _STOCK.fullmatch(image):
        raise ValueError(
            f"the stock vLLM image has no Ray; give an image built from {VLLM_IMAGE} with ray[serve,llm]=={ray_version}, "
            "or use multiNode: leaderWorkerSet, which needs none"
        )
    try:
        version = tuple(int(part) for part in ray_version.split(".")[:2])
    except ValueError:
        version = ()
    if version < _OLDEST_RAY:
        raise ValueError(f"Ray {ray_version} has no token authentication; use 2.52.0 or newer")


def check_without_ray(given: Collection[str]) -> None:
    """Raise ValueError for a setting in `given`, each of which Ray Serve's application does not take."""
    if given:
        name = to_camel(min(given))
        door = " and put a gateway in front" if name == "apiKeySecret" else ""
        raise ValueError(f"{name}: Ray Serve has no such thing; leave it out{door}, or use multiNode: leaderWorkerSet")


def _check(engine: Mapping[str, Any]) -> None:
    if "command" in engine:
        raise ValueError(
            "Ray Serve asks for no API key; remove apiKeySecret and put a gateway in front, or use multiNode: leaderWorkerSet"
        )


def _pod(template: Mapping[str, Any], image: str | None, ports: list[dict[str, Any]]) -> dict[str, Any]:
    """A pod for KubeRay to complete: with `ray start` as its command, and with probes that know Ray."""
    made = {"metadata": deepcopy(dict(template["metadata"])), "spec": dict(template["spec"])}
    containers = [dict(container) for container in template["spec"]["containers"]]
    engine = engine_of({"spec": {"containers": containers}})
    for field in ("args", "ports", "startupProbe", "readinessProbe", "livenessProbe"):
        engine.pop(field, None)
    engine["image"] = image
    if ports:
        engine["ports"] = ports
    # KubeRay takes the first container for Ray's.
    made["spec"]["containers"] = [engine, *(each for each in containers if each is not engine)]
    return made


def _ports() -> list[dict[str, Any]]:
    """KubeRay makes its Services from the ports it finds on the head: all it needs, and not Ray's client's."""
    named = {"gcs-server": _GCS, "dashboard": DASHBOARD, "serve": PORT}
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in named.items()]


def _applications(arguments: Sequence[pulumi.Input[str]], replicas: int, version: str) -> pulumi.Output[str]:
    def written(words: Sequence[str]) -> str:
        model, served, settings = engine_settings(words, version)
        config = {
            "model_loading_config": {"model_id": served, "model_source": model},
            "engine_kwargs": settings,
            "deployment_config": {"num_replicas": replicas},
        }
        application = {"name": "llm", "import_path": _APPLICATION, "route_prefix": "/", "args": {"llm_configs": [config]}}
        found = {"http_options": {"host": "0.0.0.0", "port": PORT}, "applications": [application]}  # noqa: S104 - inside the pod
        return json.dumps(found, sort_keys=True)

    return pulumi.Output.all(*arguments).apply(written)


def engine_settings(words: Sequence[str], version: str) -> tuple[str, str, dict[str, Any]]:
    """Of the arguments of `vllm serve`: the model, the name it is served under, the others by the names of the engine's settings.

    Raises ValueError for what Ray Serve's application does not take.
    """
    model, *rest = words
    found: dict[str, list[str]] = {}
    for word in rest:  # a value may begin with a dash as well: -1
        if word.startswith("--") or word in _first_spellings(version):
            flag, equals, value = word.partition("=")
            found[flag] = [value] if equals else []
        else:
            found[next(reversed(found))].append(word)
    names = found.pop("--served-model-name", [model])
    if len(names) > 1:
        raise ValueError(f"Ray Serve gives a model one name; remove the aliases {', '.join(names[1:])}")
    for flag, what in _NOT_IN_SERVE.items():
        if flag in found:
            raise ValueError(f"Ray Serve's application takes no {what} this way; use multiNode: leaderWorkerSet")
    settings = dict(_setting(flag, values, version) for flag, values in found.items())
    return model, names[0], {name: value for name, value in settings.items() if name not in _SERVES_ITSELF}


def _setting(flag: str, values: Sequence[str], version: str) -> tuple[str, Any]:
    """`--max-num-seqs 8` is `max_num_seqs` of 8; a flag alone is true in its first spelling, and false in the opposite one."""
    first = _first_spellings(version).get(flag, flag)
    name = first.removeprefix("--").replace("-", "_")
    if not values:
        return name, flag == first
    return name, _read(values[0]) if len(values) == 1 and name not in _LISTS else [_read(value) for value in values]


@cache
def _first_spellings(version: str) -> Mapping[str, str]:
    return {alias: aliases[0] for aliases in engine_table(version)["flags"] for alias in aliases}


def _read(text: str) -> Any:
    """A number, a JSON object, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
