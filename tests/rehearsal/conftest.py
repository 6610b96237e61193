"""What the tests that start a control plane share."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.control_plane.components import BINARIES
from sandbox.toolchain import ensure


@pytest.fixture(scope="session")
def binaries() -> Mapping[str, Path]:
    """The programs of a control plane, found or made."""
    return ensure(BINARIES)
