"""A team that needs an address and a key alone reads the outputs of a platform's stack."""

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from sandbox.toolchain import ensure
from tests.composition.consumer import Consumer
from tests.conftest import ROOT
from tests.rehearsal.kubernetes_support import Api
from tests.stacks.program import build

pytestmark = pytest.mark.rehearsal

KEY = "key-of-the-shop-d41d8cd9"


def _exported(output: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An output of this project's program for the stack `local`."""
    found: dict[str, Any] = {}
    with monkeypatch.context() as patched:
        patched.setattr(
            pulumi, "export", lambda name, value: pulumi.Output.from_input(value).apply(lambda v: found.update({name: v}))
        )
        build("local", ROOT, directory, monkeypatch)
    exported: dict[str, Any] = found[output]
    return exported


def test_what_a_platform_exports_is_enough(
    consumer_python: Path, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = _exported("models", tmp_path, monkeypatch)
    platform = tmp_path / "platform"
    platform.mkdir()
    (platform / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "llm-platform", "runtime": "python"}))
    (platform / "__main__.py").write_text(f"import json, pulumi\npulumi.export('models', json.loads({json.dumps(models)!r}))\n")
    script = str(Path(__file__).with_name("inline.py"))

    def team(project: Path) -> Consumer:
        command = [str(consumer_python), script, str(project)]
        return Consumer(command, tmp_path, ensure(("pulumi",))["pulumi"], {"PYTHONPATH": ""})

    (made,) = team(platform).run(("up", {}))
    assert made.succeeded, made.errors

    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    given = {
        "kubeconfig": api.kubeconfig.read_text(),
        "key": KEY,
        "platform": "organization/llm-platform/dev",
        "model": "qwen2-5-7b",
    }
    shop = team(ROOT / "examples/client")
    first, second, refused = shop.run(("up", given), ("up", {}), ("preview", {"model": "llama"}))

    assert first.succeeded, first.errors
    (server,) = api.call("GET", "/apis/apps/v1/namespaces/shop/deployments")["items"]
    (source,) = server["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    variables = api.call("GET", f"/api/v1/namespaces/shop/configmaps/{source['configMapRef']['name']}")["data"]
    assert variables["OPENAI_BASE_URL"] == models["qwen2-5-7b"]["url"] == "http://qwen2-5-7b.models.svc:8000/v1"
    assert variables["OPENAI_MODEL"] == "qwen2-5-7b"
    assert Path(variables["OPENAI_API_KEY_FILE"]).name == "key"
    state = (tmp_path / "state/.pulumi/stacks/team-shop/dev.json").read_text()
    assert "http://qwen2-5-7b.models.svc:8000/v1" in state
    assert KEY not in state

    assert second.succeeded
    assert second.operations == {}

    assert not refused.succeeded
    assert refused.errors[0] == "organization/llm-platform/dev serves no model llama; it serves qwen2-5-7b"

    (gone,) = shop.run(("destroy", {}))
    assert gone.succeeded, gone.errors
