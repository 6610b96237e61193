"""The kubelet role of the simulated nodes that kwok has not: a node offers its accelerators while their plugin is ready.

A process of its own. It watches nodes, pods and the configurations of device plugins, and sets the accelerator part of the
capacity of nodes, and the labels of discovery, by server-side apply, so that neither kwok nor the declaration of the nodes gets
in its way. It keeps nothing: after a restart, or when the API server was away, it lists everything again and goes on.
"""

import argparse
import asyncio
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx

from sandbox.control_plane import nvidia
from sandbox.control_plane.device_plugins import FIELD_MANAGER, wanted_capacity, wanted_metadata
from sandbox.control_plane.mirror import RETRY_S, Mirror, Objects, first_line
from sandbox.control_plane.pki import tls_context

_log = logging.getLogger("device-manager")

_SETTLE_S = 0.05


async def manage(client: httpx.AsyncClient) -> None:
    """Keeps the accelerator capacity of every node right, for ever."""
    changed = asyncio.Event()
    nodes, pods, config_maps = (Mirror(client, f"/api/v1/{kind}", changed) for kind in ("nodes", "pods", "configmaps"))
    async with asyncio.TaskGroup() as tasks:
        for mirror in (nodes, pods, config_maps):
            tasks.create_task(mirror.follow())
        while True:
            await changed.wait()
            await asyncio.sleep(_SETTLE_S)  # what comes together is handled together
            changed.clear()
            if nodes.objects is None or pods.objects is None or config_maps.objects is None:
                continue  # without the pods every plugin would seem gone
            try:
                await _reconcile(client, nodes.objects, pods.objects, config_maps.objects)
            except httpx.HTTPError as error:
                _log.warning("cannot set what a node offers: %s; again in %s s", first_line(error), RETRY_S)
                await asyncio.sleep(RETRY_S)
                changed.set()


async def _reconcile(client: httpx.AsyncClient, nodes: Objects, pods: Objects, config_maps: Objects) -> None:
    data = {(each["metadata"]["namespace"], each["metadata"]["name"]): each.get("data") or {} for each in config_maps.values()}
    by_node = defaultdict(list)
    for pod in pods.values():
        by_node[pod["spec"].get("nodeName")].append(pod)
    operator = any(map(nvidia.is_operator, pods.values()))
    for node in nodes.values():
        name = node["metadata"]["name"]
        if (metadata := wanted_metadata(node, by_node[name], data, operator=operator)) is not None:
            await _apply(client, f"/api/v1/nodes/{name}", {"metadata": {"name": name, **metadata}})
            _log.info("node %s is labelled %s", name, metadata["labels"])
        if (capacity := wanted_capacity(node, by_node[name], data)) is not None:
            status = {"capacity": capacity, "allocatable": capacity}
            await _apply(client, f"/api/v1/nodes/{name}/status", {"metadata": {"name": name}, "status": status})
            _log.info("node %s offers %s", name, capacity)


async def _apply(client: httpx.AsyncClient, path: str, fields: dict[str, Any]) -> None:
    response = await client.patch(
        path,
        params={"fieldManager": FIELD_MANAGER, "force": "true"},
        json={"apiVersion": "v1", "kind": "Node", **fields},
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    if response.status_code != httpx.codes.NOT_FOUND:
        response.raise_for_status()


async def _main(arguments: argparse.Namespace) -> None:
    tls = tls_context(arguments.ca, arguments.certificate, arguments.key)
    async with httpx.AsyncClient(base_url=arguments.server, verify=tls, trust_env=False) as client:
        await manage(client)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description="Offers the accelerators of simulated nodes while their device plugin is ready.")
    parser.add_argument("--server", required=True, help="URL of the API server")
    for option, meaning in (("ca", "authority to trust"), ("certificate", "client certificate"), ("key", "its key")):
        parser.add_argument(f"--{option}", required=True, type=Path, help=f"PEM file of the {meaning}")
    asyncio.run(_main(parser.parse_args()))
