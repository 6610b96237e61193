"""Where everything comes from at a site without internet, and whether the mirror has what a stack needs."""

from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from components.cluster.k3s.config import HOST_AND_PATH
from components.inputs import Matching, Model
from components.mirroring import Redirection
from components.security.network.addresses import HTTPS
from components.security.network.surroundings import Mirror
from components.storage.download_job import vocabularies_of
from settings.network_policies import Elsewhere

if TYPE_CHECKING:
    from settings.sections import Settings

_CERTIFICATE = r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n?"

_WEB = Matching(
    pattern=f"https://{HOST_AND_PATH}", what="an https address without a slash at its end", example="https://files.internal"
)
_REGISTRY = Matching(
    pattern=HOST_AND_PATH, what="a registry, with a path where images lie below one", example="registry.internal:5000"
)
_CHARTS = Matching(
    pattern=f"(oci|https)://{HOST_AND_PATH}",
    what="a place of charts (oci:// or https://)",
    example="oci://registry.internal/charts",
)
_AUTHORITY = Matching(pattern=f"({_CERTIFICATE})+", what="certificates as PEM", example='"-----BEGIN CERTIFICATE-----\\nMIIB…"')


class MirrorSettings(Model):
    """A registry and a web server that have all this stack needs; the server by TLS, since it decides what runs."""

    registry: Annotated[str, _REGISTRY] = Field(
        description="Registry below which each image has its full name, as in REGISTRY/docker.io/grafana/loki:3.7.6."
    )
    charts: Annotated[str, _CHARTS] | None = Field(
        None, description="Where all charts lie: oci://… or a chart repository; oci://REGISTRY/charts when left out."
    )
    files: Annotated[str, _WEB] | None = Field(
        None,
        description="Web server with the directory that `report mirror STACK --fetch` filled: models, vocabularies, k3s.",
    )
    hub: Annotated[str, _WEB] | None = Field(
        None,
        description="A hub that stands in for Hugging Face; models come from there, not from files.",
        examples=["https://hub.internal"],
    )
    addresses: tuple[Elsewhere, ...] = Field(
        (), description="Where files or the hub answer downloads; they reach nothing else then.", examples=["[10.20.0.40/32]"]
    )
    authority: Annotated[str, _AUTHORITY] | None = Field(
        None,
        description="Authority of the certificates of files and hub, as PEM, for downloads; a public one when left out.",
    )

    @model_validator(mode="after")
    def _reached_at_one_port(self) -> Self:
        ports = {self._port(place) for place in (self.files, self.hub) if place}
        if len(ports) > 1:
            raise ValueError("hub: it answers on another port than files, and policies open one; use the same port for both")
        return self

    @staticmethod
    def _port(place: str) -> int:
        return urlsplit(place).port or HTTPS

    def redirection(self) -> Redirection:
        """Where images and charts come from."""
        return Redirection(self.registry, self.charts or f"oci://{self.registry}/charts")

    def way(self) -> Mirror:
        """What downloads reach."""
        place = self.files or self.hub
        return Mirror(self.addresses, self._port(place) if place else HTTPS)

    @property
    def models(self) -> str | None:
        """Where models lie that were fetched; None where they come from a hub, or from nowhere."""
        return f"{self.files}/models" if self.files and not self.hub else None

    @property
    def vocabularies(self) -> str | None:
        """Where vocabularies of engines lie."""
        return f"{self.files}/models/vocabularies" if self.files else None

    @property
    def k3s(self) -> str | None:
        """Where the files of k3s' releases lie."""
        return f"{self.files}/k3s" if self.files else None


def check_mirror(settings: "Settings") -> None:
    """Raise ValueError for what the stack needs and its mirror does not have."""
    mirror, hosts = settings.mirror, settings.on_hosts()
    if mirror is None:
        return
    fetched = [name for name, model in settings.models.items() if not model.cache.mirror]
    if fetched and not (mirror.files or mirror.hub):
        raise ValueError(
            f"mirror.files is missing; models.{fetched[0]} would come from Hugging Face, which a site with a mirror does not "
            "reach: use e.g. files: https://files.internal, or hub"
        )
    if fetched and not mirror.addresses:
        raise ValueError(
            "mirror.addresses is missing; policies close every way that is not named, so downloads would not reach "
            f"{urlsplit(mirror.hub or mirror.files or '').hostname}: give its range, e.g. addresses: [10.20.0.40/32]"
        )
    if hosts and hosts.mirror is None:
        raise ValueError(
            f"mirror.files is missing; hosts would fetch k3s {hosts.version} from the internet: use e.g. "
            "files: https://files.internal, or name a directory on every host in cluster.mirror"
        )
    if hosts and hosts.driver.install:
        raise ValueError("cluster.driver.install: the mirror has no drivers; install NVIDIA's driver on the hosts, and remove it")


def lacking(settings: "Settings", name: str, model_type: str) -> str | None:
    """Why a model of that type cannot be fetched, in one sentence; None where it can."""
    mirror = settings.mirror
    if mirror is None or (mirror.files and mirror.addresses) or not vocabularies_of(model_type):
        return None
    missing = "mirror.addresses" if mirror.files else "mirror.files"
    return (
        f"{missing} is missing; models.{name}: an engine for {model_type} takes vocabularies that no hub and no bucket has: "
        "use e.g. files: https://files.internal and addresses: [10.20.0.40/32]"
    )
