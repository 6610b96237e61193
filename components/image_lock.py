"""Which digest belongs to the tag of an image. Pure; the images and where their digests were read are in images.lock.yaml."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import Field, model_validator

from planner.catalog.files import load_yaml

from .inputs import Model

LOCK = Path(__file__).parent / "images.lock.yaml"


class LockedImage(Model):
    """One image by its tag."""

    image: str = Field(min_length=1)
    digest: str | None = Field(None, pattern="^sha256:[0-9a-f]{64}$")
    """Of the index of all architectures."""
    sources: tuple[str, ...] = ()
    """Where the digest was read."""
    reason: str | None = None
    """Why there is none."""

    @model_validator(mode="after")
    def _explained(self) -> "LockedImage":
        if (self.digest is None) != (self.reason is not None) or (self.digest is None) != (not self.sources):
            raise ValueError(f"{self.image} needs either a digest with its sources, or a reason why there is none")
        return self

    @property
    def reference(self) -> str:
        """What a container names: by digest where it is known."""
        return self.image if self.digest is None else f"{self.image}@{self.digest}"


class ChartImage(Model):
    """An image that a chart starts."""

    image: str
    when: str | None = None
    """Path of the value that takes it away when it is false, e.g. `driver.enabled`."""
    values: Mapping[str, str] = Field(default_factory=dict)
    """By path of a value what the chart has there: the beginning of the image's name, e.g. `image.registry: quay.io`."""


class LockedChart(Model):
    """A chart and what it starts."""

    chart: str
    version: str
    images: tuple[ChartImage, ...]


class Lock(Model):
    """The whole file."""

    images: tuple[LockedImage, ...]
    charts: tuple[LockedChart, ...]

    @property
    def by_image(self) -> Mapping[str, LockedImage]:
        """The images by their tagged reference."""
        return {each.image: each for each in self.images}


@cache
def lock() -> Lock:
    """The file, read once."""
    return Lock.model_validate(load_yaml(LOCK))


def locked(image: str) -> str:
    """`image` with its digest where the lock has one; anything else, e.g. another version of an engine, as it is."""
    found = lock().by_image.get(image)
    return found.reference if found else image
