"""Outside programs that judge what stacks make, and what each says, in one form. They see one file for each stack."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandbox.toolchain import ensure
from tests.judges import each_alone, schemas
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


def kubeconform(file: Path, directory: Path) -> tuple[int, set[Finding]]:
    """How many objects of the stack that the file is named after are valid, and what is wrong with the others.

    The schemas lie in the directory.
    """
    program = ensure(["kubeconform"])["kubeconform"]
    options = ["-strict", "-verbose", "-output", "json", "-schema-location", f"{directory}/{schemas.LOCATION}"]
    done = subprocess.run([str(program), *options, str(file)], capture_output=True, text=True, check=False)
    judged: list[dict[str, Any]] = json.loads(done.stdout)["resources"]
    assert judged, f"kubeconform saw nothing in {file.name}: {done.stderr}"
    wrong = [found for found in judged if found["status"] != "statusValid"]
    findings = {Finding(file.stem, "kubeconform", f"{found['kind']}.{found['name']}", found["msg"]) for found in wrong}
    return len(judged) - len(wrong), findings


def checkov(framework: str, directory: Path) -> tuple[set[Finding], set[Finding]]:
    """What passed and what failed, of all files in the directory, each named after its stack."""
    files = sorted(directory.iterdir())
    # In an environment of its own: it pins what it needs, and so do we.
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "tool", "run", "--quiet", "--from", CHECKOV, "python", each_alone.__file__, framework, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = dict(zip(files, json.loads(done.stdout), strict=True))
    for file, report in told.items():
        assert not report["errors"], report["errors"]
        assert report["passed"], f"checkov saw nothing in {file.name}: {done.stderr}"
    passed, failed = (
        {Finding(file.stem, check, resource) for file, report in told.items() for check, resource in report[key]}
        for key in ("passed", "failed")
    )
    return passed, failed
