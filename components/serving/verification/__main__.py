"""`python -m components.serving.verification OUTPUTS.json`: is what runs on a cluster what the stack asked for?

OUTPUTS.json is what `pulumi stack output verification --json` prints. Pods and Jobs are read with kubectl. How the servers answer
was asked by the Job that runs inside the cluster after each change; its result is reported here.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...base import selector
from .expectation import Expectation
from .jobs import faults_of_jobs
from .model_verification import verification_labels
from .objects import faults_of_pods


def read_expectations(file: Path) -> dict[str, Expectation]:
    """What must be true, by model. Raises ValueError where the file holds something else."""
    outputs = json.loads(file.read_text())
    if not isinstance(outputs, dict):
        raise ValueError(f"{file} holds no models; write it with `pulumi stack output verification --json`")
    return {model: Expectation.from_json(text) for model, text in outputs.items()}


def main(arguments: Sequence[str]) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python -m components.serving.verification", description=__doc__)
    parser.add_argument("outputs", type=Path, help="what `pulumi stack output verification --json` printed")
    parser.add_argument("--context", help="the kubeconfig context of the cluster; kubectl's current one by default")
    given = parser.parse_args(arguments)
    try:
        expectations = read_expectations(given.outputs)
        faults = [fault for model, expected in expectations.items() for fault in _faults(model, expected, given.context)]
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for fault in faults:
        sys.stderr.write(f"error: {fault}\n")
    sys.stdout.write(f"{len(expectations)} models checked, {len(faults)} faults\n")
    return 1 if faults else 0


def _faults(model: str, expected: Expectation, context: str | None) -> list[str]:
    pods = _read("pods", expected.namespace, expected.selector, context)
    jobs = _read("jobs", expected.namespace, selector(verification_labels(model)), context)
    return [*faults_of_pods(expected, pods), *faults_of_jobs(model, expected, jobs)]


def _read(kind: str, namespace: str, labels: Mapping[str, str], context: str | None) -> list[dict[str, Any]]:
    """Objects by their labels. Raises ValueError with what kubectl said."""
    wanted = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    chosen = ["--context", context] if context else []
    command = ["kubectl", *chosen, "-n", namespace, "get", kind, "-l", wanted, "-o", "json", "--request-timeout=30s"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ValueError("kubectl is not on PATH; install it, see https://kubernetes.io/docs/tasks/tools/") from None
    if done.returncode:
        raise ValueError(f"kubectl cannot read the {kind} of {namespace}: {' '.join(done.stderr.split())}")
    found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
