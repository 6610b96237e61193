"""The sealing key of a rehearsal, put where the controller of sealed secrets looks for keys, as one restores a backup."""

import os
from pathlib import Path

from sandbox.control_plane.contents import OWN_LABEL
from sandbox.controllers.sealed_secrets import key_secret
from sandbox.providers.contract import Request
from sandbox.providers.kubernetes.applying import apply
from sandbox.providers.kubernetes.context import Context
from sandbox.providers.kubernetes.helm.charts import short_name
from sandbox.providers.kubernetes.objects import Type, field_manager
from sandbox.secrets.sealing import SEALING_KEY

_SECRET = Type("v1", "Secret")


async def restore(context: Context, request: Request) -> None:
    """For a release of that chart, where the rehearsal has a key.

    Raises:
        ProviderError: refused.
    """
    inputs, file = request.inputs.values, os.environ.get(SEALING_KEY)
    if file is None or short_name(str(inputs["chart"])) != "sealed-secrets":
        return
    obj = key_secret(str(inputs["namespace"]), _read(file), "sealed-secrets-key-rehearsal")
    # The controller leaves its keys behind, and so does this.
    obj["metadata"]["labels"][OWN_LABEL] = "true"
    kind = await context.kind_to_change(_SECRET, obj, "create")
    await apply(context, kind, obj, field_manager(request.urn, {}, {}), doing="create")


def _read(file: str) -> bytes:
    return Path(file).read_bytes()
