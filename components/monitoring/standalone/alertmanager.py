"""Alertmanager: one, which keeps silences and what it sent on a small volume. Pure."""

from ...versions import ALERTMANAGER_IMAGE
from .pods import Program

PORT = 9093
DATA, CONFIG = "/alertmanager", "/etc/alertmanager/config"
STORAGE_GIB = 1
_UID = 65534


def alertmanager_program(external_url: str) -> Program:
    """The program; without a listen address for a cluster it looks for no peers."""
    return Program(
        image=ALERTMANAGER_IMAGE,
        port=PORT,
        uid=_UID,
        ready="/-/ready",
        alive="/-/healthy",
        args=(
            f"--config.file={CONFIG}/alertmanager.yml",
            f"--storage.path={DATA}",
            "--cluster.listen-address=",
            f"--web.external-url={external_url}",
            # Else it would answer under the path of that URL alone; a proxy before it takes the path away.
            "--web.route-prefix=/",
        ),
        cpu="20m",
        memory_mib=128,
        start_seconds=120,
        stop_seconds=30,
    )
