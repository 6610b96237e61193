"""The program of docs/multi-cluster.md, run as it stands there with the settings that stand there; and the page beside it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks

from components.routing.istio_ingress import RELEASE
from report.recording import run
from settings.traffic import TrafficSettings

PAGE = "docs/multi-cluster.md"
RECORD = "aws:route53/record:Record"
Made = dict[str, dict[str, Any]]


class Clusters(Mocks):
    """Two stacks of this platform, and the load balancers that their clusters have."""

    def __init__(self, hosts: Mapping[str, str]) -> None:
        self.made: Made = {}
        self._hosts = hosts

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ == "pulumi:pulumi:StackReference":
            stack = args.inputs["name"].rpartition("/")[2]
            outputs = {"routes": {"chat": f"https://{self._hosts[stack]}/v1"}, "cluster": {"name": f"llm-{stack}"}}
            return args.name, {**args.inputs, "outputs": outputs}
        if args.typ == RECORD:
            self.made[args.name] = dict(args.inputs)
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        assert args.token == "aws:lb/getLoadBalancer:getLoadBalancer"
        tags = args.args["tags"]
        assert tags["service.k8s.aws/stack"] == f"gateway/{RELEASE}"
        name = f"{tags['elbv2.k8s.aws/cluster']}.{args.args['region']}"
        return {"dnsName": f"{name}.elb.amazonaws.com", "zoneId": f"zone of {name}"}, []


def records(root: Path, hosts: Mapping[str, str], shares: Mapping[str, int] | None = None) -> Made:
    """What the page's program makes; other `shares` by the last part of a stack's name."""
    page = (root / PAGE).read_text("utf-8")
    [program] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    [config] = [block["config"] for block in _settings(root / PAGE) if "config" in block]
    for stack, share in (shares or {}).items():
        config["models-dns:clusters"][f"acme/llm-platform/{stack}"]["share"] = share
    clusters = Clusters(hosts)
    flat = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    code = compile(program, PAGE, "exec")
    run(lambda: exec(code, {"__name__": "__main__"}), MockMonitor(clusters), stack="dns", preview=False, config=flat)  # noqa: S102
    return clusters.made


def _settings(page: Path) -> list[dict[str, Any]]:
    return [
        yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    ]


def test_each_cluster_has_its_share_of_the_host(root: Path) -> None:
    made = records(root, dict.fromkeys(["prod-us", "prod-eu"], "chat.example.com"))
    assert {name: (each["name"], each["weightedRoutingPolicies"], each["aliases"]) for name, each in made.items()} == {
        f"chat-{stack}": (
            "chat.example.com",
            [{"weight": share}],
            [
                {
                    "name": f"llm-{stack}.{region}.elb.amazonaws.com",
                    "zoneId": f"zone of llm-{stack}.{region}",
                    "evaluateTargetHealth": True,
                }
            ],
        )
        for stack, region, share in [("prod-us", "us-east-1", 90), ("prod-eu", "eu-west-1", 10)]
    }
    assert len({each["setIdentifier"] for each in made.values()}) == 2


def test_different_hosts_are_refused(root: Path) -> None:
    with pytest.raises(pulumi.RunError, match=r"chat is at a.example.com and b.example.com; give it the same host"):
        records(root, {"prod-us": "a.example.com", "prod-eu": "b.example.com"})


def test_shares_that_route_53_would_take_for_equal_are_refused(root: Path) -> None:
    hosts = dict.fromkeys(["prod-us", "prod-eu"], "chat.example.com")
    assert records(root, hosts, {"prod-eu": 0})["chat-prod-eu"]["weightedRoutingPolicies"] == [{"weight": 0}]
    with pytest.raises(pulumi.RunError, match="every share is 0"):
        records(root, hosts, {"prod-us": 0, "prod-eu": 0})


def test_the_program_reads_what_stacks_export(root: Path) -> None:
    read = re.findall(r'require_output\("(\w+)"\)', (root / PAGE).read_text("utf-8"))
    assert read
    assert [name for name in read if f'pulumi.export("{name}"' not in (root / "__main__.py").read_text("utf-8")] == []


@pytest.mark.parametrize("page", [PAGE, "docs/mesh.md"])
def test_stack_files_in_these_pages_are_taken(page: str, root: Path) -> None:
    [traffic] = [block["llm-platform:traffic"] for block in _settings(root / page) if "llm-platform:traffic" in block]
    assert TrafficSettings.model_validate(traffic).routes["chat"].host == "chat.example.com"
