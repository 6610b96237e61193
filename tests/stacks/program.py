"""This project's program, run without an engine on a committed stack file."""

import json
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from components.cluster.k3s.hosts import Host, Ssh
from components.cluster.k3s.observe import Observation
from tests.contracts.examples import KUBECONFIG
from tests.recorder import Recording, record

STACKS = ["local", "models", "migration", "onprem", "dev", "staging", "prod"]

Edit = Callable[[dict[str, Any]], object]


def build(
    stack: str,
    root: Path,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    preview: bool = False,
    edit: Edit = lambda _config: None,
) -> Recording:
    """What the program registers for that stack after `edit` changed its sections. Files it needs are made in `directory`."""
    config: dict[str, Any] = yaml.safe_load((root / settings.stack_file(stack)).read_text())["config"]
    edit(config)
    cluster = config["llm-platform:cluster"]
    if cluster["kind"] == "existing":
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG.replace("here", cluster["context"]))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    if cluster["kind"] == "k3s":
        (directory / "key").write_text("a private key")
        cluster["ssh"]["privateKeyFile"] = str(directory / "key")
        monkeypatch.setattr("foundation.k3s.observe", _joined_hosts)
    flat = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}

    def program() -> None:
        runpy.run_path(str(root / "__main__.py"), run_name="__main__")

    return record(program, stack=stack, preview=preview, config=flat)


async def _joined_hosts(hosts: Mapping[str, Host], _ssh: Ssh, _key: str | None) -> dict[str, Observation]:
    """Hosts that were made nodes once, since what is new would have another generation in each recording."""
    return {name: Observation(generation="founder-0" if name == "rack-1" else "first", k3s="v1.36.3+k3s1") for name in hosts}


def objects(recording: Recording) -> str:
    """The Kubernetes objects of a recording as YAML documents, in a stable order."""
    resources = sorted(recording.resources, key=lambda resource: resource.urn)
    return yaml.safe_dump_all((whole(r.inputs) for r in resources if r.on_kubernetes and "kind" in r.inputs), width=130)


def whole(value: Any) -> Any:
    """Whole numbers as such: the protocol knows only floating-point ones."""
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
