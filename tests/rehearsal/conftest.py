"""What the tests that start a control plane share."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.control_plane.components import BINARIES
from sandbox.toolchain import ensure
from tests.rehearsal.kubernetes_support import Api, StackUnderTest


@pytest.fixture(scope="session")
def binaries() -> Mapping[str, Path]:
    """The programs of a control plane, found or made."""
    return ensure(BINARIES)


@pytest.fixture(scope="session")
def pulumi_bin() -> Path:
    """The Pulumi CLI."""
    return ensure(("pulumi",))["pulumi"]


@pytest.fixture(scope="module")
def control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Path]
) -> Iterator[ControlPlane]:
    """One for a module of tests, with the nodes the module names in GROUPS, or one node."""
    name = request.module.__name__.rpartition(".test_")[2].replace("_", "-")
    plane = ControlPlane(name, tmp_path_factory.mktemp(name))
    plane.start(binaries, getattr(request.module, "GROUPS", [NodeGroup(name="cpu", cpu=16, memory="64Gi")]))
    yield plane
    plane.reset()


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Api:
    """Requests of the tests themselves."""
    return Api(control_plane.kubeconfig)


@pytest.fixture
def stack(tmp_path: Path, pulumi_bin: Path) -> Iterator[StackUnderTest]:
    """A stack of one test, which is destroyed after it."""
    made = StackUnderTest(tmp_path, pulumi_bin)
    yield made
    made.destroy()
    made.assert_no_error_escaped()
