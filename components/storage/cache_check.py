"""The container that looks at a cache before an engine starts on it. Pure."""

from collections.abc import Sequence
from typing import Any

import pulumi

from ..pods import NO_DEVICES, resources, restricted_container
from .layout import MODEL_ROOT
from .scripts import script


def cache_check_container(image: str, directories: Sequence[pulumi.Input[str]], volume: str = "models") -> dict[str, Any]:
    """An init container that ends with one sentence and 1 unless every directory has a finished, whole download.

    `directories` of model, adapters and draft as pods see them; `volume` is the name of the pod's volume they lie on. It runs in
    the engine's image, and the program is in its command: a pod that is restarted years later needs nothing but its volume.
    """
    return {
        "name": "cache-check",
        "image": image,
        "command": ["python3", "-I", "-c", script("check.py")],
        "args": list(directories),
        "env": [NO_DEVICES],
        "securityContext": restricted_container(),
        "resources": resources("100m", 128, 64),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": volume, "mountPath": MODEL_ROOT, "readOnly": True}],
    }
