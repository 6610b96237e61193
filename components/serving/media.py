"""Media in requests: where they may come from, how many and how large they may be. Pure."""

import ipaddress
import re
from typing import Annotated, NotRequired, TypedDict, cast

from pydantic import AfterValidator, Field, model_validator

from ..inputs import Model
from ..names import DNS_LABEL

NOWHERE = "none.invalid"
"""A name that nobody can have (RFC 6761): vLLM takes an empty list of domains for all of them."""

_INTERNAL = ("localhost", "local", "internal", "svc", "lan", "home", "corp", "intranet", "private", "arpa", "invalid", "test")
"""Last parts of names that lead inside: Kubernetes' own, those of cloud metadata, and what RFC 6761, RFC 6762 and ICANN keep from
the internet."""
_PIXEL_MILLIONS, _MEGABYTES, _AUDIO_SECONDS = 50, 64, 600


def _domain(value: str) -> str:
    """`value`, or ValueError when media must not come from there."""
    example = "use e.g. upload.wikimedia.org"
    if "*" in value:
        raise ValueError(f"{value} is a pattern, which vLLM compares letter by letter; name each host, e.g. upload.wikimedia.org")
    if _is_address(value):
        raise ValueError(f"{value} is an address, and one may be of the cluster or its metadata; {example}")
    parts = value.split(".")
    if not all(DNS_LABEL.fullmatch(part) for part in parts) or len(value) > 253:
        raise ValueError(f"{value[:60]!r} is not the name of a host in small letters, without scheme, port or path; {example}")
    if len(parts) == 1 or parts[-1] in _INTERNAL or "svc" in parts[1:]:
        raise ValueError(f"{value} leads inside the cluster or its network, where requests must not reach; {example}")
    return value


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        # A name whose last part is a number is an address too: 0x7f.1, 2130706433 (WHATWG URL standard, "ends in a number").
        return bool(re.fullmatch(r"\d+|0x[0-9a-f]*", value.rpartition(".")[2], re.IGNORECASE))
    return True


Domain = Annotated[str, AfterValidator(_domain)]
"""A host of the internet by its name."""


class MediaArgs(TypedDict):
    """Images, videos and sounds that clients may send."""

    domains: NotRequired[list[str]]
    """Hosts the engine may fetch them from over HTTPS; without any, clients send them in the request itself (`data:` URLs)."""
    images: NotRequired[int]
    """Images in one prompt; none by default."""
    videos: NotRequired[int]
    """Videos in one prompt; none by default."""
    audios: NotRequired[int]
    """Sounds in one prompt; none by default."""
    megabytes: NotRequired[int]
    """Megabytes that one request may have the engine fetch; 64 by default, where vLLM allows 256."""
    megapixels: NotRequired[int]
    """Millions of pixels of one image; 50 by default, where vLLM allows 179."""
    audio_seconds: NotRequired[int]
    """Longest sound in seconds; 600 by default."""


class Media(Model):
    """Validated `MediaArgs`."""

    domains: tuple[Domain, ...] = Field(
        (),
        description="Hosts the engine may fetch them from; without any, clients send them in the request itself.",
        examples=["[upload.wikimedia.org]"],
    )
    images: int = Field(0, ge=0, le=256, description="Images in one prompt.", examples=[4])
    videos: int = Field(0, ge=0, le=64, description="Videos in one prompt.", examples=[1])
    audios: int = Field(0, ge=0, le=64, description="Sounds in one prompt.", examples=[1])
    megabytes: int = Field(_MEGABYTES, ge=1, le=256, description="Megabytes that one request may fetch.", examples=[_MEGABYTES])
    megapixels: int = Field(
        _PIXEL_MILLIONS, ge=1, le=178, description="Millions of pixels of one image.", examples=[_PIXEL_MILLIONS]
    )
    audio_seconds: int = Field(_AUDIO_SECONDS, ge=1, le=7200, description="Longest sound in seconds.", examples=[_AUDIO_SECONDS])

    @model_validator(mode="after")
    def _something_comes(self) -> "Media":
        if not (self.images or self.videos or self.audios):
            raise ValueError("no media may be sent; give a number, e.g. images: 4, or leave media out")
        return self

    @property
    def fetches(self) -> bool:
        """Whether the engine itself fetches media, and so needs a way out."""
        return bool(self.domains)

    def args(self) -> MediaArgs:
        """The same as a component takes it."""
        return cast(MediaArgs, self.model_dump() | {"domains": list(self.domains)})

    def per_prompt(self) -> dict[str, int]:
        """vLLM's `--limit-mm-per-prompt`; a kind that is not named would be allowed 999 times (vllm/config/multimodal.py)."""
        return {"image": self.images, "video": self.videos, "audio": self.audios}

    def environment(self) -> dict[str, str]:
        """The limits the engine takes from its environment (vLLM security, "Restrict Media Download and Decode Sizes")."""
        return {
            "VLLM_MAX_MEDIA_DOWNLOAD_SIZE_MB": str(self.megabytes),
            "VLLM_MAX_MEDIA_REQUEST_DOWNLOAD_SIZE_MB": str(self.megabytes),
            "VLLM_MAX_IMAGE_PIXELS": str(self.megapixels * 1_000_000),
            "VLLM_MAX_AUDIO_DECODE_DURATION_S": str(self.audio_seconds),
        }


def check_encoders(media: Media, encoders: frozenset[str], source: str) -> None:
    """Raise ValueError for media that a model has no encoder for, or one whose size is not known.

    `encoders`: those of `vision` and `audio` the plan knows of the model of repository `source`.
    """
    for key, number, needed in (
        ("images", media.images, "vision"),
        ("videos", media.videos, "vision"),
        ("audios", media.audios, "audio"),
    ):
        if number and needed not in encoders:
            raise ValueError(
                f"media.{key}: the config.json of {source} tells of no {needed} encoder, or not how large it is; "
                f"leave {key} out, or use a model with one"
            )
