"""What became of the Job that asked a server. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from .expectation import Expectation


def faults_of_jobs(model: str, expected: Expectation, jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the newest of the Jobs that checked a model, a sentence each."""
    if not jobs:
        return [f"no Job has checked {model}; `pulumi up` makes it after the server"]
    newest = max(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]))
    name, namespace = newest["metadata"]["name"], expected.namespace
    conditions = {condition["type"]: condition for condition in newest.get("status", {}).get("conditions") or []}
    if _holds(conditions.get("Complete")):
        return []
    if _holds(conditions.get("Failed")):
        reason = conditions["Failed"].get("reason", "no reason given")
        return [f"{model} did not pass its check ({reason}); every fault is a line of `kubectl -n {namespace} logs job/{name}`"]
    return [
        f"the check of {model} has not ended; wait for it with `kubectl -n {namespace} wait --for=condition=complete job/{name}`"
    ]


def _holds(condition: Mapping[str, Any] | None) -> bool:
    return condition is not None and condition["status"] == "True"
