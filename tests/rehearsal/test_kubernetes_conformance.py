"""The same small programs through the emulated Kubernetes provider and, where it is installed, through the official one.

Each scenario declares its resources twice: as they are made, and as they are changed. In between, the test changes and
deletes objects behind the provider's back. What the engine has to do with each resource stands beside its declaration, so
the emulation is held to the official provider's behaviour even where that one is absent. Differences that are meant are
listed in sandbox/providers/kubernetes/DIFFERENCES.md.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from sandbox.control_plane import ControlPlane
from sandbox.plugins import EMULATED, official
from tests.rehearsal.kubernetes_support import Api, Run, StackUnderTest, deployment_spec, options, pod

pytestmark = pytest.mark.rehearsal

CREATE_FIRST = ["create-replacement", "replace", "delete-replaced"]
DELETE_FIRST = ["delete-replaced", "replace", "create-replacement"]
Declare = Callable[[str, bool, pulumi.ProviderResource], None]


@dataclass(frozen=True)
class Scenario:
    """`declare(namespace, changed, provider)`; `change` is what the second `up` does to each resource."""

    declare: Declare
    change: dict[str, list[str]]
    paths: dict[str, list[str]] = field(default_factory=dict)  # the properties shown as changed
    drift: Callable[[Api, str], None] | None = None
    refresh: dict[str, str] = field(default_factory=dict)  # what a refresh finds out after the drift


def _in_place(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    image = "registry.k8s.io/pause:3.9" if changed else "registry.k8s.io/pause:3.10"
    k8s.apps.v1.Deployment(
        "in-place", metadata={"namespace": ns}, spec=deployment_spec("in-place", image), opts=options(provider)
    )
    k8s.core.v1.Service(
        "in-place-service",
        metadata={"namespace": ns, "labels": {"tier": "b" if changed else "a"}},
        spec={"selector": {"app": "in-place"}, "ports": [{"port": 80}]},
        opts=options(provider),
    )


def _immutable(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    name = "second" if changed else "first"
    k8s.apps.v1.Deployment("immutable", metadata={"namespace": ns}, spec=deployment_spec(name), opts=options(provider))


def _named(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    name = "second" if changed else "first"
    k8s.apps.v1.Deployment(
        "named", metadata={"namespace": ns, "name": "named"}, spec=deployment_spec(name), opts=options(provider)
    )


def _role_ref(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    k8s.rbac.v1.RoleBinding(
        "role-ref",
        metadata={"namespace": ns, "name": "role-ref"},
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit" if changed else "view"},
        subjects=[{"kind": "ServiceAccount", "name": "default", "namespace": ns}],
        opts=options(provider),
    )


def _config_map(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    data = {"key": "new" if changed else "old"}
    k8s.core.v1.ConfigMap("config", metadata={"namespace": ns}, data=data, opts=options(provider))
    k8s.core.v1.ConfigMap(
        "config-labels", metadata={"namespace": ns, "labels": {"is": data["key"]}}, data={"key": "old"}, opts=options(provider)
    )


def _secret(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    text = pulumi.Output.secret("canary-second" if changed else "canary-first")
    k8s.core.v1.Secret("secret", metadata={"namespace": ns}, string_data={"token": text}, opts=options(provider))


def _job(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    command = ["echo", "two" if changed else "one"]
    k8s.batch.v1.Job(
        "job",
        metadata={"namespace": ns},
        spec={"template": {"spec": {**pod(command=command), "restartPolicy": "Never"}}},
        opts=options(provider),
    )


def _ignored(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    spec = deployment_spec("ignored", replicas=3 if changed else 1)
    more = options(provider, ignore_changes=["spec.replicas"])
    k8s.apps.v1.Deployment("ignored", metadata={"namespace": ns, "name": "ignored"}, spec=spec, opts=more)


def _drifted(ns: str, _changed: bool, provider: pulumi.ProviderResource) -> None:
    force = {"pulumi.com/patchForce": "true"}  # else correcting it is a conflict with whoever drifted it
    k8s.apps.v1.Deployment(
        "drifted",
        metadata={"namespace": ns, "name": "drifted", "annotations": force},
        spec=deployment_spec("drifted"),
        opts=options(provider),
    )
    spec = deployment_spec("scaled")
    del spec["replicas"]
    k8s.apps.v1.Deployment("scaled", metadata={"namespace": ns, "name": "scaled"}, spec=spec, opts=options(provider))


def _scale(api: Api, ns: str) -> None:
    scaled = f"/apis/apps/v1/namespaces/{ns}/deployments/ignored/scale"
    api.call("PATCH", scaled, {"spec": {"replicas": 4}}, fieldManager="kube-controller-manager")


def _drift(api: Api, ns: str) -> None:
    deployments = f"/apis/apps/v1/namespaces/{ns}/deployments"
    api.call("PATCH", f"{deployments}/drifted", {"spec": {"revisionHistoryLimit": 3, "replicas": 2}})
    api.call("PATCH", f"{deployments}/scaled", {"spec": {"replicas": 2}})


def _deleted(ns: str, _changed: bool, provider: pulumi.ProviderResource) -> None:
    k8s.core.v1.ConfigMap("deleted", metadata={"namespace": ns, "name": "deleted"}, data={"a": "b"}, opts=options(provider))


def _delete(api: Api, ns: str) -> None:
    api.call("DELETE", f"/api/v1/namespaces/{ns}/configmaps/deleted")


def _quantities(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    cpu = "1000m" if changed else "1"
    spec = deployment_spec("quantities")
    spec["template"]["spec"] = pod(resources={"requests": {"cpu": cpu}})
    k8s.apps.v1.Deployment("quantities", metadata={"namespace": ns}, spec=spec, opts=options(provider))


def _removed_field(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    labels = {"kept": "a"} if changed else {"kept": "a", "removed": "b"}
    k8s.core.v1.ServiceAccount("removed-field", metadata={"namespace": ns, "labels": labels}, opts=options(provider))


def _moved(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    name = "moved-new" if changed else "moved-old"
    k8s.core.v1.ServiceAccount("moved", metadata={"namespace": ns, "name": name}, opts=options(provider))


def _parallel_job(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    k8s.batch.v1.Job(
        "parallel",
        metadata={"namespace": ns},
        spec={"parallelism": 2 if changed else 1, "template": {"spec": {**pod(), "restartPolicy": "Never"}}},
        opts=options(provider),
    )


def _claim(ns: str, changed: bool, provider: pulumi.ProviderResource) -> None:
    volume = k8s.core.v1.PersistentVolume(
        "volume",
        spec={
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": f"manual-{ns}",
            "hostPath": {"path": "/data"},
            "persistentVolumeReclaimPolicy": "Retain" if changed else "Delete",
        },
        opts=options(provider),
    )
    k8s.core.v1.PersistentVolumeClaim(
        "claim",
        metadata={"namespace": ns},
        spec={
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": f"manual-{ns}",
            "volumeName": volume.metadata["name"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
        opts=options(provider),
    )


IMAGE = "spec.template.spec.containers[0].image"
SELECTOR = ["spec.selector.matchLabels.app", "spec.template.metadata.labels.app"]
SCENARIOS = {
    "update in place": Scenario(
        _in_place,
        {"in-place": ["update"], "in-place-service": ["update"]},
        {"in-place": [IMAGE], "in-place-service": ["metadata.labels.tier"]},
    ),
    "replace immutable": Scenario(_immutable, {"immutable": CREATE_FIRST}, {"immutable": SELECTOR}),
    "replace named": Scenario(_named, {"named": DELETE_FIRST}, {"named": SELECTOR}),
    "replace role binding": Scenario(_role_ref, {"role-ref": DELETE_FIRST}, {"role-ref": ["roleRef.name"]}),
    "config map": Scenario(_config_map, {"config": CREATE_FIRST, "config-labels": ["update"]}, {"config": ["data.key"]}),
    "secret": Scenario(_secret, {"secret": CREATE_FIRST}),
    "job": Scenario(_job, {"job": CREATE_FIRST}, {"job": ["spec.template.spec.containers[0].command[1]"]}),
    "parallel job": Scenario(_parallel_job, {"parallel": CREATE_FIRST}, {"parallel": ["spec.parallelism"]}),
    "ignore changes": Scenario(_ignored, {"ignored": ["same"]}, drift=_scale, refresh={"ignored": "same"}),
    "drift": Scenario(
        _drifted,
        {"drifted": ["update"], "scaled": ["same"]},
        {"drifted": ["spec.replicas"]},
        drift=_drift,
        refresh={"drifted": "update", "scaled": "same"},
    ),
    "deleted": Scenario(_deleted, {"deleted": ["create"]}, drift=_delete, refresh={"deleted": "delete"}),
    "same quantity": Scenario(_quantities, {"quantities": ["same"]}),
    "removed field": Scenario(_removed_field, {"removed-field": ["update"]}, {"removed-field": ["metadata.labels.removed"]}),
    "new name": Scenario(_moved, {"moved": CREATE_FIRST}, {"moved": ["metadata.name"]}),
    "claim": Scenario(_claim, {"volume": ["update"], "claim": ["same"]}),
}


@dataclass
class Results:
    """What one provider made of all scenarios."""

    create: Run
    refresh: Run
    preview: Run
    change: Run
    again: Run
    objects: dict[str, Any]
    state: str
    output: str = ""


def _objects(stack: StackUnderTest, ns: str) -> dict[str, Any]:
    """The recorded live objects, without what differs between any two runs."""
    found = {}
    for name, item in stack.state().items():
        outputs = item.get("outputs") or {}
        if item["type"].startswith("kubernetes:") and "kind" in outputs:
            found[name] = _normalised({key: value for key, value in outputs.items() if not key.startswith("__")}, ns)
    return found


_VOLATILE = {
    "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "clusterIP", "clusterIPs", "status", "claimRef",
    "ciphertext",
}  # fmt: skip


def _normalised(value: Any, ns: str) -> Any:
    if isinstance(value, dict):
        return {key: _normalised(item, ns) for key, item in value.items() if key not in _VOLATILE and not key.endswith("-uid")}
    if isinstance(value, list):
        return [_normalised(item, ns) for item in value]
    return re.sub(r"-[0-9a-f]{8}$", "-*", value.replace(ns, "NAMESPACE")) if isinstance(value, str) else value


def _play(folder: Path, pulumi_bin: Path, plane: ControlPlane, api: Api, ns: str, plugins: Path) -> Results:
    """Run every scenario through one provider: made, changed from outside, refreshed, changed, and left alone."""
    stack = StackUnderTest(folder, pulumi_bin, ns, plugins)
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": ns}})

    def program(changed: bool) -> Callable[[], None]:
        def declare() -> None:
            provider = k8s.Provider("cluster", kubeconfig=plane.kubeconfig.read_text(), cluster_identifier="conformance")
            for scenario in SCENARIOS.values():
                scenario.declare(ns, changed, provider)

        return declare

    created = stack.up(program(False))
    for scenario in SCENARIOS.values():
        if scenario.drift:
            scenario.drift(api, ns)
    results = Results(
        create=created,
        refresh=stack.refresh(program(False)),
        preview=stack.preview(program(True)),
        change=stack.up(program(True)),
        again=stack.up(program(True)),
        objects=_objects(stack, ns),
        state=stack.state_file(),
    )
    runs = (results.create, results.refresh, results.preview, results.change, results.again)
    results.output = "\n".join(run.output for run in runs) + _read(stack.log)
    return results


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def emulated(
    tmp_path_factory: pytest.TempPathFactory,
    pulumi_bin: Path,
    control_plane: ControlPlane,
    api: Api,
) -> Results:
    return _play(tmp_path_factory.mktemp("emulated"), pulumi_bin, control_plane, api, "emulated", EMULATED)


@pytest.fixture(scope="module")
def genuine(
    tmp_path_factory: pytest.TempPathFactory,
    pulumi_bin: Path,
    control_plane: ControlPlane,
    api: Api,
) -> Results:
    return _play(tmp_path_factory.mktemp("official"), pulumi_bin, control_plane, api, "official", _official())


def _official() -> Path:
    """The folder of the official plugin; skips the test where there is none."""
    plugin = official("kubernetes")
    if plugin is None or plugin.parent == EMULATED:
        pytest.skip("the official pulumi-kubernetes plugin is neither on PATH nor installed in PULUMI_HOME")
    return plugin.parent


def _check(results: Results, scenario: Scenario) -> None:
    names = set(scenario.change)
    assert results.create.succeeded, results.create.errors
    assert results.change.succeeded, results.change.errors
    assert {name: results.create.operations.get(name) for name in names} == {name: ["create"] for name in names}
    assert {name: results.change.operations.get(name) for name in names} == scenario.change
    assert {name: results.change.changed.get(name) for name in scenario.paths} == scenario.paths
    refreshed = {name: results.refresh.outcomes.get(name) for name in names}
    assert refreshed == {name: scenario.refresh.get(name, "same") for name in names}
    assert {name: results.again.operations.get(name) for name in names} == {name: ["same"] for name in names}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_emulation_does_what_the_official_provider_does(emulated: Results, name: str) -> None:
    _check(emulated, SCENARIOS[name])


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_official_provider_does_what_is_expected_of_it(genuine: Results, name: str) -> None:
    _check(genuine, SCENARIOS[name])


def test_both_leave_the_same_objects(emulated: Results, genuine: Results) -> None:
    assert emulated.objects == genuine.objects


def test_a_preview_announces_what_up_does(emulated: Results) -> None:
    # The preview names only the decision; the steps around a replacement are those of the engine.
    for name, done in emulated.change.operations.items():
        assert emulated.preview.operations[name][:1] == done[:1], name


def test_no_secret_is_recorded_or_shown(emulated: Results) -> None:
    for canary in ("canary-first", "canary-second", "Y2FuYXJ5LWZpcnN0", "Y2FuYXJ5LXNlY29uZA"):
        assert canary not in emulated.state
        assert canary not in emulated.output
    assert "ciphertext" in emulated.state


def test_what_others_set_is_neither_lost_nor_drift(emulated: Results) -> None:
    assert emulated.objects["ignored"]["spec"]["replicas"] == 4
    assert emulated.objects["scaled"]["spec"]["replicas"] == 2
    assert emulated.objects["drifted"]["spec"] | {"replicas": 1, "revisionHistoryLimit": 3} == emulated.objects["drifted"]["spec"]


def test_what_goes_is_gone(emulated: Results, api: Api) -> None:
    jobs = api.call("GET", "/apis/batch/v1/namespaces/emulated/jobs")["items"]
    assert len([job for job in jobs if job["metadata"]["name"].startswith("job-")]) == 1
    assert api.find("/api/v1/namespaces/emulated/serviceaccounts/moved-old") is None
    assert api.find("/api/v1/namespaces/emulated/serviceaccounts/moved-new") is not None
    assert emulated.change.succeeded


@pytest.fixture(params=["emulated", "official"])
def plugins(request: pytest.FixtureRequest) -> Path:
    """The folder of each provider's plugin in turn."""
    return EMULATED if request.param == "emulated" else _official()


def test_a_failed_readiness_is_recorded_and_resumed(
    tmp_path: Path, pulumi_bin: Path, control_plane: ControlPlane, api: Api, plugins: Path
) -> None:
    ns = _namespace(api, "await", plugins)

    def program(cpu: str) -> Callable[[], None]:
        def declare() -> None:
            provider = k8s.Provider("cluster", kubeconfig=control_plane.kubeconfig.read_text())
            spec = deployment_spec("big")
            spec["template"]["spec"] = pod(resources={"requests": {"cpu": cpu}})
            limits = pulumi.CustomTimeouts(create="4s", update="30s")
            more = options(provider, custom_timeouts=limits)
            k8s.apps.v1.Deployment("big", metadata={"namespace": ns}, spec=spec, opts=more)

        return declare

    stack = StackUnderTest(tmp_path, pulumi_bin, "await", plugins)
    failed = stack.up(program("1000"))
    assert not failed.succeeded
    recorded = stack.state()["big"]
    assert recorded["initErrors"]
    resumed = stack.up(program("1"))
    assert resumed.succeeded, resumed.errors
    assert resumed.operations["big"] == ["update"]
    assert stack.state()["big"]["id"] == recorded["id"]
    assert len(api.call("GET", f"/apis/apps/v1/namespaces/{ns}/deployments")["items"]) == 1


def test_an_existing_object_is_imported(
    tmp_path: Path, pulumi_bin: Path, control_plane: ControlPlane, api: Api, plugins: Path
) -> None:
    ns = _namespace(api, "import", plugins)
    api.call("POST", f"/api/v1/namespaces/{ns}/configmaps", {"metadata": {"name": "found"}, "data": {"a": "b"}})

    def program(imported: str | None) -> Callable[[], None]:
        def declare() -> None:
            provider = k8s.Provider("cluster", kubeconfig=control_plane.kubeconfig.read_text())
            more = options(provider, import_=imported)
            k8s.core.v1.ConfigMap("found", metadata={"namespace": ns, "name": "found"}, data={"a": "b"}, opts=more)

        return declare

    stack = StackUnderTest(tmp_path, pulumi_bin, "import", plugins)
    run = stack.up(program(f"{ns}/found"))
    assert run.succeeded, run.errors
    assert run.operations["found"] == ["import"]
    assert stack.up(program(None)).operations["found"] == ["same"]


def _namespace(api: Api, name: str, plugins: Path) -> str:
    full = f"{name}-{'emulated' if plugins == EMULATED else 'official'}"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": full}})
    return full
