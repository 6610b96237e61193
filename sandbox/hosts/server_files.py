"""The files a k3s server makes that others read: tokens to join with, and the administrator's kubeconfig."""

from sandbox.hosts.host import Host
from sandbox.hosts.k3s_config import DATA, DIRECTORY, Settings

_SERVER = f"{DATA}/server"


def write(host: Host, settings: Settings, authority: str, token: str, agent_token: str, kubeconfig: str) -> None:
    """Writes them. A full token holds the hash of the cluster's authority before the secret (docs.k3s.io, "k3s token")."""
    tree = host.tree
    tree.mkdir(_SERVER, 0o700)
    tree.mkdir(f"{_SERVER}/tls", 0o700)
    tree.mkdir(f"{_SERVER}/manifests")
    tree.write(f"{_SERVER}/token", f"K10{authority}::server:{token}\n", 0o600)
    tree.link(f"{_SERVER}/node-token", f"{_SERVER}/token")
    if settings.agent_token:
        tree.remove(f"{_SERVER}/agent-token")
        tree.write(f"{_SERVER}/agent-token", f"K10{authority}::node:{agent_token}\n", 0o600)
    else:
        tree.link(f"{_SERVER}/agent-token", f"{_SERVER}/token")
    mode = int(str(settings.raw.get("write-kubeconfig-mode", "0600")), 8)
    tree.write(str(settings.raw.get("write-kubeconfig", f"{DIRECTORY}/k3s.yaml")), kubeconfig, mode)
