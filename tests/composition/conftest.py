"""What the tests of composition share: one control plane, one wheel, and each example in its environment."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.control_plane.components import BINARIES
from sandbox.toolchain import ensure
from tests.composition.consumer import Consumer
from tests.composition.environments import MissingError, build_wheel, node, node_project, python_environment
from tests.conftest import ROOT
from tests.rehearsal.kubernetes_support import Api

_HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def consumer_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a team that installed the wheel."""
    return python_environment(tmp_path_factory.mktemp("consumer") / "venv", wheel)


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A cluster with a pool of GPU nodes, as the platform team has one."""
    plane = ControlPlane("composition", tmp_path_factory.mktemp("composition"))
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    groups = [
        NodeGroup(name="system", cpu=8, memory="32Gi"),
        NodeGroup(name="l4", instance_type="g6.xlarge", device_plugin="builtin", taints=[taint]),
    ]
    plane.start(ensure(BINARIES), groups)
    yield Api(plane.kubeconfig)
    plane.reset()


@pytest.fixture(scope="module", params=["python", "typescript", "yaml"])
def consumer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Consumer:
    """The example in each language, in the environment its team would run it in."""
    language = request.param
    directory = tmp_path_factory.mktemp(language)
    project = ROOT / "examples" / language
    environment: dict[str, str] = {"PYTHONPATH": ""}
    match language:
        case "python":
            command = [str(request.getfixturevalue("consumer_python")), str(_HERE / "inline.py"), str(project)]
        case "yaml":
            command = [sys.executable, str(_HERE / "inline.py"), str(project)]
            environment = {"PYTHONPATH": str(ROOT)}
        case _:
            try:
                command = [str(node()), str(_HERE / "inline.mjs"), str(node_project(project, directory))]
            except MissingError as error:
                pytest.skip(str(error))
    return Consumer(command, directory, ensure(("pulumi",))["pulumi"], environment, by_plugin=language != "python")


@pytest.fixture(scope="session")
def schema() -> dict[str, object]:
    """The committed schema of the plugin."""
    read: dict[str, object] = json.loads((ROOT / "plugin/schema.json").read_text())
    return read
