"""Pulumi's own command reads the plugin, and makes an SDK of it where it has a language's host."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox.toolchain import ensure
from tests.conftest import ROOT

pytestmark = pytest.mark.rehearsal

PLUGIN = str(ROOT / "plugin/bin/pulumi-resource-llm-platform")


def _pulumi(directory: Path, *arguments: str) -> str:
    binary = ensure(("pulumi",))["pulumi"]
    environment = {
        **os.environ,
        "LLM_PLATFORM_PYTHON": sys.executable,
        "PATH": os.pathsep.join([str(binary.parent), os.environ["PATH"]]),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    done = subprocess.run(
        [str(binary), *arguments], cwd=directory, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pulumi_reads_the_schema(tmp_path: Path, schema: dict[str, Any]) -> None:
    read = json.loads(_pulumi(tmp_path, "package", "get-schema", PLUGIN))
    assert (read["name"], read["version"]) == (schema["name"], schema["version"])
    assert set(read["resources"]) == set(schema["resources"])
    server = "llm-platform:index:ModelServer"
    assert read["resources"][server]["requiredInputs"] == schema["resources"][server]["requiredInputs"]


def test_pulumi_makes_an_sdk_of_it(tmp_path: Path) -> None:
    beside = ensure(("pulumi",))["pulumi"].parent
    if not shutil.which("pulumi-language-nodejs", path=os.pathsep.join([str(beside), os.environ["PATH"]])):
        pytest.skip("pulumi-language-nodejs is not there: only official installations of Pulumi have it, and no package registry")
    project = tmp_path / "typescript"
    shutil.copytree(ROOT / "examples/typescript", project, ignore=shutil.ignore_patterns("node_modules", "bin", "sdks"))
    _pulumi(project, "package", "add", PLUGIN)
    assert "class ModelServer" in (project / "sdks/llm-platform/modelServer.ts").read_text()
