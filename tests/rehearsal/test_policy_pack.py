"""The policy pack as an executable analyzer of the real engine, over the program of another team."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = pytest.mark.rehearsal

HEAD = """
import os, pulumi, pulumi_kubernetes as kubernetes
cluster = kubernetes.Provider("cluster", kubeconfig=pulumi.Output.secret(open(os.environ["KUBECONFIG"]).read()))
opts = pulumi.ResourceOptions(provider=cluster)

def nightly(name, image):
    container = {
        "name": "tool",
        "image": image,
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    }
    pod = {"automountServiceAccountToken": False, "restartPolicy": "Never", "containers": [container]}
    spec = {"schedule": "@daily", "suspend": True, "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    return kubernetes.batch.v1.CronJob(name, metadata={"namespace": "default"}, spec=spec, opts=opts)

kubernetes.networking.v1.NetworkPolicy(
    "closed", metadata={"namespace": "default"}, spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, opts=opts
)
"""
DIGEST = "@sha256:" + "1" * 64
PINNED = f'"docker.io/library/tool:1.0{DIGEST}"'
MOVING = '"docker.io/library/tool:latest"'


class Team:
    """A project of another team, whose stack file has the pack's section and nothing else of this platform."""

    def __init__(self, root: Path) -> None:
        (root / "stacks").mkdir()
        (root / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text().replace("name: llm-platform", "name: other-team"))
        self.project = RehearsedProject(root, ROOT, "small")

    def states(self, **policies: object) -> None:
        config = {"llm-platform:policies": policies, "sandbox:nodes": [{"name": "plain", "cpu": 2, "memory": "4Gi"}]}
        self.project.stack_file.write_text(yaml.safe_dump({"config": config}))

    def program(self, *lines: str) -> None:
        (self.project.root / "__main__.py").write_text("\n".join([HEAD, *lines]))

    def objects(self, collection: str) -> list[str]:
        return [each["metadata"]["name"] for each in self.project.api().get(collection)["items"]]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    made = Team(tmp_path_factory.mktemp("team"))
    yield made
    made.project.run("reset")


def _violations(output: str) -> list[str]:
    """What a rehearsal says that rules object to."""
    return [line for line in output.splitlines() if line.removeprefix("error: ").startswith("policy ")]


CRON_JOBS = "/apis/batch/v1/namespaces/default/cronjobs"


def test_what_a_mandatory_rule_forbids_is_not_made(team: Team) -> None:
    team.states(enforcement="mandatory")
    team.program(f"nightly('good', {PINNED})", f"nightly('bad', {MOVING})")
    sentence = "policy image-pinned (mandatory): CronJob bad: docker.io/library/tool:latest moves"
    for command in ("preview", "up"):
        code, output = team.project.run(command)
        assert code == 1, output
        assert f"error: {sentence}" in output
        assert "CronJob good" not in output
    assert team.objects(CRON_JOBS) == []


def test_a_rule_that_advises_is_shown_and_ends_nothing(team: Team) -> None:
    team.states(enforcement="mandatory", exceptions={"image-pinned": "until March", "image-digest": "until March"})
    team.program(f"nightly('bad', {MOVING})")
    sentence = "policy image-pinned (advisory): CronJob bad: docker.io/library/tool:latest moves"
    lines = _violations(team.project.succeed("preview"))
    assert [line for line in lines if line.startswith(sentence)]
    assert [line for line in lines if not line.endswith("(excepted here: until March)")] == []
    output = team.project.succeed("up")
    assert "docker.io/library/tool:latest moves" in output
    assert "(excepted here: until March)" in output
    assert len(team.objects(CRON_JOBS)) == 1


def test_what_keeps_the_rules_is_silent(team: Team) -> None:
    team.states(enforcement="mandatory")
    team.program(f"nightly('good', {PINNED})")
    for command in ("preview", "up", "preview"):
        assert _violations(team.project.succeed(command)) == []
    assert json.loads(team.project.succeed("preview", "--json")) == []


def test_what_only_the_update_knows_is_checked_there(team: Team) -> None:
    """A preview cannot know a UID, so the rule waits; what is made is made before the rule knows."""
    team.states(enforcement="mandatory")
    team.program(
        f"good = nightly('good', {PINNED})",
        "first = kubernetes.core.v1.ConfigMap('first', metadata={'namespace': 'default'}, data={'a': 'b'}, opts=opts)",
        "unknown = first.metadata.apply(lambda metadata: f'docker.io/library/tool:latest-{metadata.uid}')",
        "nightly('later', unknown)",
    )
    assert _violations(team.project.succeed("preview")) == []
    code, output = team.project.run("up")
    assert code == 1, output
    assert "error: policy image-pinned (mandatory): CronJob later: docker.io/library/tool:latest-" in output
    assert not any(name.startswith("later") for name in team.objects(CRON_JOBS))


def test_a_rule_over_the_whole_stack(team: Team) -> None:
    team.states(enforcement="mandatory")
    budget = "spec={'maxUnavailable': 0, 'selector': {'matchLabels': {'app': 'a'}}}"
    team.program(
        f"kubernetes.policy.v1.PodDisruptionBudget('closed', metadata={{'namespace': 'default'}}, {budget}, opts=opts)",
    )
    code, output = team.project.run("up")
    assert code == 1, output
    assert "error: policy disruption-budget (mandatory): PodDisruptionBudget closed: it lets no pod go" in output
    assert team.objects("/apis/policy/v1/namespaces/default/poddisruptionbudgets") == []


def test_no_secret_is_shown(team: Team) -> None:
    team.states(enforcement="mandatory")
    team.program(
        "canary = pulumi.Output.secret('canary-4711-value')",
        "kubernetes.core.v1.ConfigMap('open', metadata={'namespace': 'default'}, data={'key': canary}, opts=opts)",
        "nightly('bad', pulumi.Output.concat('docker.io/', canary, '/tool:latest'))",
    )
    code, output = team.project.run("preview")
    assert code == 1, output
    assert "policy secret-exposed (mandatory): ConfigMap open: data.key is a secret of the program" in output
    assert "policy image-pinned (mandatory): CronJob bad: [secret] moves" in output
    assert "4711" not in output


def test_a_wrong_section_is_one_sentence(team: Team) -> None:
    team.states(enforcement="mandatory", exceptions={"image-pind": "because"})
    code, output = team.project.run("preview")
    assert code == 1
    assert output.strip().splitlines() == [
        "error: Pulumi.small.yaml: llm-platform:policies: exceptions: 'image-pind' is no rule of the policy pack; "
        "did you mean image-pinned?"
    ]
