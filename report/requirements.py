"""Reading the files with hashes that `make lock` writes. Pure."""

import re
from collections.abc import Mapping

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def pins(text: str) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """By normalized name and version the SHA-256 sums of a package's files; none in a file that has no hashes.

    One package may have several versions, each for other versions of Python.
    """
    found: dict[tuple[str, str], list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if pin := _PIN.match(line):
            current = found.setdefault((re.sub(r"[-_.]+", "-", pin["name"]).lower(), pin["version"]), [])
        current.extend(_HASH.findall(line))
    return {key: tuple(hashes) for key, hashes in found.items()}
