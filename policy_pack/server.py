"""The pack as the engine calls it: `pulumirpc.Analyzer` over gRPC.

It is served directly and not by Pulumi's SDK for policies, which hands rules neither what is secret nor the stack's configuration
(pulumi-policy 1.21.0), and decodes each resource once for every rule.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import replace
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime import proto
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import analyzer_pb2_grpc

from components.inputs import InputError, validate
from policy_pack.choices import SECTION, Policies
from policy_pack.resources import Resource, Stack
from policy_pack.rule import Finding, Level, Rule
from policy_pack.rules import RULES
from policy_pack.values import decode, texts

NAME, VERSION = "llm-platform", "0.1.0"

_PARENT_POLL_S = 0.5
_SHORTEST_HIDDEN = 4
"""Characters of a secret that is blanked out of sentences; hiding shorter ones would hide ordinary words."""

_LEVELS = {Level.ADVISORY: proto.ADVISORY, Level.MANDATORY: proto.MANDATORY, Level.DISABLED: proto.DISABLED}
_SEVERITIES = {name: getattr(proto, f"POLICY_SEVERITY_{name.upper()}") for name in ("low", "medium", "high", "critical")}


class Analyzer(analyzer_pb2_grpc.AnalyzerServicer):
    """The rules, with the levels of one stack."""

    def __init__(self) -> None:
        self._policies = Policies()
        self._levels: dict[str, Level] = {}
        self._config: dict[str, Any] = {}
        self._asked_for: dict[str, Resource] = {}
        """What the program asked for in this run, by URN."""

    def Handshake(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return proto.AnalyzerHandshakeResponse()

    def ConfigureStack(self, request: Any, context: Any) -> Any:  # noqa: N802
        secret = set(request.config_secret_keys)
        self._config = {key: _plain(value) for key, value in request.config.items() if key not in secret}
        where = f"the stack {request.stack}: {SECTION}"
        try:
            self._policies = validate(Policies, self._config.get(SECTION) or {}, where)
        except InputError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return proto.AnalyzerStackConfigureResponse()

    def Configure(self, request: Any, _context: Any) -> Any:  # noqa: N802
        names = {number: level for level, number in _LEVELS.items()}
        # A rule that could repair would be asked for that by REMEDIATE; these only judge.
        self._levels = {
            rule: names.get(chosen.enforcementLevel, Level.MANDATORY) for rule, chosen in request.policyConfig.items()
        }
        return empty_pb2.Empty()

    def GetAnalyzerInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return proto.AnalyzerInfo(
            name=NAME, displayName=NAME, version=VERSION, supportsConfig=True, policies=[self._info(rule) for rule in RULES]
        )

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return proto.PluginInfo(version=VERSION)

    def Analyze(self, request: Any, _context: Any) -> Any:  # noqa: N802
        resource = self._asked_for[request.urn] = _resource(request)
        return self._answer(resource, lambda rule: rule.on_resource(resource))

    def AnalyzeStack(self, request: Any, _context: Any) -> Any:  # noqa: N802
        # The engine's order is another one every time.
        resources = sorted(map(self._answered, request.resources), key=lambda resource: resource.urn)
        stack = Stack(resources, self._config)
        return self._answer(resources[0], lambda rule: rule.on_stack(stack)) if resources else proto.AnalyzeResponse()

    def _answered(self, message: Any) -> Resource:
        """A resource as its provider answered; as the program asked for it where the provider cannot answer yet.

        That one needs a cluster which is not there: the engine then hands over no properties at all.
        """
        answer = _resource(message)
        found = answer if answer.properties else self._asked_for.get(answer.urn, answer)
        return replace(found, origins={key: frozenset(said.urns) for key, said in message.propertyDependencies.items()})

    def Remediate(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return proto.RemediateResponse()

    def Cancel(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def _enabled(self) -> list[Rule]:
        return [rule for rule in RULES if self._level(rule) is not Level.DISABLED]

    def _level(self, rule: Rule) -> Level:
        return self._levels.get(rule.id, self._policies.level(rule))

    def _info(self, rule: Rule) -> Any:
        return proto.PolicyInfo(
            name=rule.id,
            displayName=rule.title,
            description=rule.title,
            message=rule.reason,
            enforcementLevel=_LEVELS[self._policies.level(rule)],
            policy_type=proto.POLICY_TYPE_RESOURCE if rule.resource else proto.POLICY_TYPE_STACK,
            severity=_SEVERITIES[rule.severity],
            remediation_steps=rule.remedy,
        )

    def _answer(self, about: Resource, check: Callable[[Rule], list[Finding]]) -> Any:
        found = []
        for rule in self._enabled():
            try:
                found += [self._diagnostic(rule, finding, self._level(rule)) for finding in check(rule)]
            except Exception as error:
                # Properties no provider would take, e.g. a text for a list: the provider says so better than a pack that ends.
                failed = Finding(about, f"the rule could not be asked ({type(error).__name__})")
                found.append(self._diagnostic(rule, failed, Level.ADVISORY))
        return proto.AnalyzeResponse(diagnostics=found)

    def _diagnostic(self, rule: Rule, finding: Finding, level: Level) -> Any:
        return proto.AnalyzeDiagnostic(
            policyName=rule.id,
            policyPackName=NAME,
            policyPackVersion=VERSION,
            description=rule.title,
            message=message(rule, finding, "" if level is Level.MANDATORY else self._policies.exceptions.get(rule.id, "")),
            enforcementLevel=_LEVELS[level],
            severity=_SEVERITIES[rule.severity],
            urn=finding.resource.urn,
        )


def message(rule: Rule, finding: Finding, excepted: str = "") -> str:
    """What has to hold, and below it what is wrong and what to do, without the secrets of the resource.

    `excepted` is why it may be so here.
    """
    text = f"{finding.sentence}; {rule.remedy}"
    if excepted:
        text += f" (excepted here: {excepted})"
    hidden = {
        value
        for path, value in texts(finding.resource.properties)
        if len(value) >= _SHORTEST_HIDDEN and finding.resource.is_secret(path)
    }
    for value in sorted(hidden, key=len, reverse=True):
        text = text.replace(value, "[secret]")
    return f"{rule.title}\n{text}"


def serve() -> None:
    """Answer the engine until it ends this process, or is gone."""
    arguments = argparse.ArgumentParser(description="Pulumi policy pack; started by the Pulumi engine.")
    arguments.add_argument("engine", help="address of the engine")
    arguments.parse_known_args()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=_GRPC_CHANNEL_OPTIONS)
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Analyzer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    parent = os.getppid()
    try:
        # A killed engine says nothing: its children are handed to another parent.
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_S)
    except KeyboardInterrupt:  # from the engine at its end, or by Ctrl-C, which reaches the whole group
        pass
    server.stop(grace=None)


def _resource(message: Any) -> Resource:
    properties, secrets = decode(message.properties)
    return Resource(message.urn, message.type, message.name, properties, secrets, protect=message.options.protect)


def _plain(value: str) -> object:
    """A configuration value as the stack file has it: structured ones come as JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value
