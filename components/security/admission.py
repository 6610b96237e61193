"""Policies by which the API server refuses what those who deploy into a tenant's namespaces must not do. Pure.

RBAC knows kinds and verbs, not contents: who may make a Deployment may write into it the labels, accounts, Secrets and claims of
somebody else. And it knows no owner: the platform's objects stand in the same namespaces.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ..base import PACKAGE, PART_OF
from .admission_rules import Allowed, Reserved, content_rules, rule
from .admission_variables import listed, variables


def content_policy(groups: Iterable[str], allowed: Allowed) -> dict[str, Any]:
    """Spec of the policy about what is in an object."""
    rules = [{**rule(["*"], ["*"]), "operations": ["CREATE", "UPDATE", "DELETE"]}, rule([""], ["pods/ephemeralcontainers"])]
    checks = [{"expression": expression, "message": message} for expression, message in content_rules(allowed)]
    return _policy(groups, rules, checks)


def reservation_policy(groups: Iterable[str], reserved: Reserved) -> dict[str, Any]:
    """Spec of the policy about what an object points at; the API server evaluates it for each reserved object."""
    checks = [{"expression": reserved.expression, "message": reserved.message}]
    kind = {"apiVersion": reserved.api_version, "kind": reserved.kind}
    return _policy(groups, reserved.concerned, checks) | {"paramKind": kind}


def binding(policy: Any, namespaces: Iterable[str], *, reserved: bool = False) -> dict[str, Any]:
    """Spec that puts a policy (by its name) into force in these namespaces."""
    # The API server sets this label itself, and to nothing but the name.
    here = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": sorted(namespaces)}
    spec = {
        "policyName": policy,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchExpressions": [here]}},
    }
    if reserved:
        ours = {"matchLabels": {PART_OF: PACKAGE}}
        spec["paramRef"] = {"selector": ours, "parameterNotFoundAction": "Allow"}
    return spec


def _policy(groups: Iterable[str], rules: Iterable[Mapping[str, Any]], checks: list[dict[str, str]]) -> dict[str, Any]:
    """Fails closed: what cannot be evaluated is refused."""
    return {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [dict(each) for each in rules]},
        "matchConditions": [
            {"name": "deployer", "expression": f"request.userInfo.groups.exists(g, g in {listed(groups)})"},
        ],
        "variables": [{"name": name, "expression": expression} for name, expression in variables().items()],
        "validations": checks,
    }
