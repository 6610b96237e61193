"""Any Pulumi project can be rehearsed, and none by accident: a resource names its provider, or it is refused."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = pytest.mark.rehearsal

PROGRAM = """
import os, pulumi, pulumi_kubernetes as kubernetes
named = kubernetes.Provider("named", kubeconfig=pulumi.Output.secret(open(os.environ["KUBECONFIG"]).read()))
kubernetes.core.v1.ConfigMap("settings", data={"key": "value"}, opts=pulumi.ResourceOptions(PROVIDER))
"""


def test_a_project_of_another_team(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text().replace("name: llm-platform", "name: other-team"))
    (tmp_path / "stacks/Pulumi.small.yaml").write_text("config:\n  sandbox:nodes: [{name: plain, cpu: 2, memory: 4Gi}]\n")
    project = RehearsedProject(tmp_path, ROOT, "small")
    try:
        (tmp_path / "__main__.py").write_text(PROGRAM.replace("PROVIDER", ""))
        code, output = project.run("up")
        assert code == 1
        assert "error: settings: Default provider for 'kubernetes' disabled" in output

        (tmp_path / "__main__.py").write_text(PROGRAM.replace("PROVIDER", "provider=named"))
        assert "1 ConfigMap" in project.succeed("up")
    finally:
        project.run("reset")


def test_a_stack_of_a_real_cluster_is_rehearsed_as_it_is(tmp_path: Path) -> None:
    project = RehearsedProject.make(ROOT, tmp_path)
    project.edit(lambda config: config["llm-platform:cluster"].update(context="production-admin"))
    try:
        preview = project.succeed("preview")
        assert "llm-platform:index:ModelServer: (create)" in preview
        assert re.search(r"\+ \d+ to create", preview)
    finally:
        project.run("reset")
