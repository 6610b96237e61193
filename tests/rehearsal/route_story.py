"""A route of a stack through one `up` after the other, looked at while each of them runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.controllers import load_balancers_k3s
from tests.rehearsal.project import RehearsedProject
from tests.rehearsal.route_watch import Gap, watching

Config = dict[str, Any]
Change = Callable[[Config], None]

ROUTE = "chat"
"""What clients ask for in every story."""
_SPACE = "/api/v1/namespaces/models"
_ENGINES = ("vllm", "tgi")
_FIRST_UP_S = 900
"""The charts of gateways bring dozens of definitions, which a busy machine takes its time for."""


@dataclass(frozen=True)
class Chapter:
    """A change of the stack file that was rolled out."""

    preview: Mapping[str, str]
    """What a preview said before, by type and name."""
    gaps: list[Gap]
    """Moments of the `up` at which a share of the requests had nowhere to go."""
    before: Mapping[str, str]
    """Servers by the identity of their pod."""
    after: Mapping[str, str]

    def moved_weights_alone(self, kind: str = "HTTPRoute") -> bool:
        """Whether the route was all that changed, and nobody was without an answer."""
        return self.preview == {f"{kind} {ROUTE}-route": "update"} and self.before == self.after and self.gaps == []


def begin(project: RehearsedProject) -> list[Gap]:
    """The first `up`, on a cluster that makes load balancers as k3s does; the gaps of the route since it came."""
    project.succeed("start")
    with project.api() as api:
        load_balancers_k3s.offer(api)
        with watching(api, "models", ROUTE) as gaps:
            process = project.start("up")
            output, _ = process.communicate(timeout=_FIRST_UP_S)
            assert process.returncode == 0, output
    return gaps


def turn(project: RehearsedProject, change: Change) -> Chapter:
    """What a change of the stack file does."""
    project.edit(change)
    preview, before = project.changes(), servers(project)
    with project.api() as api, watching(api, "models", ROUTE) as gaps:
        project.succeed("up")
    return Chapter(preview, gaps, before, servers(project))


def servers(project: RehearsedProject) -> dict[str, str]:
    """By the identity of its pod what each server serves, of those that are not on their way out."""
    with project.api() as api:
        pods = [pod["metadata"] for pod in api.items(f"{_SPACE}/pods")]
    return {
        pod["uid"]: pod["labels"]["app.kubernetes.io/instance"]
        for pod in pods
        if pod["labels"]["app.kubernetes.io/name"] in _ENGINES and "deletionTimestamp" not in pod
    }


def shares(project: RehearsedProject) -> list[dict[str, int]]:
    """By rule of the HTTPRoute, what share of its requests each version gets."""
    with project.api() as api:
        route = api.get(f"/apis/gateway.networking.k8s.io/v1/namespaces/models/httproutes/{ROUTE}")
    return [{each["name"]: each["weight"] for each in rule["backendRefs"]} for rule in route["spec"]["rules"]]
