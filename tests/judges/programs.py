"""Outside programs that judge what stacks make, and what each says, in one form. They see one file for each stack."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandbox.toolchain import ensure
from tests.judges.exceptions import Finding

CHECKOV = "checkov==3.3.30"
_KUBERNETES = "v1.36"
_CRITICAL = 1
"""kube-score's grade of what is wrong; 5 is a warning."""


def kube_score(file: Path) -> set[Finding]:
    """Of the Kubernetes objects of the stack that the file is named after."""
    program = ensure(["kube-score"])["kube-score"]
    command = [str(program), "score", "--kubernetes-version", _KUBERNETES, "--output-format", "json", str(file)]
    judged: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert judged, f"kube-score saw nothing in {file.name}"
    return {
        Finding(file.stem, check["check"]["id"], judgement["object_name"], comment["summary"])
        for judgement in judged
        for check in judgement["checks"]
        if check["grade"] == _CRITICAL and not check["skipped"]
        for comment in check["comments"] or []
    }


def checkov(framework: str, directory: Path) -> tuple[set[Finding], set[Finding]]:
    """What passed and what failed, of all files in the directory, each named after its stack."""
    # In an environment of its own: it pins what it needs, and so do we.
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "tool", "run", "--quiet", "--from", CHECKOV, "checkov", "--framework", framework, "--output", "json"]
    done = subprocess.run(
        [*command, "--skip-download", "--directory", str(directory)], capture_output=True, text=True, check=False
    )
    results = json.loads(done.stdout).get("results")
    assert results, f"checkov saw nothing in {directory}: {done.stderr}"
    assert not results["parsing_errors"], results["parsing_errors"]
    passed, failed = (
        {Finding(Path(check["file_path"]).stem, check["check_id"], check["resource"]) for check in results[key]}
        for key in ("passed_checks", "failed_checks")
    )
    assert {finding.stack for finding in passed} == {file.stem for file in directory.iterdir()}, "not every file was judged"
    return passed, failed
