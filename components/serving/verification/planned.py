"""The expectation of a server, from the inputs and the pod template that made it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi

from ...base import selector
from ...mirroring import redirected
from ...quantities import quantity
from ..arguments import PORT
from ..config import ServerConfig
from ..invariants import ENGINE
from .expectation import Expectation, expected_metrics


def planned(config: ServerConfig, template: Mapping[str, Any], replicas_service: str) -> pulumi.Output[str]:
    """The expectation of a server as text. `template` is that of the pod which answers for a replica, outputs and all."""
    pod = pulumi.Output.from_input(redirected(template))
    found = pulumi.Output.all(namespace=config.namespace_name, template=pod)
    return found.apply(lambda known: _expectation(config, known["namespace"], known["template"], replicas_service).to_json())


def _expectation(config: ServerConfig, namespace: str, template: Mapping[str, Any], replicas_service: str) -> Expectation:
    engine = next(container for container in template["spec"]["containers"] if container["name"] == ENGINE)
    return Expectation(
        namespace=namespace,
        service=config.model_name,
        replicas_service=replicas_service,
        port=PORT,
        selector=selector(template["metadata"]["labels"]),
        served_names=config.served_names(),
        adapters=tuple(sorted(config.adapters())),
        task=config.task.value,
        needs_key=config.api_key_secret is not None,
        engine_version=config.engine_version,
        metrics=expected_metrics(config.engine_version, lora=config.lora is not None, speculative=config.speculative is not None),
        replicas=config.replicas,
        most_replicas=config.most_replicas,
        nodes_per_replica=config.nodes,
        container=ENGINE,
        image=engine["image"],
        command=tuple(engine.get("command") or ()),
        args=tuple(engine["args"]),
        resources=engine["resources"],
        shared_memory_mib=_shared_memory_mib(template, engine),
        revision=hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:12],
    )


def _shared_memory_mib(template: Mapping[str, Any], engine: Mapping[str, Any]) -> int:
    mounted = next(mount["name"] for mount in engine["volumeMounts"] if mount["mountPath"] == "/dev/shm")  # noqa: S108
    volume = next(volume for volume in template["spec"]["volumes"] if volume["name"] == mounted)
    return int(quantity(volume["emptyDir"]["sizeLimit"]) / 2**20)
