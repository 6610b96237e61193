"""The process that runs the controllers of a control plane: those of charts while a release of the chart is recorded there."""

import argparse
import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Final

import httpx

from sandbox.control_plane.mirror import Mirror, Objects
from sandbox.control_plane.pki import tls_context
from sandbox.controllers import (
    cert_manager,
    envoy_gateway,
    keda,
    load_balancers_aws,
    load_balancers_cloud,
    load_balancers_k3s,
    lws,
    ray,
    sealed_secrets,
    volumes,
)
from sandbox.controllers.external_secrets import ExternalSecrets
from sandbox.controllers.external_secrets_stores import Stores
from sandbox.controllers.releases import RELEASE
from sandbox.secrets.made_up import Inventor

_METADATA_ONLY: Final = {
    "Accept": ",".join(
        f"application/json;as={kind};g=meta.k8s.io;v=v1" for kind in ("PartialObjectMetadataList", "PartialObjectMetadata")
    )
}
"""What a release was given may be secret, and is nothing to a controller."""

Control = Callable[[httpx.AsyncClient], Coroutine[None, None, None]]
_CONTROLLERS: Final[Mapping[str, Control]] = {
    "lws": lws.control,
    "kuberay-operator": ray.control,
    "keda": keda.control,
    "sealed-secrets": sealed_secrets.control,
    "gateway-helm": envoy_gateway.control,
    "cert-manager": cert_manager.control,
    load_balancers_aws.CHART: load_balancers_aws.control,
}

_log = logging.getLogger("controllers")


async def supervise(client: httpx.AsyncClient, controllers: Mapping[str, Control]) -> None:
    """Has the controller of every chart run while the chart is installed, for ever."""
    changed = asyncio.Event()
    releases = Mirror(client, "/api/v1/secrets", changed, selector=f"{RELEASE}=true", headers=_METADATA_ONLY)
    running: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(releases.follow())
        while True:
            await changed.wait()
            changed.clear()
            charts = installed(releases.objects or {})
            for chart in controllers.keys() & charts - running.keys():
                running[chart] = tasks.create_task(controllers[chart](client))
                _log.info("%s is installed", chart)
            for chart in running.keys() - charts:
                task = running.pop(chart)
                task.cancel()
                await asyncio.wait([task])
                _log.info("%s is no longer installed", chart)


def installed(releases: Objects) -> set[str]:
    """The names of the charts there are releases of, from the records of the releases."""
    names = (release["metadata"].get("annotations", {}).get(f"{RELEASE}-chart", "") for release in releases.values())
    return {found[1] for name in names if (found := re.fullmatch(r"(.+?)-v?\d.*", name))}


async def _main(arguments: argparse.Namespace) -> None:
    tls = tls_context(arguments.ca, arguments.certificate, arguments.key)
    async with (
        httpx.AsyncClient(base_url=arguments.server, verify=tls, trust_env=False) as client,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(volumes.control(client))
        tasks.create_task(load_balancers_k3s.control(client))
        if arguments.account:
            tasks.create_task(load_balancers_cloud.control(client))
        # Nobody else has the key, so what is made up from it is a secret.
        stores = Stores(Inventor(arguments.key.read_bytes()), arguments.account, arguments.cluster)
        tasks.create_task(supervise(client, {**_CONTROLLERS, "external-secrets": ExternalSecrets(stores).control}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description="Runs the controllers of the charts that are installed.")
    parser.add_argument("--server", required=True, help="URL of the API server")
    for option, meaning in (("ca", "authority to trust"), ("certificate", "client certificate"), ("key", "its key")):
        parser.add_argument(f"--{option}", required=True, type=Path, help=f"PEM file of the {meaning}")
    parser.add_argument("--account", help="URL of the AWS account the cluster is in")
    parser.add_argument("--cluster", help="name of the cluster there")
    asyncio.run(_main(parser.parse_args()))
