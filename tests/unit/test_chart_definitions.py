"""The definitions of charts: the table, the cache, and a Go on PATH that pretends to be the module proxy's client."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from components import versions
from sandbox.charts import definitions
from sandbox.charts.definitions import Definitions, Place
from sandbox.errors import SandboxError
from sandbox.toolchain.tools import UnavailableError

H1 = f"h1:{'A' * 43}="
ENTRY: dict[str, Any] = {"module": "example.com/charts", "version": "v1.2.3", "h1": H1, "files": "crds/*.yaml"}
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  creationTimestamp: null
  name: things.example.com
spec: {}
status: {conditions: []}
---
kind: ConfigMap
metadata: {name: not-a-definition}
"""

Go = Callable[[dict[str, Any]], Path]


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Puts a go on PATH that says this of every module, and counts how often it was asked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))

    def make(told: dict[str, Any]) -> Path:
        program, calls = tmp_path / "path" / "go", tmp_path / "calls"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f"#!{sys.executable}\nimport os, sys\n"
            "if sys.argv[1:] == ['version']:\n    print('go version go1.26.9 linux/amd64'); sys.exit()\n"
            f"open({str(calls)!r}, 'a').write(' '.join(sys.argv[1:]) + ' ' + os.environ['GOTOOLCHAIN'] + chr(10))\n"
            f"print({json.dumps(json.dumps(told))}); sys.exit({1 if 'Error' in told else 0})\n"
        )
        program.chmod(0o755)
        return calls

    return make


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    (folder / "crds").mkdir(parents=True)
    (folder / "crds" / "things.yaml").write_text(CRD)
    (folder / "crds" / "README.md").write_text("no definition")
    return folder


def test_definitions_are_fetched_once(go: Go, module: Path) -> None:
    calls = go({"Dir": str(module), "Sum": H1})
    of = Definitions.model_validate(ENTRY)
    for _ in range(2):
        [manifest] = definitions.manifests("things", of)
        assert manifest["metadata"] == {"name": "things.example.com"}
        assert "status" not in manifest
    assert calls.read_text().splitlines() == ["mod download -json example.com/charts@v1.2.3 local"]


def test_another_module_than_recorded_is_refused(go: Go, module: Path) -> None:
    go({"Dir": str(module), "Sum": f"h1:{'B' * 43}="})
    with pytest.raises(SandboxError, match="the module proxy serves another"):
        definitions.manifests("things", Definitions.model_validate(ENTRY))


def test_so_is_one_that_the_checksum_database_does_not_know(go: Go) -> None:
    go({"Error": "verifying module: checksum mismatch\n\tSECURITY ERROR"})
    with pytest.raises(SandboxError, match="use another proxy"):
        definitions.manifests("things", Definitions.model_validate(ENTRY))


def test_without_a_proxy_they_are_unavailable_and_asked_for_again(go: Go, module: Path) -> None:
    go({"Error": "dial tcp: no such host"})
    of = Definitions.model_validate(ENTRY)
    with pytest.raises(UnavailableError, match="go says dial tcp: no such host"):
        definitions.manifests("things", of)
    go({"Dir": str(module), "Sum": H1})
    assert len(definitions.manifests("things", of)) == 1


def test_a_pattern_that_matches_nothing_is_a_fault_of_the_table(go: Go, module: Path) -> None:
    go({"Dir": str(module), "Sum": H1})
    with pytest.raises(SandboxError, match="has no file charts/"):
        definitions.manifests("things", Definitions.model_validate(ENTRY | {"files": "charts/*.yaml"}))


def test_an_entry_that_changes_is_fetched_anew(go: Go, module: Path) -> None:
    calls = go({"Dir": str(module), "Sum": H1})
    definitions.manifests("things", Definitions.model_validate(ENTRY))
    definitions.manifests("things", Definitions.model_validate(ENTRY | {"files": "crds/t*.yaml"}))
    assert len(calls.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("entry", "values", "expected"),
    [
        ({}, {}, True),
        ({"switch": "crds.install"}, {}, True),
        ({"switch": "crds.install"}, {"crds": {"install": False}}, False),
        ({"switch": "crds.enabled", "switched_on": False}, {"crds": None}, False),
        ({"switch": "crds.enabled", "switched_on": False}, {"crds": {"enabled": True}}, True),
    ],
)
def test_values_decide_whether_definitions_come(entry: dict[str, Any], values: dict[str, Any], expected: bool) -> None:
    assert Definitions.model_validate(ENTRY | entry).wanted(values) is expected


def test_an_equals_sign_in_an_enumeration_is_a_text() -> None:
    text = "kind: CustomResourceDefinition\nmetadata: {name: a}\nspec:\n  enum:\n  - =\n  - '!='\n"
    [manifest] = definitions.parse(text)
    assert manifest["spec"]["enum"] == ["=", "!="]


def test_the_table_has_the_charts_of_the_platform() -> None:
    assert definitions.known("karpenter-crd")[versions.KARPENTER].place is Place.TEMPLATE
    assert definitions.known("never-heard-of") == {}
    for chart in ("cert-manager", "keda", "kube-prometheus-stack", "kueue", "node-feature-discovery", "sealed-secrets", "base"):
        assert definitions.known(chart), chart


def test_an_entry_without_a_sum_is_refused() -> None:
    with pytest.raises(ValidationError):
        Definitions.model_validate(ENTRY | {"h1": ""})
