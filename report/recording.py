"""What the program registers for a stack, without an engine, an account, a cluster or a host.

The program runs as in a preview: what only a creation tells is unknown. Neither AWS nor hosts are asked, so what depends on them
is what a first `pulumi up` would make.
"""

import asyncio
import json
import os
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import yaml
from pulumi.runtime import config as pulumi_config
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

import settings
from components.cluster.k3s.hosts import Host, Ssh
from components.cluster.k3s.observe import Observation
from components.inputs import InputError

ROOT = Path(__file__).parents[1]
ACCOUNT, REGION = "123456789012", "us-east-1"


@dataclass(frozen=True)
class Registration:
    """One resource as a program, or a preview, asks for it."""

    type: str
    name: str
    inputs: Mapping[str, Any]
    urn: str = ""
    parent: str = ""
    """URN of the component it belongs to, or of the stack."""
    dependencies: frozenset[str] = frozenset()
    """URNs of what has to be there first, its provider's among them."""


def recorded(stack: str, *, without: Sequence[str] = ()) -> list[Registration]:
    """The resources of a stack of this project, in the order they are asked for; `without` sections of its file.

    Raises InputError, one sentence a line, for settings that cannot work.
    """
    file = settings.stack_file(stack)
    encrypted = settings.read_stack_file(ROOT / file, file)
    config = _without_secrets(encrypted)
    secrets = [key for key in config if config[key] != encrypted[key]]
    config = {key: value for key, value in config.items() if key.removeprefix(f"{settings.PROJECT}:") not in without}
    found: list[Registration] = []
    with TemporaryDirectory() as directory, _nobody_asked(config, Path(directory)):
        flat = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
        run(_program, _Monitor(found), stack=stack, preview=True, config=flat, secrets=secrets)
    return found


def run(
    program: Callable[[], None],
    monitor: MockMonitor,
    *,
    stack: str,
    preview: bool,
    config: Mapping[str, str],
    secrets: Sequence[str] = (),
) -> None:
    """Run a program with `monitor` in the engine's place, anew on an event loop of its own; `secrets` are keys of `config`."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        set_mocks(monitor.mocks, project=settings.PROJECT, stack=stack, preview=preview, monitor=monitor)
        pulumi_config.set_all_config(dict(config), list(secrets))
        _sync_await(run_pulumi_func(program))
    finally:
        pulumi_config.set_all_config({}, [])
        _forget(loop)
        loop.close()
        asyncio.set_event_loop(None)


def _forget(loop: asyncio.AbstractEventLoop) -> None:
    """End what a program that failed left under way: the SDK keeps it, and the next program would wait for it for ever."""
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    SETTINGS.rpc_manager.clear()
    SETTINGS.outputs.clear()


def _program() -> None:
    runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")


def answer(token: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """What the function of a provider answers in an account that offers everything everywhere."""
    match token:
        case "aws:index/getCallerIdentity:getCallerIdentity":
            return {"accountId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:user/nobody", "userId": "nobody"}
        case "aws:index/getPartition:getPartition":
            return {"partition": "aws", "dnsSuffix": "amazonaws.com"}
        case "aws:index/getRegion:getRegion":
            return {"region": REGION, "endpoint": f"ec2.{REGION}.amazonaws.com"}
        case "aws:servicequotas/getServiceQuota:getServiceQuota":
            return {"value": 1e6}
        case "aws:ssm/getParameter:getParameter":
            # The release is the last but one part of the parameter's name; AWS adds the build.
            return {"value": args["name"].split("/")[-2]}
        case "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings":
            (types,) = (each["values"] for each in args["filters"] if each["name"] == "instance-type")
            pairs = [(name, f"{REGION}{zone}") for name in types for zone in "abcdef"]
            return {"instanceTypes": [name for name, _ in pairs], "locations": [zone for _, zone in pairs]}
    raise NotImplementedError(f"nobody knows what {token} answers; say so in report/recording.py")


class _Answers(Mocks):
    """As if nothing were there yet, in an account that offers everything."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = dict(args.inputs)
        if args.typ.startswith("kubernetes:"):  # the provider names objects in a preview already
            state["metadata"] = {"name": args.name, "namespace": "default"} | (state.get("metadata") or {})
        return None, state

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        return answer(args.token, args.args), []


class _Monitor(MockMonitor):
    def __init__(self, found: list[Registration]) -> None:
        super().__init__(_Answers())
        self._found = found

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        provider = {request.provider.rpartition("::")[0]} - {""}
        self._found.append(
            Registration(
                type=request.type,
                name=request.name,
                inputs=rpc.deserialize_properties(request.object, keep_unknowns=True),
                urn=response.urn,
                parent=request.parent,
                dependencies=frozenset(request.dependencies) | provider,
            )
        )
        return response


@contextmanager
def _nobody_asked(config: dict[str, Any], directory: Path) -> Iterator[None]:
    """Files the stack names, as far as they are this machine's, and hosts that look as if they were not joined yet."""
    cluster = config.get(f"{settings.PROJECT}:cluster") or {}
    if not isinstance(cluster, dict):
        yield
        return
    any_file = directory / "file"
    any_file.write_text("unread")
    if isinstance(ssh := cluster.get("ssh"), dict) and "privateKeyFile" in ssh:
        ssh["privateKeyFile"] = str(any_file)
    for registry in (cluster.get("registries") or {}).values():
        if isinstance(registry, dict) and "passwordFile" in registry:
            registry["passwordFile"] = str(any_file)
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(_kubeconfig(str(cluster.get("context")))))
    with patch.dict(os.environ, {"KUBECONFIG": str(kubeconfig)}), patch("foundation.k3s.observe", _unseen):
        yield


async def _unseen(hosts: Mapping[str, Host], _ssh: Ssh, _key: str | None) -> dict[str, Observation]:
    return {name: Observation() for name in hosts}


def _kubeconfig(context: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": {"server": "https://127.0.0.1:6443"}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "users": [{"name": context, "user": {"token": "unread"}}],
    }


def _without_secrets(value: Any) -> Any:
    """Configuration without what only its passphrase or key opens."""
    if isinstance(value, dict):
        return "unread" if set(value) == {"secure"} else {key: _without_secrets(inner) for key, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


def previewed(text: str, where: str) -> list[Registration]:
    """The resources in what `pulumi preview --json --show-sames` printed; `where` names it in messages.

    Raises InputError where it is something else, or leaves out what does not change.
    """
    try:
        digest = json.loads(text)
        steps = [step for step in digest["steps"] if "newState" in step]
        same = sum(step["op"] == "same" for step in steps)
        unlisted = digest.get("changeSummary", {}).get("same", 0) - same
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{where}: this is not a preview; give what `pulumi preview --json --show-sames` prints") from None
    if unlisted > 0:
        raise InputError(f"{where}: the preview leaves out {unlisted} resources that stay as they are; make it with --show-sames")
    states = [step["newState"] for step in steps]
    return [Registration(each["type"], each["urn"].rpartition("::")[2], each.get("inputs") or {}) for each in states]
