"""Hosts of one's own made into a cluster with k3s.

Every host is looked at before any is changed; then each is prepared, gets its secrets and becomes a node: the servers one after
the other, new agents all at once, and nodes that are there already one after the other, each cordoned before it restarts, and
drained where its pods cannot stay. The scripts change only what is not as wanted, so all of them may run again after a break. A
failed creation has no deletion: what is done when a host leaves hangs on resources that come before k3s does.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_command as command
import yaml

from ...base import PlatformComponent
from ...inputs import validate
from ..contract import PRIVATE, ApiAddress, ApiServer, ClusterContract
from .config import registries_file
from .hosts import Bastion, Host, Ssh, in_url
from .nodes import (
    DRAIN,
    START,
    Node,
    Role,
    drain,
    install,
    nodes,
    preflight,
    prepare,
    reading,
    secrets,
    settle,
)
from .scripts import launcher
from .settings import K3sClusterArgs, K3sSettings
from .versions import minor_version

API_PORT = 6443
PODS, API_SERVICE = "10.42.0.0/16", "10.43.0.1/32"
"""Addresses of pods, and of the Service `kubernetes`: k3s' own, which the settings leave alone (docs.k3s.io, "k3s server")."""

_LOOK = 120
_INSTALL = 1800
"""Seconds: packages and images come over the network."""

_DIAL = 15
_DIALS = 5

_INPUTS = ["addPreviousOutputInEnv", "connection", "create", "delete", "logging", "stdin"]


class K3sCluster(PlatformComponent):
    """A cluster of k3s on hosts that are reached over SSH."""

    kubeconfig: pulumi.Output[str]
    """Content of the kubeconfig; secret."""
    identifier: pulumi.Output[str]
    """Stable while the cluster lives; changes with its certificate authority."""

    def __init__(self, name: str, args: K3sClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._settings = settings = validate(K3sSettings, args, f"K3sCluster {name}")
        everyone = nodes(settings)
        self._servers = servers = [node for node in everyone if node.role is Role.SERVER]
        agents = [node for node in everyone if node.role is Role.AGENT]
        founder = settings.founder()
        # Whoever is asked what the cluster is; answered once, since a server that was wiped is not the cluster.
        speaker = next((node for node in servers if founder is None and node.host.reachable and node.host.k3s), servers[0])
        once = _INPUTS if settings.is_there() else None

        looked = [self._command(node, "preflight", preflight(node, settings), limit=_LOOK) for node in everyone]
        prepared = {
            node.name: self._command(node, "prepare", prepare(node, settings), after=looked, limit=_INSTALL, delete=True)
            for node in everyone
        }
        self._prepared = prepared
        settled: list[pulumi.Resource] = []
        if founder is not None:
            settled.append(self._node(servers[0], []))
        tokens = self._command(
            speaker,
            "tokens",
            reading("tokens", servers[0].host.generation),
            after=settled,
            limit=_LOOK,
            private=True,
            keep=once,
            of_all=True,
        )
        for node in servers[len(settled) :]:
            settled.append(self._node(node, settled[-1:], tokens))
        last_server = turn = settled[-1]
        for node in agents:
            # A node that works already waits for its turn, so that only one is away at a time.
            done = self._node(node, [turn if node.host.k3s else last_server], tokens)
            settled.append(done)
            if node.host.k3s:
                turn = done
        # Apart from the kubeconfig, whose certificates are renewed: while the identity is not known, a preview would replace
        # everything on the cluster.
        identity = self._command(
            speaker,
            "identity",
            reading("identity", servers[0].host.generation),
            after=settled[:1],
            limit=_LOOK,
            keep=once,
            of_all=True,
        )
        # Always of the first server: an input that is ignored would be that of the state, and so would be the host it is run on.
        read = self._command(
            servers[0],
            "kubeconfig",
            reading("kubeconfig", settings.version),
            after=settled,
            limit=_LOOK,
            private=True,
            of_all=True,
            triggers=[identity.stdout],
        )

        address = settings.api_address()
        self.kubeconfig = pulumi.Output.secret(read.stdout.apply(lambda text: reachable(text, address, settings.cluster_name)))
        self.identifier = pulumi.Output.concat(settings.cluster_name, "-", identity.stdout)
        self.finish()

    @property
    def contract(self) -> ClusterContract:
        """What the rest of the platform uses of this cluster."""
        return ClusterContract(
            kubeconfig=self.kubeconfig,
            identifier=self.identifier,
            kubernetes_version=minor_version(self._settings.version),
            node_pools=tuple(pool.contract() for pool in self._settings.node_pools),
            storage_classes=("local-path",),
            api_server=api_server([host.address for host in self._settings.servers.values()]),
            has_metrics_server=True,
        )

    def _node(
        self,
        node: Node,
        after: list[pulumi.Resource],
        tokens: command.remote.Command | None = None,
    ) -> command.remote.Command:
        """The host made a node, or changed; what comes back is there when the node works."""
        settings = self._settings
        secret = self._command(
            node, "secrets", self._secrets(node, tokens), after=[self._prepared[node.name]], limit=_LOOK, private=True
        )
        # It is an identifier of the secrets and none itself.
        known = pulumi.Output.unsecret(secret.stdout)
        drained = self._command(
            node,
            "drain",
            drain(node, settings),
            on=self._other(node),
            after=[secret, *after],
            limit=2 * DRAIN + _LOOK,
            delete=True,
        )
        script = known.apply(lambda identifier: install(node, settings, identifier))
        made = self._command(node, "node", script, after=[drained], limit=_INSTALL)
        # A server settles itself; the first may not be there yet for another to do it.
        where = node if node.role is Role.SERVER else self._other(node)
        return self._command(node, "settle", settle(node, settings), on=where, after=[made], limit=START + _LOOK)

    def _other(self, node: Node) -> Node:
        """The server that speaks of a node which may be gone; always the same one, so that nothing changes by itself, but for
        a node that is to be made while that one is away."""
        others = [server for server in self._servers if server.name != node.name] or [node]
        present = [server for server in others if server.host.reachable and server.host.k3s]
        return others[0] if others[0].host.reachable or node.host.k3s or not present else present[0]

    def _secrets(self, node: Node, tokens: command.remote.Command | None) -> pulumi.Output[str]:
        registries = self._settings.registries
        passwords = {name: registry.password for name, registry in registries.items() if registry.password is not None}
        printed: pulumi.Input[str] = tokens.stdout if tokens else ""

        def text(known: dict[str, Any]) -> str:
            server, _, agent = known["tokens"].partition("\n")
            file = registries_file(registries, known["passwords"])
            return secrets(node, server if node.role is Role.SERVER else "", agent, file)

        return pulumi.Output.secret(pulumi.Output.all(tokens=printed, passwords=passwords).apply(text))

    def _command(
        self,
        node: Node,
        phase: str,
        script: pulumi.Input[str],
        *,
        after: list[Any] | None = None,
        on: Node | None = None,
        limit: int,
        delete: bool = False,
        private: bool = False,
        keep: list[str] | None = None,
        of_all: bool = False,
        triggers: list[Any] | None = None,
    ) -> command.remote.Command:
        """One script for a host; it runs there, or `on` another.

        `private` hides what it prints, `keep` names inputs whose changes count for nothing, `of_all` says that it is the whole
        cluster's, and whatever changes in `triggers` has it run anew.
        """
        ssh = self._settings.ssh
        where = on or node
        reached = node.host.reachable and where.host.reachable
        options = self.child(depends_on=after, timeout=limit, ignore_changes=keep if reached else _INPUTS)
        if private:
            options = pulumi.ResourceOptions.merge(
                options, pulumi.ResourceOptions(additional_secret_outputs=["stdout", "stderr"])
            )
        logging = command.remote.Logging.NONE if private else command.remote.Logging.STDOUT_AND_STDERR
        return command.remote.Command(
            self.child_name(phase) if of_all else self.child_name(node.name, phase),
            connection=connection(where.host, ssh),
            create=launcher("apply", where.name, ssh.user, sudo=ssh.sudo),
            delete=launcher("remove", where.name, ssh.user, sudo=ssh.sudo) if delete else None,
            stdin=script,
            triggers=triggers,
            logging=logging,
            # What servers of SSH refuse: it would go through the environment.
            add_previous_output_in_env=False,
            opts=options,
        )


def api_server(servers: Sequence[str]) -> ApiServer:
    """Where the API server of a cluster with servers of these addresses is.

    Its calls of webhooks come to pods on other nodes from the address of flannel's interface, the first of the node's own part of
    the pods' range (cloudnativelabs/kube-router#332); which part that is, only the cluster knows.
    """
    known = [_range(address) for address in servers]
    # Where a server has a name, its address is not known here.
    ranges = tuple(dict.fromkeys(cidr for found in known for cidr in found))
    answers = (*(ApiAddress(cidr, API_PORT) for cidr in ranges), ApiAddress(API_SERVICE))
    return ApiServer(answers_at=answers, calls_from=(*ranges, PODS))


def _range(address: str) -> tuple[str, ...]:
    try:
        return (str(ipaddress.ip_network(address)),)
    except ValueError:
        return PRIVATE


def connection(host: Host, ssh: Ssh) -> command.remote.ConnectionArgs:
    """How the provider reaches a host; its key is checked."""
    return command.remote.ConnectionArgs(
        host=host.address,
        host_key=host.host_key,
        port=host.port or ssh.port,
        user=ssh.user,
        private_key=pulumi.Output.secret(ssh.private_key) if ssh.private_key else None,
        dial_error_limit=_DIALS,
        per_dial_timeout=_DIAL,
        proxy=_proxy(ssh.bastion, ssh) if ssh.bastion else None,
    )


def _proxy(bastion: Bastion, ssh: Ssh) -> command.remote.ProxyConnectionArgs:
    return command.remote.ProxyConnectionArgs(
        host=bastion.address,
        host_key=bastion.host_key,
        port=bastion.port,
        user=bastion.user or ssh.user,
        private_key=pulumi.Output.secret(ssh.private_key) if ssh.private_key else None,
        dial_error_limit=_DIALS,
        per_dial_timeout=_DIAL,
    )


def reachable(kubeconfig: str, address: str, name: str) -> str:
    """k3s' kubeconfig as others use it: with the address of the API, and cluster, user and context named `name`."""
    content: Mapping[str, Any] = yaml.safe_load(kubeconfig)
    cluster = {**content["clusters"][0]["cluster"], "server": f"https://{in_url(address)}:6443"}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": content["users"][0]["user"]}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        },
        sort_keys=False,
    )
