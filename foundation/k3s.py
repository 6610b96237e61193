"""A cluster that the stack makes on hosts it reaches over SSH."""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pulumi
import pulumi_command as command

from components.accelerators import HostSoftwareArgs
from components.cluster.k3s import K3sCluster
from components.cluster.k3s.hosts import FOUNDER, Host, HostArgs, Ssh, SshArgs
from components.cluster.k3s.observe import Observation, observe
from components.cluster.k3s.settings import NVIDIA, K3sClusterArgs
from components.inputs import InputError
from components.serving.engine_images import engine_on
from foundation.foundation import Foundation, provider_of
from planner.catalog import UnknownAcceleratorError, accelerator
from planner.compatibility import oldest_driver as cuda_driver
from settings.k3s import K3sClusterSettings
from settings.sections import Settings

CACHE_PATH = "/var/lib/llm-platform/models"
CONTAINERD = "/run/k3s/containerd/containerd.sock"


def make(config: Settings, cluster: K3sClusterSettings, file: str) -> Foundation:
    """The cluster; `file` names the stack file in messages.

    Hosts are looked at first, also for a preview: one that was wiped is prepared again, and of one that cannot be reached nothing
    is planned.
    """
    key = private_key(cluster, file)
    seen = _seen(cluster, key, file)
    on_hosts = pulumi.ResourceOptions(providers={"command": command.Provider("command")})
    made = K3sCluster("cluster", _args(config, cluster, key, seen, file), opts=on_hosts).contract
    provider = provider_of(made)
    return Foundation(
        made,
        provider,
        cache_paths=dict.fromkeys(cluster.node_pools, CACHE_PATH),
        host_software=HostSoftwareArgs(driver=True, toolkit=True, mig=True, containerd_socket=CONTAINERD),
        exports={"kubeconfig": made.kubeconfig},
    )


def private_key(cluster: K3sClusterSettings, file: str) -> str | None:
    """Text of the key that hosts are reached with; None with an agent. Raises InputError where it cannot be read."""
    if cluster.ssh.private_key_file is None:
        return None
    return _read(cluster.ssh.private_key_file, f"{file}: cluster.ssh.privateKeyFile")


def _read(path: str, where: str) -> str:
    try:
        return Path(path).expanduser().read_text()
    except OSError as error:
        raise InputError(f"{where}: {path} cannot be read ({error.strerror}); name a file of this machine") from None


def _seen(cluster: K3sClusterSettings, key: str | None, file: str) -> Mapping[str, Observation]:
    hosts = {name: Host.model_validate(host.args()) for name, host in cluster.hosts().items()}
    ssh = Ssh.model_validate({**cluster.args()["ssh"], **({"private_key": key} if key else {})})
    # A thread: the program may run inside an event loop already.
    with ThreadPoolExecutor(max_workers=1) as pool:
        found = pool.submit(lambda: asyncio.run(observe(hosts, ssh, key))).result()
    if refused := [str(observation.reason) for observation in found.values() if observation.refused]:
        raise InputError("\n".join(f"{file}: {reason}" for reason in refused))
    for name, observation in found.items():
        if not observation.reachable:
            pulumi.log.warn(
                f"{observation.reason}; whether {name} is still as it was made is not known, so nothing of it is changed"
            )
    return found


def oldest_driver(config: Settings) -> int:
    """The oldest branch of NVIDIA's driver that runs every GPU of the stack, and every engine on them."""
    branches = [0]
    for name in config.cluster.node_pools:
        pool = config.cluster.pool(name)
        if pool.accelerator is None or pool.accelerator.resource != NVIDIA:
            continue
        with contextlib.suppress(UnknownAcceleratorError):
            card = accelerator(pool.accelerator.product or "")
            branches.append(int((card.driver or "R0").removeprefix("R")))
        # Of TGI's image nobody says what driver it needs.
        engines = [each.engine for each in config.models.values() if each.node_pool == name and not each.engine.by_tgi]
        branches += [cuda_driver(engine_on(pool, engine.image, engine.version).cuda_major) for engine in engines]
    return max(branches)


def _args(
    config: Settings, cluster: K3sClusterSettings, key: str | None, seen: Mapping[str, Observation], file: str
) -> K3sClusterArgs:
    args = cluster.args()
    args["driver"]["minimum"] = max(cluster.driver.minimum, oldest_driver(config))
    ssh: SshArgs = args["ssh"]
    if key is not None:
        ssh["private_key"] = pulumi.Output.secret(key)
    for name, registry in args["registries"].items():
        settings = cluster.registries[name]
        if settings.username and settings.password_file:
            where = f"{file}: cluster.registries.{name}.passwordFile"
            registry["username"] = settings.username
            registry["password"] = pulumi.Output.secret(_read(settings.password_file, where).rstrip("\n"))
    there = any(seen[name].k3s for name in args["servers"])
    for hosts in (args["servers"], *(pool["hosts"] for pool in args["node_pools"])):
        for name, host in hosts.items():
            _as_seen(host, seen[name], of_a_cluster=there)
    first = next(iter(args["servers"].values()))
    if not there:
        first["generation"] = f"{FOUNDER}{first['generation']}"
    return args


def _as_seen(host: HostArgs, observation: Observation, *, of_a_cluster: bool) -> None:
    host["reachable"] = observation.reachable
    host["k3s"] = observation.k3s
    # A host without one is new, or was wiped, and without a server all belong to no cluster: another text makes everything of it
    # run again.
    host["generation"] = (observation.generation if of_a_cluster else None) or secrets.token_hex(8)
