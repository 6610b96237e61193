"""Which image of Text Generation Inference a server runs, and which it cannot. Pure."""

import re

from planner.tgi.launcher import any_user, newest, oldest, release

from ...image_lock import locked
from ...types import NodePool
from ..engine_images import check_image

REPOSITORY = "ghcr.io/huggingface/text-generation-inference"
TGI = any_user()
"""The release that runs where nobody names another: the last whose image starts as any user."""
_IMAGES_OF_ANY_SIZE = "CVE-2026-0599"
_BOUNDED = (3, 3, 7)
_OFFICIAL = re.compile(rf"{re.escape(REPOSITORY)}:v?(?P<release>\d+\.\d+\.\d+)(@.*)?")


def engine_image(image: str | None, version: str, pool: NodePool) -> str:
    """The image for a server on `pool`. ValueError with one sentence where there is none that can run there."""
    if not release(oldest()) <= release(version) <= release(newest()):
        raise ValueError(
            f"engine_version: the arguments of TGI {version} are unknown; use one of {oldest()} to {newest()}, e.g. {TGI}"
        )
    resource = pool.accelerator.offered if pool.accelerator else "cpu"
    if image is None and not resource.startswith("nvidia.com/"):
        raise ValueError(
            f"image: TGI's own image is for NVIDIA's accelerators, not for {resource}; name one for it, with its tag"
        )
    chosen = image or f"{REPOSITORY}:{version}"
    check_image(chosen, example=f"{REPOSITORY}:{TGI}")
    official = _OFFICIAL.fullmatch(chosen)
    if official and official["release"] != version:
        raise ValueError(
            f"image: {image} is TGI {official['release']}, and the engine's version is {version}; use the same for both"
        )
    if official and release(version) > release(TGI):
        raise ValueError(
            f"image: {chosen} starts as root alone (huggingface/text-generation-inference#3082), and servers run as another "
            f"user; use {TGI}, or name an image of your own that others may start"
        )
    return locked(chosen)


def check_text_alone(encoders: frozenset[str], version: str, source: str) -> None:
    """Raise ValueError for a model that takes images on a release that fetches any image a prompt names, of any size.

    `encoders`: those the plan knows of the model of repository `source`.
    """
    if encoders and release(version) < _BOUNDED:
        raise ValueError(
            f"{source} takes images, and TGI {version} fetches any that a prompt names until its memory is full "
            f"({_IMAGES_OF_ANY_SIZE}, fixed in 3.3.7); serve it on vLLM with media"
        )
