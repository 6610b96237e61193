"""The kubelet role of the simulated nodes that kwok has not: a node offers its accelerators while their plugin is ready.

A process of its own. It watches nodes and pods, and sets the accelerator part of the capacity of nodes by server-side
apply, so that neither kwok nor the declaration of the nodes gets in its way. It keeps nothing: after a restart, or when
the API server was away, it lists everything again and goes on.
"""

import argparse
import asyncio
import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from sandbox.control_plane.device_plugins import FIELD_MANAGER, wanted_capacity
from sandbox.control_plane.pki import tls_context

_log = logging.getLogger("device-manager")

_RETRY_S = 1.0
_SETTLE_S = 0.05
_WATCH_S = 300

Objects: TypeAlias = dict[str, dict[str, Any]]


class Mirror:
    """A local copy of one collection that follows the API server."""

    def __init__(self, client: httpx.AsyncClient, path: str, changed: asyncio.Event) -> None:
        """`objects` is None before the first list; `changed` is set whenever the copy is new."""
        self.objects: Objects | None = None
        self._client, self._path, self._changed = client, path, changed

    async def follow(self) -> None:
        """Lists and watches for ever; whatever goes wrong ends in listing again."""
        while True:
            try:
                version, self.objects = await self._list()
                self._changed.set()
                await self._watch(version, self.objects)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                _log.warning("%s: %s; again in %s s", self._path, _first_line(error), _RETRY_S)
                await asyncio.sleep(_RETRY_S)

    async def _list(self) -> tuple[str, Objects]:
        response = await self._client.get(self._path)
        response.raise_for_status()
        content = response.json()
        return content["metadata"]["resourceVersion"], {item["metadata"]["uid"]: item for item in content["items"]}

    async def _watch(self, version: str, objects: Objects) -> None:
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(_WATCH_S)}
        async with self._client.stream("GET", self._path, params=query, timeout=_WATCH_S + 30) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":  # the version is too old: list again
                    return
                uid = event["object"]["metadata"]["uid"]
                if event["type"] == "DELETED":
                    objects.pop(uid, None)
                else:
                    objects[uid] = event["object"]
                self._changed.set()


async def manage(client: httpx.AsyncClient) -> None:
    """Keeps the accelerator capacity of every node right, for ever."""
    changed = asyncio.Event()
    nodes, pods = (Mirror(client, f"/api/v1/{kind}", changed) for kind in ("nodes", "pods"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(nodes.follow())
        tasks.create_task(pods.follow())
        while True:
            await changed.wait()
            await asyncio.sleep(_SETTLE_S)  # what comes together is handled together
            changed.clear()
            if nodes.objects is None or pods.objects is None:
                continue  # without the pods every plugin would seem gone
            try:
                await _reconcile(client, nodes.objects, pods.objects)
            except httpx.HTTPError as error:
                _log.warning("cannot set the capacity of a node: %s; again in %s s", _first_line(error), _RETRY_S)
                await asyncio.sleep(_RETRY_S)
                changed.set()


async def _reconcile(client: httpx.AsyncClient, nodes: Objects, pods: Objects) -> None:
    by_node = defaultdict(list)
    for pod in pods.values():
        by_node[pod["spec"].get("nodeName")].append(pod)
    for node in nodes.values():
        name = node["metadata"]["name"]
        capacity = wanted_capacity(node, by_node[name])
        if capacity is None:
            continue
        status = {"capacity": capacity, "allocatable": capacity}
        response = await client.patch(
            f"/api/v1/nodes/{name}/status",
            params={"fieldManager": FIELD_MANAGER, "force": "true"},
            json={"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status},
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        if response.status_code != httpx.codes.NOT_FOUND:
            response.raise_for_status()
        _log.info("node %s offers %s", name, capacity)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


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
