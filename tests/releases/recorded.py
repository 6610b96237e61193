"""Files of recorded releases: read and written in one place."""

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PASSPHRASE = "the rehearsals of a release"
"""Encrypts values that rehearsals have made up; from the same passphrase the same ones are made up again."""
STACKS = ("local", "prod")
"""Those that together have most components: an existing cluster, and EKS with all that AWS is made of."""


@dataclass(frozen=True)
class Recorded:
    """One stack of one release."""

    version: str
    stack: str

    @property
    def directory(self) -> Path:
        return HERE / self.version / self.stack

    @property
    def stack_file(self) -> Path:
        """As the engine had it."""
        return self.directory / f"Pulumi.{self.stack}.yaml"

    def state(self) -> dict[str, Any]:
        """What `pulumi stack export` printed."""
        found: dict[str, Any] = json.loads(lzma.decompress((self.directory / "state.json.xz").read_bytes()))
        return found

    def write(self, state: Mapping[str, Any], stack_file: str) -> None:
        self.directory.mkdir(parents=True)
        for resource in state["deployment"]["resources"]:
            for of_the_machine in ("sourcePosition", "stackTrace"):
                resource.pop(of_the_machine, None)
        text = json.dumps(state, sort_keys=True, separators=(",", ":"))
        (self.directory / "state.json.xz").write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
        self.stack_file.write_text(stack_file)


def releases() -> list[str]:
    """Versions, oldest first."""
    found = [path.name for path in HERE.iterdir() if path.is_dir() and path.name[:1].isdigit()]
    return sorted(found, key=lambda version: tuple(map(int, version.split("."))))


def recordings() -> list[Recorded]:
    """Every recorded stack of every release."""
    return [Recorded(version, stack) for version in releases() for stack in STACKS if Recorded(version, stack).directory.exists()]


def urns_file(version: str) -> Path:
    return HERE / version / "urns.txt"
