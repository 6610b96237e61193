"""A directory that stands in for the internet at an air-gapped site, named by LLM_PLATFORM_MIRROR:

    <mirror>/tools/<tool>/<version>/<os>-<arch>/<binary>
    <mirror>/tools/<tool>/<version>/<os>-<arch>/<binary>.sha256     its SHA-256 sum; what `sha256sum <binary>` prints will do

for instance `<mirror>/tools/kubernetes/1.36.3/linux-amd64/kube-apiserver`. A machine that has the tools has the files to copy in
its cache (storage.py). The sum is required. A file without one, or with
another one, ends the run instead of falling through to the next source: a mirror is the site's own word, and a broken one is to
be repaired, not worked around.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.toolchain.tools import Tool, UnavailableError, platform_id

VARIABLE = "LLM_PLATFORM_MIRROR"


def copy(tool: Tool, binaries: Iterable[str], stage: Path) -> None:
    """Puts the verified `binaries` of `tool` into `stage/bin`.

    UnavailableError if the mirror does not have them, SandboxError if what it has is wrong, OSError if `stage` cannot be written.
    """
    if not (mirror := os.environ.get(VARIABLE)):
        raise UnavailableError(f"{VARIABLE} is not set")
    folder = Path(mirror) / "tools" / tool.name / tool.version / platform_id()
    if not Path(mirror).is_dir():
        raise SandboxError(
            f"{VARIABLE} is {mirror}, which is no directory; name the mirror's directory, or unset the variable to do without one"
        )
    target = stage / "bin"
    target.mkdir()
    for binary in binaries:
        source = folder / binary
        if not source.is_file():
            raise UnavailableError(f"{source} does not exist")
        wanted = _sum_beside(source)
        if not os.access(source, os.R_OK):
            raise SandboxError(f"{source} cannot be read by this user; make it readable and run again")
        # The copy is what gets verified, so a source that changes meanwhile cannot slip through.
        copied = shutil.copyfile(source, target / binary)
        with copied.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != wanted:
            raise SandboxError(
                f"{source} has the SHA-256 sum {got}, and {source.name}.sha256 beside it says {wanted}; copy it there again"
            )


def _sum_beside(source: Path) -> str:
    beside = source.with_name(f"{source.name}.sha256")
    words = beside.read_text().split() if os.access(beside, os.R_OK) else []
    if not words or len(words[0]) != 64:
        raise SandboxError(
            f"{source} is not used, because {beside.name} beside it is missing or holds no SHA-256 sum; write it with `sha256sum`"
        )
    return words[0].lower()
