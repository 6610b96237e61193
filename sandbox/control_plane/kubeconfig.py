"""Kubeconfig files with the certificates inside."""

import base64
import json
from pathlib import Path

from sandbox.control_plane.files import write_private
from sandbox.control_plane.pki import Pki


def write_kubeconfig(path: Path, *, context: str, server: str, pki: Pki, user: str) -> None:
    """Writes a self-contained kubeconfig for the identity `user`, mode 0600.

    JSON is YAML; it is what every Kubernetes client reads, and its bytes depend on nothing but these arguments.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {"server": server, "certificate-authority-data": _embedded(pki.certificate("ca"))},
            }
        ],
        "users": [
            {
                "name": f"{context}-{user}",
                "user": {
                    "client-certificate-data": _embedded(pki.certificate(user)),
                    "client-key-data": _embedded(pki.key(user)),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": f"{context}-{user}"}}],
        "current-context": context,
    }
    write_private(path, json.dumps(content, indent=2) + "\n")


def _embedded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
