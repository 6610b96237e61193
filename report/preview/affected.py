"""Which stacks a change of files may change, so that only those are previewed. Pure."""

from collections.abc import Iterable
from pathlib import PurePosixPath

_NO_PART = ("docs/", "tests/", "bench/", "sandbox/", "report/", "examples/", "plugin/", ".github/", ".ci/")
"""Directories the program of a stack never reads."""
_NO_PART_FILES = ("Makefile", "LICENSE", "renovate.json", "cli.py", "llm-platform", "stacks/schema.json", "requirements-dev.in")


def affected(changed: Iterable[str], stacks: Iterable[str]) -> list[str]:
    """Those of `stacks` whose preview may be another after a change of these files, in their order.

    A stack file is of one stack; everything else that is not known to be no part of the program is of all.
    """
    found = list(stacks)
    hit: set[str] = set()
    for path in changed:
        if PurePosixPath(path).match("stacks/Pulumi.*.yaml"):
            hit.add(PurePosixPath(path).name.removeprefix("Pulumi.").removesuffix(".yaml"))
        elif not path.startswith(_NO_PART) and path not in _NO_PART_FILES and not path.endswith(".md"):
            return found
    return [stack for stack in found if stack in hit]
