"""The emulated Kubernetes provider where things go wrong, through the real engine against a real API server."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pulumi
import pulumi_kubernetes as k8s
import pytest

from sandbox.control_plane import ControlPlane
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest, deployment_spec, options, pod

pytestmark = pytest.mark.rehearsal

Declare = Callable[[pulumi.ProviderResource], Any]
SLOW = pulumi.CustomTimeouts(create="4s", update="4s", delete="3s")
COLLECTED_LATE = pulumi.CustomTimeouts(create="4s", update="4s", delete="90s")


class Place:
    """A namespace and a stack of one test."""

    def __init__(self, name: str, stack: StackUnderTest, plane: ControlPlane, api: Api) -> None:
        self.name = name
        self.stack = stack
        self.api = api
        self.kubeconfig = plane.kubeconfig.read_text()

    def program(self, declare: Declare, **settings: Any) -> Program:
        def run() -> None:
            declare(k8s.Provider("cluster", **{"kubeconfig": self.kubeconfig, "cluster_identifier": "test", **settings}))

        return run

    def objects(self, plural: str, group: str = "api/v1") -> list[dict[str, Any]]:
        return list(self.api.call("GET", f"/{group}/namespaces/{self.name}/{plural}")["items"])


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    pulumi_bin: Path,
    control_plane: ControlPlane,
    api: Api,
) -> Iterator[Place]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:50].rstrip("-")
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    stack = StackUnderTest(tmp_path, pulumi_bin, "test")
    yield Place(name, stack, control_plane, api)
    stack.assert_no_error_escaped()


def one_sentence(run: Run, *parts: str) -> None:
    """Some error says all this, and none is a traceback."""
    assert not run.succeeded, run.output
    assert any(all(part in error for part in parts) for error in run.errors), run.errors
    assert "Traceback" not in run.output
    assert ".py" not in run.output


def too_big(name: str, cpu: str = "1000") -> dict[str, Any]:
    spec = deployment_spec(name)
    spec["template"]["spec"] = pod(resources={"requests": {"cpu": cpu}})
    return spec


def test_a_deployment_without_room_says_why_and_is_resumed(place: Place) -> None:
    def declare(cpu: str) -> Declare:
        return lambda provider: k8s.apps.v1.Deployment(
            "big", metadata={"namespace": place.name}, spec=too_big("big", cpu), opts=options(provider, custom_timeouts=SLOW)
        )

    failed = place.stack.up(place.program(declare("1000")))
    one_sentence(failed, "0 of 1 replicas ready after 4 s", "is Pending", "Insufficient cpu")
    recorded = place.stack.state()["big"]
    assert recorded["id"].startswith(f"{place.name}/big-")
    assert "Insufficient cpu" in recorded["initErrors"][0]

    resumed = place.stack.up(place.program(declare("1")))
    assert resumed.succeeded, resumed.errors
    assert resumed.operations["big"] == ["update"]
    assert [item["metadata"]["name"] for item in place.objects("deployments", "apis/apps/v1")] == [recorded["id"].split("/")[1]]
    assert "initErrors" not in place.stack.state()["big"]


def test_pod_security_refusal_is_the_reason(place: Place) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    place.api.call("PATCH", f"/api/v1/namespaces/{place.name}", {"metadata": {"labels": labels}})
    run = place.stack.up(
        place.program(
            lambda provider: k8s.apps.v1.Deployment(
                "plain",
                metadata={"namespace": place.name},
                spec=deployment_spec("plain"),
                opts=options(provider, custom_timeouts=SLOW),
            )
        )
    )
    one_sentence(run, "0 of 1 replicas ready", 'violates PodSecurity "restricted', "runAsNonRoot")


def test_a_failed_job_ends_the_wait_at_once(place: Place) -> None:
    spec = {
        "activeDeadlineSeconds": 1,
        "template": {"spec": {**pod(resources={"requests": {"cpu": "1000"}}), "restartPolicy": "Never"}},
    }
    began = time.monotonic()
    run = place.stack.up(
        place.program(
            lambda provider: k8s.batch.v1.Job("late", metadata={"namespace": place.name}, spec=spec, opts=options(provider))
        )
    )
    one_sentence(run, "Job", "failed: DeadlineExceeded")
    assert time.monotonic() - began < 60, "the default limit is 10 minutes"


def test_what_is_wrong_with_the_inputs_is_said_with_the_field(place: Place) -> None:
    def declare(spec: dict[str, Any], namespace: str = place.name) -> Program:
        return place.program(
            lambda provider: k8s.apps.v1.Deployment("d", metadata={"namespace": namespace}, spec=spec, opts=options(provider))
        )

    misspelt = deployment_spec("misspelt")
    misspelt["template"]["spec"]["containers"][0]["imagePullPolcy"] = "Always"
    run = place.stack.preview(declare(misspelt))
    one_sentence(run, "has a problem: spec.template.spec.containers[0].imagePullPolcy: unknown field")
    run = place.stack.preview(declare(deployment_spec("text", replicas="many")))
    one_sentence(run, "has a problem: spec.replicas: must be a whole number, not a string")
    # A namespace that is still to be made does not stop the validation.
    mismatch = deployment_spec("a", selector={"matchLabels": {"app": "b"}})
    run = place.stack.preview(declare(mismatch, "not-made-yet"))
    one_sentence(run, "spec.template.metadata.labels", "`selector` does not match template `labels`")
    assert place.objects("deployments", "apis/apps/v1") == []


def test_an_existing_object_is_not_adopted_unless_asked(place: Place) -> None:
    place.api.call("POST", f"/api/v1/namespaces/{place.name}/configmaps", {"metadata": {"name": "theirs"}, "data": {"a": "1"}})

    def declare(provider: pulumi.ProviderResource) -> None:
        metadata = {"namespace": place.name, "name": "theirs"}
        k8s.core.v1.ConfigMap("theirs", metadata=metadata, data={"b": "2"}, opts=options(provider))

    one_sentence(place.stack.up(place.program(declare)), "exists already", "upsertExistingObjects")
    adopted = place.stack.up(place.program(declare, upsert_existing_objects=True))
    assert adopted.succeeded, adopted.errors
    assert place.api.call("GET", f"/api/v1/namespaces/{place.name}/configmaps/theirs")["data"] == {"a": "1", "b": "2"}


def test_a_conflict_names_the_other_manager(place: Place) -> None:
    def declare(value: str, **annotations: str) -> Declare:
        metadata = {"namespace": place.name, "name": "shared", "labels": {"owner": value}, "annotations": annotations}
        return lambda provider: k8s.core.v1.ServiceAccount("shared", metadata=metadata, opts=options(provider))

    assert place.stack.up(place.program(declare("first"))).succeeded
    path = f"/api/v1/namespaces/{place.name}/serviceaccounts/shared"
    place.api.call("PATCH", path, {"metadata": {"labels": {"owner": "someone"}}}, fieldManager="someone-else")
    refused = place.stack.up(place.program(declare("second")))
    one_sentence(refused, "metadata.labels.owner is managed by someone-else", "pulumi.com/patchForce")
    forced = place.stack.up(place.program(declare("second", **{"pulumi.com/patchForce": "true"})))
    assert forced.succeeded, forced.errors
    assert place.api.call("GET", path)["metadata"]["labels"]["owner"] == "second"


def test_import_takes_over_what_is_there(place: Place) -> None:
    spec = {"selector": {"app": "x"}, "ports": [{"port": 80}], "type": "ClusterIP", "publishNotReadyAddresses": True}
    body = {"metadata": {"name": "found"}, "spec": {**spec, "clusterIP": "None"}}
    place.api.call("POST", f"/api/v1/namespaces/{place.name}/services", body)

    def declare(imported: str | None) -> Declare:
        return lambda provider: k8s.core.v1.Service(
            "found",
            metadata={"namespace": place.name, "name": "found"},
            spec={**spec, "clusterIP": "None"},
            opts=options(provider, import_=imported),
        )

    run = place.stack.up(place.program(declare(f"{place.name}/found")))
    assert run.succeeded, run.errors
    assert run.operations["found"] == ["import"]
    assert place.stack.up(place.program(declare(None))).operations["found"] == ["same"]
    missing = place.stack.up(
        place.program(
            lambda provider: k8s.core.v1.ConfigMap(
                "missing", metadata={"namespace": place.name, "name": "m"}, opts=options(provider, import_=f"{place.name}/m")
            )
        )
    )
    one_sentence(missing, "does not exist")


def test_an_unreachable_cluster_can_be_previewed_and_left(place: Place) -> None:
    def declare(value: str) -> Declare:
        metadata = {"namespace": place.name, "labels": {"v": value}}
        return lambda provider: k8s.core.v1.ConfigMap("config", metadata=metadata, opts=options(provider))

    assert place.stack.up(place.program(declare("1"))).succeeded
    gone = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
    )
    preview = place.stack.preview(place.program(declare("2"), kubeconfig=gone))
    assert preview.succeeded, preview.errors
    assert preview.changed["config"] == ["metadata.labels.v"]
    assert any("https://127.0.0.1:9 cannot be reached" in warning for warning in preview.warnings)
    one_sentence(place.stack.up(place.program(declare("2"), kubeconfig=gone)), "cannot update ConfigMap", "cannot be reached")
    one_sentence(place.stack.refresh(place.program(declare("2"), kubeconfig=gone)), "PULUMI_K8S_DELETE_UNREACHABLE=true")
    one_sentence(place.stack.destroy(), "PULUMI_K8S_DELETE_UNREACHABLE=true")
    dropped = place.stack.up(place.program(lambda _provider: None, kubeconfig=gone, delete_unreachable=True))
    assert dropped.succeeded, dropped.errors
    assert "config" not in place.stack.state()


def test_a_stuck_finalizer_is_named(place: Place) -> None:
    metadata = {"namespace": place.name, "name": "held", "finalizers": ["example.com/hold"]}
    declare = place.program(
        lambda provider: k8s.core.v1.ConfigMap("held", metadata=metadata, opts=options(provider, custom_timeouts=SLOW))
    )
    assert place.stack.up(declare).succeeded
    one_sentence(place.stack.destroy(), f"ConfigMap {place.name}/held: not deleted after 3 s", "example.com/hold")
    place.api.call("PATCH", f"/api/v1/namespaces/{place.name}/configmaps/held", {"metadata": {"finalizers": None}})
    assert place.stack.destroy().succeeded


def test_a_definition_and_its_objects_in_one_program(place: Place) -> None:
    def definition(provider: pulumi.ProviderResource) -> Any:
        schema = {
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "size": {"type": "integer", "maximum": 5},
                        "port": {"x-kubernetes-int-or-string": True},
                        "kind": {"type": "string"},
                    },
                    "x-kubernetes-validations": [{"rule": "self.kind == oldSelf.kind", "message": "kind is immutable"}],
                },
                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        }
        return k8s.apiextensions.v1.CustomResourceDefinition(
            "definition",
            metadata={"name": "toys.example.com"},
            spec={
                "group": "example.com",
                "names": {"kind": "Toy", "plural": "toys"},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
            opts=options(provider),
        )

    def declare(size: int, kind: str = "a", **annotations: str) -> Declare:
        def run(provider: pulumi.ProviderResource) -> None:
            k8s.apiextensions.CustomResource(
                "toy",
                api_version="example.com/v1",
                kind="Toy",
                metadata={"namespace": place.name, "annotations": annotations},
                spec={"size": size, "port": "http", "kind": kind},
                # The garbage collector learns of a new kind only at its next look at the API, up to half a minute later.
                opts=options(provider, depends_on=[definition(provider)], custom_timeouts=COLLECTED_LATE),
            )

        return run

    assert place.stack.preview(place.program(declare(1))).succeeded, "the kind is not known yet"
    made = place.stack.up(place.program(declare(1)))
    assert made.succeeded, made.errors
    again = place.stack.up(place.program(declare(1)))
    assert (again.operations["toy"], again.operations["definition"]) == (["same"], ["same"])
    one_sentence(place.stack.preview(place.program(declare(7))), "spec.size", "less than or equal to 5")
    replaced = place.stack.preview(place.program(declare(1, "b")))
    assert replaced.operations["toy"][0] in ("replace", "create-replacement")
    waiting = place.stack.up(place.program(declare(2, **{"pulumi.com/waitFor": "jsonpath={.status.phase}=Done"})))
    one_sentence(waiting, "waiting for jsonpath={.status.phase}=Done")
    assert place.stack.destroy().succeeded
    assert place.api.find("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/toys.example.com") is None


def test_a_killed_engine_leaves_no_process_and_no_duplicate(place: Place) -> None:
    def declare(cpu: str) -> Declare:
        return lambda provider: k8s.apps.v1.Deployment(
            "slow", metadata={"namespace": place.name, "name": "slow"}, spec=too_big("slow", cpu), opts=options(provider)
        )

    thread = threading.Thread(target=place.stack.up, args=[place.program(declare("1000"))], daemon=True)
    thread.start()
    plugin = _eventually(lambda: next((each for each in _children("sandbox.providers.kubernetes")), None))
    _eventually(lambda: place.objects("deployments", "apis/apps/v1"))
    engine = plugin.parent()
    assert engine is not None
    engine.kill()
    _eventually(lambda: not plugin.is_running() or plugin.status() == psutil.STATUS_ZOMBIE)
    thread.join(20)
    for lock in (place.stack.folder / "state").rglob("*.json"):
        if "locks" in lock.parts:
            lock.unlink()
    resumed = place.stack.up(place.program(declare("1")))
    assert resumed.succeeded, resumed.errors
    assert len(place.objects("deployments", "apis/apps/v1")) == 1
    assert place.stack.up(place.program(declare("1"))).operations["slow"] == ["same"]


def _children(module: str) -> Iterator[psutil.Process]:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if module in process.cmdline():
                yield process


def _eventually(probe: Callable[[], Any]) -> Any:
    """The first true answer, within 20 seconds."""
    give_up = time.monotonic() + 20
    while not (found := probe()):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return found


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    chart = tmp_path / "charts" / "keda-2.20.2"
    chart.mkdir(parents=True)
    (chart / "values.yaml").write_text("operator:\n  replicaCount: 1\nlogging: {level: info}\nextra: {}\n")
    (chart / "Chart.yaml").write_text("name: keda\nappVersion: 2.20.2\n")
    return tmp_path / "charts"


def test_a_helm_release_is_checked_and_recorded(place: Place, charts: Path) -> None:
    def declare(values: dict[str, Any], version: str | None = "2.20.2", secret: str = "") -> Declare:
        def run(provider: pulumi.ProviderResource) -> None:
            if secret:
                values["extra"] = {"token": pulumi.Output.secret(secret)}
            release = k8s.helm.v3.Release(
                "keda",
                chart="keda",
                version=version,
                name="keda",
                namespace=place.name,
                repository_opts={"repo": "https://kedacore.github.io/charts"},
                values=values,
                opts=options(provider),
            )
            pulumi.export("status", release.status)

        return run

    place.stack = StackUnderTest(
        place.stack.folder / "helm", place.stack.pulumi_bin, "helm", environment={CHARTS_ENV: str(charts)}
    )
    one_sentence(place.stack.preview(place.program(declare({"operator": {"replicas": 2}}))), "operator.replicas", "replicaCount")
    one_sentence(place.stack.preview(place.program(declare({}, version=None))), "must be pinned")

    made = place.stack.up(place.program(declare({"operator": {"replicaCount": 2}}, secret="canary-in-values")))
    assert made.succeeded, made.errors
    [record] = [item for item in place.objects("secrets") if item["metadata"]["name"] == "helm-release-keda"]
    assert record["metadata"]["annotations"]["llm-platform.rehearsal/helm-release-chart"] == "keda-2.20.2"
    state = place.stack.state()["keda"]
    assert state["id"] == f"{place.name}/keda"
    assert state["outputs"]["status"]["status"] == "deployed"
    assert "canary-in-values" not in place.stack.state_file() + made.output
    assert place.stack.refresh(place.program(declare({}))).outcomes["keda"] == "same"

    changed = place.stack.up(place.program(declare({"operator": {"replicaCount": 3}})))
    assert changed.operations["keda"] == ["update"]
    assert place.stack.state()["keda"]["outputs"]["status"]["revision"] == 2
    assert place.stack.destroy().succeeded
    assert [item for item in place.objects("secrets") if item["metadata"]["name"] == "helm-release-keda"] == []


def test_unknowns_stay_unknown_in_a_preview(place: Place) -> None:
    def declare(provider: pulumi.ProviderResource) -> None:
        service = k8s.core.v1.Service(
            "source", metadata={"namespace": place.name}, spec={"ports": [{"port": 80}]}, opts=options(provider)
        )
        k8s.core.v1.ConfigMap(
            "sink",
            metadata={"namespace": place.name, "name": "sink"},
            data={"ip": service.spec["cluster_ip"], "name": service.metadata["name"]},
            opts=options(provider),
        )
        pulumi.export("ip", service.spec["cluster_ip"])

    preview = place.stack.preview(place.program(declare), diff=True)
    assert preview.succeeded, preview.errors
    assert "ip  : [unknown]" in preview.output or "ip: [unknown]" in preview.output or "output<string>" in preview.output
    made = place.stack.up(place.program(declare))
    assert made.succeeded, made.errors
    sink = place.api.call("GET", f"/api/v1/namespaces/{place.name}/configmaps/sink")
    assert sink["data"]["ip"].startswith("10.")
    assert "pulumi.com/autonamed" not in sink["metadata"].get("annotations", {})


def test_documents_become_resources_of_a_component(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(
        json.dumps({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "c", "namespace": place.name}})
    )
    text = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: a, namespace: {place.name}}}
data: {{x: "1"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: b, namespace: {place.name}}}
stringData: {{token: canary-in-yaml}}
"""

    def declare(provider: pulumi.ProviderResource) -> None:
        k8s.yaml.v2.ConfigGroup("group", yaml=text, files=[str(file)], opts=options(provider))

    made = place.stack.up(place.program(declare))
    assert made.succeeded, made.errors
    names = {f"group-{place.name}/{name}" for name in "abc"}
    assert names <= set(made.operations)
    assert place.api.call("GET", f"/api/v1/namespaces/{place.name}/configmaps/a")["data"] == {"x": "1"}
    assert place.api.find(f"/api/v1/namespaces/{place.name}/serviceaccounts/c") is not None
    assert "canary-in-yaml" not in place.stack.state_file() + made.output
    again = place.stack.up(place.program(declare))
    assert {again.operations[name][0] for name in names} == {"same"}


def test_a_patch_adds_to_what_is_there_or_makes_it_and_gives_its_fields_back(place: Place) -> None:
    """As server-side apply does; the real provider does not look either (pulumi/pulumi-kubernetes, await.Creation)."""
    maps = f"/api/v1/namespaces/{place.name}/configmaps"
    place.api.call("POST", maps, {"metadata": {"name": "there"}, "data": {"theirs": "1"}})

    def declare(provider: pulumi.ProviderResource) -> None:
        for name in ("there", "made"):
            metadata = {"name": name, "namespace": place.name}
            k8s.core.v1.ConfigMapPatch(name, metadata=metadata, data={"ours": "2"}, opts=options(provider))

    up = place.stack.up(place.program(declare))
    assert up.succeeded, up.errors
    assert place.api.call("GET", f"{maps}/there")["data"] == {"theirs": "1", "ours": "2"}
    assert place.api.call("GET", f"{maps}/made")["data"] == {"ours": "2"}
    again = place.stack.up(place.program(declare), expect_no_changes=True)
    assert again.succeeded, again.changed
    down = place.stack.destroy()
    assert down.succeeded, down.errors
    assert place.api.call("GET", f"{maps}/there")["data"] == {"theirs": "1"}
