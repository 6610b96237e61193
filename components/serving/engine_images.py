"""Which image serves which accelerators, and what differs between them. Pure; the engines are in engines/images.yaml."""

import fnmatch
import re
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from planner.catalog.files import load_yaml

from ..image_lock import locked
from ..inputs import Model
from ..types import NodePool
from ..versions import VLLM_IMAGE

_NAME = re.compile(
    r"(?P<repository>[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+|[a-z0-9._-]+)(:(?P<tag>\w[\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_MOVING = re.compile(r"(base-)?(latest(-.*)?|nightly(-[a-z0-9_]{1,8})?)")
"""Tags that are given to a new image again and again; `nightly-` with a commit is not."""
_RELEASE = re.compile(r"v(\d+\.\d+\.\d+)(?![\w.])")
_COMMAND = ("vllm", "serve")


class Engine(Model):
    """An engine as images.yaml has it."""

    name: str
    resources: tuple[str, ...] = Field(min_length=1)
    repository: str | None = None
    project: str | None = None
    """Where those who have no published image find out how to build theirs."""
    efa_suffix: str | None = None
    user: int | None = None
    group: int | None = None
    home: str | None = None
    architectures: tuple[str, ...] = ()
    cuda_major: int | None = None
    shared_memory_gib: int = 0


class EngineImage(Model):
    """The image for one kind of accelerator."""

    name: str
    image: str
    command: tuple[str, ...] | None
    """What to start, before the arguments; None where the image's entry point is `vllm serve`."""
    user: int | None
    """A user of the image who may serve; None where it is known to have root only."""
    group: int | None
    home: str | None
    """The directory of that user."""
    architectures: tuple[str, ...]
    """Of nodes the image runs on (`kubernetes.io/arch`); empty where unknown."""
    cuda_major: int | None
    """CUDA of the image, which needs a driver: `planner.compatibility.driver_fault`."""
    needs_plugin: bool
    """Whether vLLM reaches the accelerators through a plugin of the image."""
    shared_memory_gib: int
    """The least /dev/shm in GiB that its documentation starts it with; 0 where it names none."""


def engine_for(resource: str, *, image: str | None, version: str, efa: bool = False) -> EngineImage:
    """The engine for accelerators offered as `resource`: `image`, or the release image of vLLM `version` when that is None.

    `efa` chooses the variant with AWS' libfabric. ValueError with one sentence where there is no such image.
    """
    engine = _engine(resource)
    if image is not None:
        check_image(image, version=version)
    elif engine.repository is None and engine.project is None:
        raise ValueError(
            f"No engine for {resource} is known; build an image of vLLM with a plugin for it and name it in image, with its tag"
        )
    elif engine.repository is None:
        raise ValueError(
            f"No release image of vLLM for {engine.name} ({resource}) is published; "
            f"build one as {engine.project} describes and name it in image, with its tag or digest"
        )
    elif efa and engine.efa_suffix is None:
        raise ValueError(f"vLLM publishes no image with EFA for {engine.name} ({resource}); build one and name it in image")
    suffix = engine.efa_suffix if efa else ""
    official = image is None or "/vllm/vllm-openai" in f"/{image}"
    return EngineImage(
        name=engine.name,
        image=image or locked(f"{engine.repository}:v{version}{suffix}"),
        # What an image starts by itself is known of the official ones only.
        command=None if official else _COMMAND,
        user=engine.user,
        group=engine.group,
        home=engine.home,
        architectures=engine.architectures,
        cuda_major=engine.cuda_major,
        needs_plugin=engine.repository is None,
        shared_memory_gib=engine.shared_memory_gib,
    )


def engine_on(pool: NodePool, image: str | None, version: str, nodes: int = 1) -> EngineImage:
    """The engine for a replica on `nodes` nodes of `pool`. Raises ValueError as `engine_for`."""
    resource = pool.accelerator.offered if pool.accelerator else "cpu"
    return engine_for(resource, image=image, version=version, efa=nodes > 1 and pool.fabric_interfaces > 0)


def check_image(image: str, *, version: str | None = None, example: str = VLLM_IMAGE) -> None:
    """Raise ValueError unless the image always means the same: by a tag that names a release, or by a digest.

    With `version`, an official image must also be of that vLLM: the version decides which flags there are.
    """
    parts = _NAME.fullmatch(image)
    if parts is None:
        raise ValueError(f"The image is not a name with a tag or digest; use e.g. {example}")
    tag = parts["tag"]
    if tag is None and parts["digest"] is None:
        raise ValueError(f"{image} has no tag, which means latest, and that moves; use e.g. {example}")
    if parts["digest"] is None and _MOVING.fullmatch(tag):
        raise ValueError(f"{image} moves: a pod that restarts may run another engine; use e.g. {example}")
    found = release(image)
    if version is not None and found is not None and found != version:
        raise ValueError(f"{image} is vLLM {found}, and the engine's version is {version}; set the version to {found}")


def _pinned(image: str) -> str:
    check_image(image)
    return image


PinnedImage = Annotated[str, AfterValidator(_pinned)]
"""An image that always means the same."""


def release(image: str) -> str | None:
    """The version of vLLM in an official image, e.g. 0.33.0; None where the name does not say."""
    parts = _NAME.fullmatch(image)
    found = _RELEASE.match(parts["tag"] or "") if parts and "vllm/vllm-openai" in parts["repository"] else None
    return found[1] if found else None


@cache
def _engines() -> tuple[Engine, ...]:
    path = Path(__file__).parent / "engines" / "images.yaml"
    return tuple(Engine.model_validate(each) for each in load_yaml(path)["engines"])


def _engine(resource: str) -> Engine:
    """The engine for a resource; for one of another vendor all is up to an image of the user's."""
    for engine in _engines():
        if any(fnmatch.fnmatchcase(resource, pattern) for pattern in engine.resources):
            return engine
    return Engine(name=resource, resources=(resource,))
