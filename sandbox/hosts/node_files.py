"""The files k3s makes that scripts read."""

from sandbox.hosts import tokens
from sandbox.hosts.host import Host
from sandbox.hosts.k3s_config import DATA, DIRECTORY, Settings

_SERVER = f"{DATA}/server"
_RUNTIME_FOLDERS = ("/usr/bin", "/usr/local/bin", "/usr/local/nvidia/toolkit")


def write_server(host: Host, settings: Settings, authority: str, token: str, agent_token: str, kubeconfig: str) -> None:
    """Those of a server: tokens to join with, and the administrator's kubeconfig. `authority` is the hash of its certificate."""
    tree = host.tree
    tree.mkdir(_SERVER, 0o700)
    tree.mkdir(f"{_SERVER}/tls", 0o700)
    tree.mkdir(f"{_SERVER}/manifests")
    tree.write(f"{_SERVER}/token", tokens.full(authority, "server", token) + "\n", 0o600)
    tree.link(f"{_SERVER}/node-token", f"{_SERVER}/token")
    if settings.agent_token:
        tree.remove(f"{_SERVER}/agent-token")
        tree.write(f"{_SERVER}/agent-token", tokens.full(authority, "node", agent_token) + "\n", 0o600)
    else:
        tree.link(f"{_SERVER}/agent-token", f"{_SERVER}/token")
    mode = int(str(settings.raw.get("write-kubeconfig-mode", "0600")), 8)
    tree.write(str(settings.raw.get("write-kubeconfig", f"{DIRECTORY}/k3s.yaml")), kubeconfig, mode)


def write_agent(host: Host) -> None:
    """Those of every node: what containerd runs with, NVIDIA's runtime too where it is (docs.k3s.io, "Advanced Options")."""
    tree = host.tree
    tree.write(f"{DATA}/agent/kubelet.kubeconfig", "apiVersion: v1\nkind: Config\n", 0o600)
    runtime = "version = 3\n"
    if any(tree.exists(f"{folder}/nvidia-container-runtime") for folder in _RUNTIME_FOLDERS):
        for name in ("nvidia", "nvidia-cdi"):
            runtime += f"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'{name}']\n"
    tree.write(f"{DATA}/agent/etc/containerd/config.toml", runtime)
    tree.mkdir("/var/lib/kubelet", 0o750)
    tree.mkdir("/run/k3s")
