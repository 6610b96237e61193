"""The definitions of charts: the table, the cache, and a Go on PATH that pretends to be the module proxy's client."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
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
    for chart, installed in (
        ("cert-manager", versions.CERT_MANAGER),
        ("gateway-helm", versions.ENVOY_GATEWAY),
        ("base", versions.ISTIO),
    ):
        assert installed.removeprefix("v") in definitions.known(chart), chart
    assert definitions.known("lws")[versions.LWS].place is Place.DIRECTORY
    assert definitions.known("kuberay-operator")[versions.KUBERAY].place is Place.DIRECTORY


OF_RAY_CLUSTER = frozenset(
    {
        "autoscalerOptions.args",
        "autoscalerOptions.command",
        "gcsFaultToleranceOptions.backend",
        "gcsFaultToleranceOptions.storage",
        "headGroupSpec.ingressOptions",
        "headGroupSpec.template.spec.schedulingGroup",
        "headGroupSpec.template.spec.workloadRef",
        "historyServerOptions",
        "networkPolicy",
        "tlsOptions",
        "workerGroupSpecs.priority",
        "workerGroupSpecs.template.spec.schedulingGroup",
        "workerGroupSpecs.template.spec.workloadRef",
    }
)


@pytest.mark.parametrize(
    ("chart", "version", "file", "kind", "different"),
    [
        ("lws", versions.LWS, "lws-v{}.yaml", "LeaderWorkerSet", {"spec.replicas"}),  # only its bounds
        ("kuberay-operator", versions.KUBERAY, "kuberay-v{}.yaml", "RayCluster", {f"spec.{path}" for path in OF_RAY_CLUSTER}),
        (
            "kuberay-operator",
            versions.KUBERAY,
            "kuberay-v{}.yaml",
            "RayService",
            {"spec.suspend", *(f"spec.rayClusterConfig.{path}" for path in OF_RAY_CLUSTER)},
        ),
    ],
)
def test_what_is_different_in_the_version_before(chart: str, version: str, file: str, kind: str, different: set[str]) -> None:
    """All that a rehearsal gets wrong about fields, where the module of the chart's own version was not to be had."""
    if not (folder := os.environ.get("LLM_PLATFORM_CRDS")):
        pytest.skip("LLM_PLATFORM_CRDS names no directory with the definitions that projects released")
    try:
        ours = definitions.manifests(chart, definitions.known(chart)[version])
    except UnavailableError as error:
        pytest.skip(str(error))
    released = definitions.parse((Path(folder) / file.format(version)).read_text("utf-8"))
    old, new = (_fields(each, kind) for each in (ours, released))
    changed = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    assert {path for path in changed if not any(path.startswith(f"{other}.") for other in changed)} == different


_WINDOWS = "spec.advanced.horizontalPodAutoscalerConfig.behavior.{}.stabilizationWindowSeconds"


@pytest.mark.parametrize(
    ("chart", "file", "patched"),
    [
        ("kube-prometheus-stack", "prometheus-operator-v0.93.1.yaml", set()),
        ("cert-manager", "cert-manager-v1.21.1.yaml", set()),
        ("base", "istio-1.30.3.yaml", set()),
        ("gateway-api", "gateway-api-standard-v1.6.1.yaml", set()),
        ("gateway-api-inference-extension", "gateway-api-inference-extension-v1.6.0.yaml", set()),
        # KEDA's release patches what its module has (config/crd/patches): bounds, which autoscalers have anyway.
        (
            "keda",
            "keda-v2.20.2.yaml",
            {
                ("scaledobjects.keda.sh", _WINDOWS.format("scaleDown")),
                ("scaledobjects.keda.sh", _WINDOWS.format("scaleUp")),
                ("scaledjobs.keda.sh", "spec.jobTargetRef.template.metadata"),
                ("scaledjobs.keda.sh", "spec.triggers.metricType"),
            },
        ),
    ],
)
def test_definitions_are_those_released(chart: str, file: str, patched: set[tuple[str, str]]) -> None:
    if not (folder := os.environ.get("LLM_PLATFORM_CRDS")):
        pytest.skip("LLM_PLATFORM_CRDS names no directory with the definitions that projects released")
    [of] = definitions.known(chart).values()
    try:
        ours = definitions.manifests(chart, of)
    except UnavailableError as error:
        pytest.skip(str(error))
    released = definitions.parse((Path(folder) / file).read_text("utf-8"))
    old, new = _everything(ours), _everything(released)
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    assert {(name, path) for name, _, path in changed} == patched


def test_the_chart_of_envoy_gateway_knows_all_of_the_standard_channel() -> None:
    """It brings the experimental one: whatever the standard one takes, of the same type, and more."""
    try:
        standard, brought = (
            _everything(definitions.manifests(chart, of))
            for chart in ("gateway-api", "gateway-helm")
            for of in definitions.known(chart).values()
        )
    except UnavailableError as error:
        pytest.skip(str(error))
    assert {key: field.get("type") for key, field in standard.items()}.items() <= {
        key: field.get("type") for key, field in brought.items()
    }.items()
    assert {name.partition(".")[2] for name, _, _ in brought} == {
        "gateway.networking.k8s.io",
        "gateway.networking.x-k8s.io",
        "gateway.envoyproxy.io",
    }


def _everything(found: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What definitions say of every field, by definition, version and path."""
    return {
        (each["metadata"]["name"], of_version["name"], path): field
        for each in found
        for of_version in each["spec"]["versions"]
        for path, field in _walk(of_version["schema"]["openAPIV3Schema"], "")
    }


def _fields(found: Iterable[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """What the definition of a kind says of every field, by its path."""
    [spec] = [each["spec"] for each in found if each["spec"]["names"]["kind"] == kind]
    [schema] = [each["schema"]["openAPIV3Schema"] for each in spec["versions"] if each["name"] == "v1"]
    return dict(_walk(schema, ""))


def _walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    inner = schema.get("items", schema)
    for name, field in inner.get("properties", {}).items():
        here = f"{path}.{name}".removeprefix(".")
        yield here, {key: value for key, value in field.items() if key not in ("properties", "items", "required", "description")}
        yield from _walk(field, here)


def test_an_entry_without_a_sum_is_refused() -> None:
    with pytest.raises(ValidationError):
        Definitions.model_validate(ENTRY | {"h1": ""})
