"""Files that are whole or not there: fetched in parts, gone on with after a break, put in place once they are as expected."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx

PARTIAL = ".partial"
Parts = Callable[[int], Iterable[tuple[bool, bytes]]]
"""The content from a byte on, in parts, each with whether it goes on from there or begins at the beginning."""


def sha256(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(path: Path, parts: Parts, expected: str | None) -> str:
    """Fetch what has the SHA-256 `expected` to `path`; its checksum. ValueError when it is something else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    # Without a checksum nothing says that what is there is a beginning of what comes.
    there = partial.stat().st_size if expected and partial.is_file() else 0
    with partial.open("ab" if there else "wb") as file:
        for going_on, part in parts(there):
            if there and not going_on:
                file.truncate(0)
            there = 0
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    found = sha256(partial)
    if expected and found != expected:
        partial.unlink()
        raise ValueError(f"it has the checksum {found}, and {expected} is expected; what was fetched is thrown away")
    partial.rename(path)
    return found


def write(path: Path, content: bytes) -> None:
    """Put content there, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    partial.write_bytes(content)
    partial.rename(path)


def from_web(client: httpx.Client, url: str) -> Parts:
    """What a web server has."""

    def parts(first: int) -> Iterable[tuple[bool, bytes]]:
        with client.stream("GET", url, headers={"Range": f"bytes={first}-"} if first else {}) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # all of it is there; its checksum tells
            if not answer.is_success:
                raise ValueError(f"{answer.url.host} answers {answer.status_code}")
            for part in answer.iter_raw():
                yield answer.status_code == httpx.codes.PARTIAL_CONTENT, part

    return parts


def checksum_in(text: str, name: str) -> str:
    """The SHA-256 of a file in a list as sha256sum writes it, or in the index of a Debian repository. ValueError without one."""
    for stanza in text.split("\n\n"):
        if re.search(rf"^Filename: (\./)?{re.escape(name)}$", stanza, re.MULTILINE) and (
            found := re.search(r"^SHA256: ([0-9a-f]{64})$", stanza, re.MULTILINE)
        ):
            return found[1]
    if found := re.search(rf"^([0-9a-f]{{64}}) [ *](?:\./)?{re.escape(name)}$", text, re.MULTILINE):
        return found[1]
    raise ValueError(f"its maker's list of checksums has no {name}")
