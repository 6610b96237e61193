"""The Kubernetes objects of a download. Pure functions; names of other objects may be outputs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pulumi

from planner.catalog.files import load_yaml

from ..names import DNS_LABEL_MAX, fit
from ..pods import (
    ENGINE_HOME,
    ENGINE_SCRATCH,
    NO_DEVICES,
    on_pool,
    resources,
    restricted_container,
    restricted_pod,
    scratch,
)
from ..types import NodePool, SecretKey
from .layout import MODEL_ROOT
from .scripts import script

PATTERNS = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
"""Weights, configuration and tokenizer. Pickled weights and Python files run code when loaded, so they are never fetched."""

_PROGRAM, _WISHES, _AUTHORITIES = "download.py", "wishes.json", "authorities.pem"
_PROGRAM_DIRECTORY, _TOKEN_DIRECTORY = "/opt/llm-platform", "/run/secrets/hugging-face"
_HOPELESS = 64
"""What the program ends with when no second try can help."""


@dataclass(frozen=True, kw_only=True)
class Around:
    """What a download's pod uses that others made."""

    image: str
    config_map: pulumi.Input[str]
    service_account: pulumi.Input[str]
    claim_name: pulumi.Input[str] | None = None
    token: SecretKey | None = None
    pool: NodePool | None = None
    """Where it has to run; anywhere when None."""
    beside: Mapping[str, str] | None = None
    """Labels of pods on whose node it should run, since the volume is attached there."""
    region: str | None = None
    """AWS region of the buckets."""
    hub: str | None = None
    """What stands in for Hugging Face."""
    trusts: bool = False
    """Whether the program's ConfigMap has authorities of certificates, which count in place of the public ones."""


def wishes(
    to: pulumi.Input[str],
    mirror: pulumi.Input[str] | None,
    exclude: Sequence[str],
    repositories: Sequence[Mapping[str, Any]],
    vocabularies: Sequence[Mapping[str, str]] = (),
) -> pulumi.Output[str]:
    """What to fetch from where to where, as the program reads it."""

    def text(places: Sequence[str | None]) -> str:
        wanted = {
            "to": places[0],
            "from": places[1],
            "include": list(PATTERNS),
            "exclude": list(exclude),
            "repositories": [dict(each) for each in repositories],
            **({"vocabularies": [dict(each) for each in vocabularies]} if vocabularies else {}),
        }
        return json.dumps(wanted, sort_keys=True, indent=1)

    return pulumi.Output.all(to, mirror).apply(text)


@cache
def vocabularies_of(model_type: str) -> tuple[Mapping[str, str], ...]:
    """What an engine for models of that type would fetch from the internet when it first answers."""
    table = Path(__file__).parent / "vocabularies.yaml"
    return tuple(load_yaml(table).get(model_type, ()))


def program(wanted: pulumi.Input[str], authorities: str | None = None) -> dict[str, pulumi.Input[str]]:
    """Content of the ConfigMap; `authorities` of certificates as PEM."""
    return {_PROGRAM: script(_PROGRAM), _WISHES: wanted, **({_AUTHORITIES: authorities} if authorities else {})}


def job_name(name: str, spec: Mapping[str, Any], data: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[str]:
    """A name that is another one with any other input, so that a change is a new Job and what has run is not run again."""

    def of(parts: Sequence[Any]) -> str:
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:10]
        return fit(name, "download", digest, limit=DNS_LABEL_MAX)

    return pulumi.Output.all(dict(spec), dict(data)).apply(of)


def download_job(around: Around, deadline_seconds: int, pod_labels: Mapping[str, str]) -> dict[str, Any]:
    """Spec of the Job. It runs in the engine's image, which has what the program needs: huggingface_hub, and for buckets boto3 by
    runai-model-streamer[s3] (vllm-project/vllm docker/Dockerfile, stage vllm-openai-base; metadata of runai-model-streamer-s3
    0.17.1 on PyPI).

    An interrupted download goes on with the file it was at. There is no time to live: a Job that vanished would be run again.
    """
    volumes, mounts = _volumes(around)
    return {
        "backoffLimit": 6,
        "activeDeadlineSeconds": deadline_seconds,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": "download", "operator": "In", "values": [_HOPELESS]},
                },
                # A node that is drained or reclaimed is no fault of the download.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {
            "metadata": {"labels": dict(pod_labels)},
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": around.service_account,
                **_placed(around),
                "securityContext": restricted_pod(),
                "containers": [
                    {
                        "name": "download",
                        "image": around.image,
                        "command": ["python3", f"{_PROGRAM_DIRECTORY}/{_PROGRAM}"],
                        "args": [f"{_PROGRAM_DIRECTORY}/{_WISHES}"],
                        "env": _environment(around),
                        "securityContext": restricted_container(),
                        "resources": resources("500m", 1024, 1024),
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": mounts,
                    }
                ],
                "volumes": volumes,
            },
        },
    }


def _placed(around: Around) -> dict[str, Any]:
    placed: dict[str, Any] = (
        on_pool(around.pool) if around.pool else {"automountServiceAccountToken": False, "enableServiceLinks": False}
    )
    if around.beside:
        term = {"labelSelector": {"matchLabels": dict(around.beside)}, "topologyKey": "kubernetes.io/hostname"}
        near = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
        placed["affinity"] = placed.get("affinity", {}) | {"podAffinity": near}
    return placed


def _environment(around: Around) -> list[dict[str, str]]:
    found = {
        "HOME": ENGINE_HOME,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # Its client holds gigabytes in memory and keeps parts beside the files (huggingface_hub, "Environment variables"); a
        # download has to fit beside a server that runs.
        "HF_HUB_DISABLE_XET": "1",
        # A file of a Secret, never a value that is in manifests, logs or states.
        "HF_TOKEN_PATH": f"{_TOKEN_DIRECTORY}/{around.token.key}" if around.token else "",
        "HF_ENDPOINT": around.hub or "",
        # What Python's ssl, and with it the hub's client, trusts; boto3 has authorities of its own.
        "SSL_CERT_FILE": f"{_PROGRAM_DIRECTORY}/{_AUTHORITIES}" if around.trusts else "",
        "AWS_REGION": around.region or "",
        "AWS_DEFAULT_REGION": around.region or "",
    }
    return [NO_DEVICES, *({"name": name, "value": value} for name, value in found.items() if value)]


def _volumes(around: Around) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes, mounts = scratch(ENGINE_SCRATCH)
    volumes.append({"name": "program", "configMap": {"name": around.config_map}})
    mounts.append({"name": "program", "mountPath": _PROGRAM_DIRECTORY, "readOnly": True})
    if around.claim_name is not None:
        volumes.append({"name": "models", "persistentVolumeClaim": {"claimName": around.claim_name}})
        mounts.append({"name": "models", "mountPath": MODEL_ROOT})
    if around.token:
        items = [{"key": around.token.key, "path": around.token.key}]
        volumes.append({"name": "token", "secret": {"secretName": around.token.name, "items": items, "defaultMode": 0o440}})
        mounts.append({"name": "token", "mountPath": _TOKEN_DIRECTORY, "readOnly": True})
    return volumes, mounts
