"""Runs a program without an engine and records every call it makes to one.

Wraps the SDK's mock monitor, which by itself forgets who registered outputs, with which options, and in which order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor, MockResourceArgs, Mocks

from report.recording import ACCOUNT, REGION, answer, run

AUTONAME = "-0a1b2c3d"


@dataclass(frozen=True)
class Registration:
    """One resource as the program asked for it."""

    urn: str
    type: str
    name: str
    custom: bool
    parent: str
    provider: str
    inputs: dict[str, Any]
    dependencies: frozenset[str] = frozenset()
    """URNs of what has to be there first."""
    protect: bool = False
    retain: bool = False
    ignored: frozenset[str] = frozenset()
    """Inputs whose changes count for nothing."""
    depends: dict[str, frozenset[str]] = field(default_factory=dict)
    """By input: URNs of what its value comes from."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """What the provider told of it, its `id` too."""
    aliases: tuple[Any, ...] = ()
    """What it was called before, as the engine is told (pulumi/pulumi: proto/pulumi/alias.proto)."""

    @property
    def on_aws(self) -> bool:
        return self.type.startswith("aws:")

    @property
    def on_hosts(self) -> bool:
        return self.type.startswith("command:")

    @property
    def on_kubernetes(self) -> bool:
        return self.type.startswith("kubernetes:")


@dataclass
class Recording:
    """Everything a program registered, in order."""

    resources: list[Registration] = field(default_factory=list)
    outputs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    """("resource", parent URN) and ("outputs", URN) in the order they came."""

    def of(self, token: str) -> list[Registration]:
        return [resource for resource in self.resources if resource.type == token]

    def one(self, token: str) -> Registration:
        (resource,) = self.of(token)
        return resource


_COMPUTED: dict[str, tuple[str, ...]] = {
    "aws:ec2/eip:Eip": ("allocationId",),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("prefixListId",),
    "aws:eks/cluster:Cluster": ("createdAt", "endpoint"),
    "aws:eks/nodeGroup:NodeGroup": ("nodeGroupName",),
    "aws:fsx/lustreFileSystem:LustreFileSystem": ("dnsName", "mountName"),
    "aws:kms/key:Key": ("keyId",),
    "aws:s3/bucket:Bucket": ("bucket",),
    "aws:sqs/queue:Queue": ("url",),
}
"""Properties of AWS resources beside ARN and name that only their creation tells, by token."""


_ARNS = {"aws:cloudwatch/logGroup:LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"}
"""How ARNs begin that policies take apart, by token; the others lack the type of the resource."""


_COMPUTED_OBJECTS: dict[str, dict[str, Any]] = {
    "aws:ec2/launchTemplate:LaunchTemplate": {"latestVersion": 1},
    "aws:ec2/vpcEndpoint:VpcEndpoint": {"cidrBlocks": ["52.216.0.0/15", "3.5.0.0/19"]},
    "aws:eks/cluster:Cluster": {
        "certificateAuthority": {"data": "Q0E="},
        "identities": [{"oidcs": [{"issuer": f"https://oidc.eks.{REGION}.amazonaws.com/id/EXAMPLE"}]}],
    },
}
"""Those that are no text, by token."""


_PRINTED = {
    "file=/etc/rancher/k3s/k3s.yaml": yaml.safe_dump(
        {
            "clusters": [
                {"name": "default", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Q0E="}}
            ],
            "users": [{"name": "default", "user": {"client-certificate-data": "Y2VydA==", "client-key-data": "a2V5"}}],
        }
    ),
    "head -n 1 $files/node-token": "K10authority::server:first\nK10authority::node:second",
}
"""What scripts on hosts print, by a part of them."""


class _Cluster(Mocks):
    """Answers as the providers do: the inputs, a name where none was given, a namespace or an ARN."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = dict(args.inputs)
        if args.typ.startswith("kubernetes:"):
            state["metadata"] = {"name": f"{args.name}{AUTONAME}", "namespace": "default"} | (state.get("metadata") or {})
        if args.typ.startswith("aws:"):
            name = f"{args.name}{AUTONAME}"
            service = args.typ.split(":")[1].partition("/")[0]
            state = {
                "arn": _ARNS.get(args.typ, f"arn:aws:{service}:{REGION}:{ACCOUNT}:") + name,
                "name": name,
                **{key: f"{args.name}-{key}" for key in _COMPUTED.get(args.typ, ())},
                **_COMPUTED_OBJECTS.get(args.typ, {}),
                **state,
            }
        if args.typ == "command:remote:Command":
            state["stdout"] = next((text for part, text in _PRINTED.items() if part in str(state.get("stdin"))), "done")
        return f"{args.name}-id", state

    def call(self, args: Any) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        if args.token == "aws:ssm/getParameter:getParameter":
            return {"value": "1.66.0-5d9ac849"}, []
        return answer(args.token, args.args), []


class _Monitor(MockMonitor):
    def __init__(self, recording: Recording) -> None:
        super().__init__(_Cluster())
        self._recording = recording

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            self._recording.resources.append(
                Registration(
                    urn=response.urn,
                    type=request.type,
                    name=request.name,
                    custom=request.custom,
                    parent=request.parent,
                    provider=request.provider,
                    inputs=rpc.deserialize_properties(request.object, keep_unknowns=True),
                    dependencies=frozenset(request.dependencies),
                    protect=request.protect,
                    retain=request.retainOnDelete,
                    ignored=frozenset(request.ignoreChanges),
                    depends={key: frozenset(value.urns) for key, value in request.propertyDependencies.items()},
                    outputs={"id": response.id, **rpc.deserialize_properties(response.object, keep_unknowns=True)},
                    aliases=tuple(request.aliases),
                )
            )
            self._recording.events.append(("resource", request.parent))
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        self._recording.outputs.append((request.urn, rpc.deserialize_properties(request.outputs)))
        self._recording.events.append(("outputs", request.urn))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def record(
    program: Callable[[], None], *, stack: str = "test", preview: bool = False, config: Mapping[str, str] | None = None
) -> Recording:
    """What `program` registers. It runs anew, on an event loop of its own."""
    recording = Recording()
    run(program, _Monitor(recording), stack=stack, preview=preview, config=config or {})
    return recording
