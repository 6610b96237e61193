"""Objects beside those of a gateway and its routes, which others make in a cluster."""

import base64
from collections.abc import Mapping

from tests.traffic.translation import Object

GATEWAY, MODELS = "gateway", "models"
"""Namespaces."""


def service(name: str, address: str) -> Object:
    """The Service of a model."""
    spec = {"clusterIP": address, "ports": [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": MODELS}, "spec": spec}


def secret(name: str, content: Mapping[str, str], kind: str = "Opaque") -> Object:
    """A Secret of the gateway's namespace."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name, "namespace": GATEWAY}, "data": data}


def namespace(name: str) -> Object:
    """A namespace as the API server labels it."""
    labels = {"kubernetes.io/metadata.name": name}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
