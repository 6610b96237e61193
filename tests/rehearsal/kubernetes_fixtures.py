"""Fixtures of the tests of the emulated Kubernetes provider; imported by those tests."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.toolchain import ensure
from tests.rehearsal.kubernetes_support import Api


@pytest.fixture(scope="module", name="pulumi_bin")
def pulumi_bin_fixture() -> Path:
    """The Pulumi CLI."""
    return ensure(("pulumi",))["pulumi"]


@pytest.fixture(scope="module", name="control_plane")
def control_plane_fixture(tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Path]) -> Iterator[ControlPlane]:
    """A control plane with one simulated node, for one module of tests."""
    plane = ControlPlane("provider", tmp_path_factory.mktemp("provider"))
    plane.start(binaries, [NodeGroup(name="cpu", cpu=16, memory="64Gi")])
    yield plane
    plane.reset()


@pytest.fixture(scope="module", name="api")
def api_fixture(control_plane: ControlPlane) -> Api:
    return Api(control_plane.kubeconfig)
