"""Programs and fixtures as the rules of the policy pack see them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pulumi.runtime import rpc

from policy_pack.choices import Policies
from policy_pack.resources import Resource, Stack
from policy_pack.rule import Finding, Rule
from policy_pack.rules import RULES
from policy_pack.values import UNKNOWN
from policy_pack.wire import Path as PropertyPath
from tests.recorder import Recording, Registration
from tests.stacks.program import whole

FIXTURES = Path(__file__).parent / "policy_fixtures"
"""Examples of the rules, a file a concern."""


def found(recording: Recording, config: Mapping[str, Any]) -> Iterator[tuple[Rule, Finding]]:
    """Every violation of a recorded program, as the engine would have them reported."""
    for rule in RULES:
        for registration in recording.resources:
            yield from ((rule, finding) for finding in rule.on_resource(_resource(registration, registration.inputs)))
    stack = Stack([_resource(each, each.outputs) for each in recording.resources], config)
    for rule in RULES:
        yield from ((rule, finding) for finding in rule.on_stack(stack))


def policies(config: Mapping[str, Any]) -> Policies:
    """What a stack file says about the rules."""
    return Policies.model_validate(config.get("llm-platform:policies") or {})


def _resource(registration: Registration, properties: Mapping[str, Any]) -> Resource:
    secrets: set[PropertyPath] = set()
    plain = _plain(whole(dict(properties)), (), secrets)
    return Resource(
        registration.urn,
        registration.type,
        registration.name,
        plain,
        frozenset(secrets),
        protect=registration.protect,
        origins=registration.depends,
    )


def _plain(value: Any, path: PropertyPath, secrets: set[PropertyPath]) -> Any:
    """A recorded value without the marks of secrets."""
    if isinstance(value, dict) and value.get(rpc._special_sig_key) == rpc._special_secret_sig:
        secrets.add(path)
        return _plain(value["value"], path, secrets)
    if isinstance(value, dict):
        return {key: _plain(inner, (*path, key), secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, (*path, index), secrets) for index, inner in enumerate(value)]
    return value


class _Loader(yaml.SafeLoader):
    """YAML with `!unknown` for what a preview cannot tell."""


_Loader.add_constructor("!unknown", lambda _loader, _node: UNKNOWN)


@dataclass(frozen=True)
class Example:
    """What keeps a rule, what breaks it, and what is said then."""

    passing: Stack
    failing: Stack
    says: str


def examples() -> dict[str, Example]:
    """The examples of every rule that has any, by its id. KeyError where one has not both."""
    written: dict[str, Any] = {}
    for file in sorted(FIXTURES.glob("*.yaml")):
        written |= yaml.load(file.read_text(), _Loader)  # noqa: S506 - a safe one
    return {
        rule: Example(
            Stack([_written(each) for each in example["passing"]], example.get("config") or {}),
            Stack([_written(each) for each in example["failing"]]),
            example["says"],
        )
        for rule, example in written.items()
    }


def _written(example: Mapping[str, Any]) -> Resource:
    """A resource in one of the short forms of the examples: an object, pods, a resource of AWS, a Helm release."""
    name = example.get("name", "example")
    if "pod" in example:
        token, properties = _workload(name, example)
    elif "object" in example:
        properties = {"metadata": {}, **example["object"]}
        version = properties["apiVersion"]
        token = f"kubernetes:{'core/v1' if version == 'v1' else version}:{properties['kind']}"
    elif "chart" in example:
        token, properties = "kubernetes:helm.sh/v3:Release", {"chart": example["chart"], **example.get("properties", {})}
    else:
        token, properties = f"aws:{example['aws']}", example["properties"]
    secrets = frozenset(tuple(path) for path in example.get("secrets", ()))
    urn = f"urn:pulumi:stack::project::{token}::{name}"
    return Resource(urn, token, name, properties, secrets, protect=example.get("protect", False))


def _workload(name: str, example: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    kind = example.get("kind", "Deployment")
    metadata = {"name": name, "namespace": "models", "annotations": example.get("annotations", {})}
    template = {"metadata": {"labels": example.get("labels", {})}, "spec": example["pod"]}
    spec: dict[str, Any] = {"replicas": example.get("replicas", 1), "template": template}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": {"template": template}}}
    if kind == "LeaderWorkerSet":
        spec = {"leaderWorkerTemplate": {"workerTemplate": template}}
    return f"kubernetes:apps/v1:{kind}", {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


def violations(rule: Rule, stack: Stack) -> list[Finding]:
    """What the rule objects to in a stack, by itself and over all of it."""
    return [*(finding for resource in stack.resources for finding in rule.on_resource(resource)), *rule.on_stack(stack)]
