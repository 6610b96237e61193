"""The stack `models` as it lives: every kind of model comes up, rolls, moves and goes, by the commands a person types.

The tests follow each other on one stack. Three changes of the stack file touch several models each, and every test looks at one
of them; the API server still has every event of a change when it is over.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from components.serving.invariants import START, broken
from components.serving.verification.objects import is_ready, leads
from components.types import NodePool
from sandbox.control_plane.api import Api
from sandbox.project import Project
from settings.clusters import ExistingClusterSettings
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

Object = dict[str, Any]
Models = dict[str, Object]

NAMESPACED = "/api/v1/namespaces/models"
TENANT = "research"
"""The namespace of the model for embeddings."""
COLLECTIONS = {
    "pods": f"{NAMESPACED}/pods",
    "claims": f"{NAMESPACED}/persistentvolumeclaims",
    "services": f"{NAMESPACED}/services",
    "volumes": "/api/v1/persistentvolumes",
    "jobs": "/apis/batch/v1/namespaces/models/jobs",
    "deployments": "/apis/apps/v1/namespaces/models/deployments",
}
SETS = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/models/leaderworkersets"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/models/endpointslices"
INSTANCE, NAME = "app.kubernetes.io/instance", "app.kubernetes.io/name"

NEXT_REVISION = "5" * 40
RAY = {"image": "registry.example.com/vllm-ray:v0.33.0", "rayVersion": "2.52.1"}


@pytest.fixture(scope="module", name="project")
def project_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    """The stack, up."""
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("models"), "models")
    try:
        project.succeed("up")
        yield project
    finally:
        project.run("reset")


@dataclass(frozen=True)
class Change:
    """A change of the stack file that was rolled out."""

    preview: Mapping[str, str]
    """What a preview said before, by type and name."""
    before: Mapping[str, list[Object]]
    """By collection."""
    after: Mapping[str, list[Object]]
    events: Mapping[str, list[Object]]
    """Everything that happened meanwhile, in order."""

    def servers(self, model: str) -> tuple[list[Object], list[Object]]:
        """The pods of a model's servers before and after."""
        return _servers(self.before["pods"], model), [pod for pod in _servers(self.after["pods"], model) if is_ready(pod)]

    def history(self, model: str) -> list[dict[str, Object]]:
        """By uid the pods that answer for a model, as they were after each of their events."""
        found = [{_uid(pod): pod for pod in _leaders(self.before["pods"], model)}]
        for event in self.events["pods"]:
            for pod in _leaders([event["object"]], model):
                others = {uid: other for uid, other in found[-1].items() if uid != _uid(pod)}
                # A pod that has ended has given its accelerators back, and may still be there for a moment.
                gone = event["type"] == "DELETED" or pod["status"]["phase"] in ("Succeeded", "Failed")
                found.append(others if gone else others | {_uid(pod): pod})
        return found

    def was_always_answered(self, model: str) -> bool:
        """Whether a server was ready at every moment, and another one came beside it."""
        history = self.history(model)
        return all(any(is_ready(pod) for pod in pods.values()) for pods in history) and max(map(len, history)) == 2

    def made_room(self, model: str) -> bool:
        """Whether another server came, and not before the old one was gone."""
        old, *later = self.history(model)
        return any(pods and not old.keys() & pods.keys() for pods in later) and max(map(len, later)) == 1


def _change(project: RehearsedProject, change: Callable[[Models], None]) -> Change:
    project.edit(lambda config: change(config["llm-platform:models"]))
    preview = project.changes()
    before, versions = _objects(project)
    watched = {name: COLLECTIONS[name] for name in ("pods", "claims")}
    with project.watching({path: versions[name] for name, path in watched.items()}) as seen:
        project.succeed("up")
        after, _ = _objects(project)
    return Change(preview, before, after, {name: seen[path] for name, path in watched.items()})


def _objects(project: RehearsedProject) -> tuple[dict[str, list[Object]], dict[str, str]]:
    """Every collection, and its version."""
    with project.api() as api:
        answers = {name: api.get(path) for name, path in COLLECTIONS.items()}
        beside = {name: _beside(api, path) for name, path in COLLECTIONS.items()}
    versions = {name: answer["metadata"]["resourceVersion"] for name, answer in answers.items()}
    return {name: [*answer["items"], *beside[name]] for name, answer in answers.items()}, versions


def _beside(api: Api, path: str) -> list[Object]:
    """The same collection in the tenant's namespace; none of what has no namespace."""
    tenants = path.replace("/namespaces/models/", f"/namespaces/{TENANT}/")
    return list(api.items(tenants)) if tenants != path else []


def _servers(pods: list[Object], model: str) -> list[Object]:
    labels = ((pod, pod["metadata"].get("labels") or {}) for pod in pods)
    return [pod for pod, found in labels if (found.get(INSTANCE), found.get(NAME)) == (model, "vllm")]


def _leaders(pods: list[Object], model: str) -> list[Object]:
    return [pod for pod in _servers(pods, model) if leads(pod)]


def _uid(thing: Object) -> str:
    return str(thing["metadata"]["uid"])


def _engine(pod: Object) -> Object:
    found: Object = next(container for container in pod["spec"]["containers"] if container["name"] == "engine")
    return found


def _ready_at(pod: Object) -> str:
    return str(next(each["lastTransitionTime"] for each in pod["status"]["conditions"] if each["type"] == "Ready"))


def _of(things: list[Object], model: str, name: str) -> list[Object]:
    """The objects of a model with that name of an application."""
    return [
        thing for thing in things if (thing["metadata"]["labels"][INSTANCE], thing["metadata"]["labels"][NAME]) == (model, name)
    ]


def _config(project: RehearsedProject) -> Object:
    found: Object = yaml.safe_load(project.stack_file.read_text())["config"]
    return found


def _models(project: RehearsedProject) -> Models:
    found: Models = _config(project)["llm-platform:models"]
    return found


def _pools(project: RehearsedProject) -> dict[str, NodePool]:
    cluster = ExistingClusterSettings.model_validate(_config(project)["llm-platform:cluster"])
    return {name: cluster.pool(name) for name in cluster.node_pools}


# As it comes up.


def test_every_server_is_ready_on_nodes_of_its_pool(project: RehearsedProject) -> None:
    objects, _ = _objects(project)
    with project.api() as api:
        nodes = {node["metadata"]["name"]: node["metadata"]["labels"] for node in api.items("/api/v1/nodes")}
    assert {pod["status"]["phase"] for pod in objects["pods"]} == {"Running", "Succeeded"}
    pools = _pools(project)
    for name, model in _models(project).items():
        servers = _servers(objects["pods"], name)
        assert servers, name
        on = {pod["spec"]["nodeName"] for pod in servers}
        assert len(on) == len(servers) == (2 if name == "deepseek-r1" else 1)
        for pod in servers:
            assert is_ready(pod), name
            assert pools[model["nodePool"]].labels.items() <= nodes[pod["spec"]["nodeName"]].items(), name


def test_a_second_up_changes_nothing(project: RehearsedProject) -> None:
    before, _ = _objects(project)
    assert re.search(r"Resources:\n +\d+ unchanged\n", project.succeed("up"))
    after, _ = _objects(project)
    assert {_uid(pod) for pod in after["pods"]} == {_uid(pod) for pod in before["pods"]}


def test_every_model_is_verified(project: RehearsedProject) -> None:
    code, output = project.run("verify", "--json")
    assert code == 0, output
    outcomes = {outcome["model"]: outcome for outcome in json.loads(output)}
    assert set(outcomes) == set(_models(project))
    for name, outcome in outcomes.items():
        checks = {finding["check"] for finding in outcome["findings"]}
        assert {"as planned", "passed", "health", "models", "answer", "metrics"} <= checks, name
        assert [finding for finding in outcome["findings"] if finding["faults"]] == []
    assert [name for name, outcome in outcomes.items() if outcome["notes"]] == ["llama-3-70b"], "the only one with a key"


def test_the_live_objects_keep_every_invariant(project: RehearsedProject) -> None:
    with project.api() as api:
        objects: list[Object] = []
        for kind, path in (
            ("Deployment", COLLECTIONS["deployments"]),
            ("LeaderWorkerSet", SETS),
            ("PersistentVolumeClaim", COLLECTIONS["claims"]),
        ):
            objects += [{"kind": kind, **thing} for thing in [*api.items(path), *_beside(api, path)]]
    assert broken(objects, list(_pools(project).values())) == []
    lost = {fault.where for fault in broken(objects, []) if fault.rule == "pool"}
    assert len(lost) == len(_models(project)), "every server was looked at"
    smaller = [
        {**thing, "spec": thing["spec"] | {"resources": {"requests": {"storage": "1Gi"}}}}
        for thing in objects
        if "Claim" in thing["kind"]
    ]
    servers = [thing for thing in objects if "Claim" not in thing["kind"]]
    found = {fault.where for fault in broken([*servers, *smaller], list(_pools(project).values())) if fault.rule == "cache"}
    assert len(found) == len(_models(project)), "every server was seen with its own claim"


def test_a_load_of_more_than_ten_minutes_is_waited_for(project: RehearsedProject) -> None:
    recorded = json.loads(Project.find(project.root).checkpoint(project.stack).read_text())
    limits = {
        resource["urn"].rpartition("::")[2]: resource["customTimeouts"]
        for resource in recorded["checkpoint"]["latest"]["resources"]
        if "customTimeouts" in resource
    }
    objects, _ = _objects(project)
    with project.api() as api:
        workloads = {thing["metadata"]["labels"][INSTANCE]: thing for thing in [*objects["deployments"], *api.items(SETS)]}
    budgets = {}
    for name in _models(project):
        (leader,) = _leaders(objects["pods"], name)
        probe = _engine(leader)["startupProbe"]
        budgets[name] = probe["periodSeconds"] * probe["failureThreshold"]
        deadline = workloads[name]["spec"].get("progressDeadlineSeconds", budgets[name])
        assert budgets[name] >= float(workloads[name]["metadata"]["annotations"][START])
        assert limits[f"{name}-server"]["create"] > deadline >= budgets[name]
        assert limits[f"{name}-server"]["update"] > deadline
    for name in ("llama-3-3-70b", "llama-3-70b", "deepseek-r1"):
        assert budgets[name] > 600, "the default of Deployments and of Pulumi"
    assert workloads["llama-3-70b"]["spec"]["progressDeadlineSeconds"] > 600


# Settings of the engine change.


@pytest.fixture(scope="module", name="rolled")
def rolled_fixture(project: RehearsedProject) -> Change:
    """A setting of a server with room beside it, of one without, and of one on two nodes; more accelerators for a fourth."""

    def change(models: Models) -> None:
        models["qwen3-32b"]["maxNumSeqs"] = 64
        models["llama-3-3-70b"]["environment"] = {"VLLM_LOGGING_LEVEL": "WARNING"}
        models["deepseek-r1"]["environment"] = {"VLLM_LOGGING_LEVEL": "WARNING"}
        models["gpt-oss-120b"]["parallelism"] = {"tensor": 2}

    return _change(project, change)


def _verified_again(model: str) -> dict[str, str]:
    return {f"ConfigMap {model}-verification": "replace", f"Job {model}-verification": "replace"}


def _but_watching(preview: Mapping[str, str]) -> dict[str, str]:
    """Without rules and dashboards, which have what is planned of each model; they are changed where they are."""
    watching = {
        what: how for what, how in preview.items() if what.startswith(("PrometheusRule ", "ConfigMap monitoring-dashboard-"))
    }
    assert set(watching.values()) <= {"update"}
    return {what: how for what, how in preview.items() if what not in watching}


def test_a_setting_changes_its_own_server_and_nothing_else(rolled: Change) -> None:
    servers = {f"Deployment {model}-server": "update" for model in ("qwen3-32b", "llama-3-3-70b", "gpt-oss-120b")}
    assert _but_watching(rolled.preview) == {
        **servers,
        "LeaderWorkerSet deepseek-r1-server": "update",
        **{f"ConfigMap {model}-environment": "replace" for model in ("qwen3-32b", "llama-3-3-70b", "deepseek-r1")},
        **_verified_again("qwen3-32b"),
        **_verified_again("llama-3-3-70b"),
        **_verified_again("deepseek-r1"),
        **_verified_again("gpt-oss-120b"),
    }
    for model in ("qwen2-5-7b", "qwen3-embedding", "llama-3-70b"):
        before, after = rolled.servers(model)
        assert [_uid(pod) for pod in before] == [_uid(pod) for pod in after], model


def test_where_there_is_room_the_new_server_is_ready_before_the_old_one_goes(rolled: Change) -> None:
    assert rolled.was_always_answered("qwen3-32b")
    _, (server,) = rolled.servers("qwen3-32b")
    args = _engine(server)["args"]
    assert args[args.index("--max-num-seqs") + 1] == "64"


def test_more_accelerators_for_a_model_follow_the_same_way(rolled: Change) -> None:
    assert rolled.was_always_answered("gpt-oss-120b")
    (before,), (after,) = rolled.servers("gpt-oss-120b")
    assert _engine(before)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert _engine(after)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    args = _engine(after)["args"]
    assert args[args.index("--tensor-parallel-size") + 1] == "2"


@pytest.mark.parametrize("model", ["llama-3-3-70b", "deepseek-r1"])
def test_where_there_is_none_the_old_server_makes_room(model: str, rolled: Change) -> None:
    assert rolled.made_room(model)
    assert not rolled.was_always_answered(model)
    before, after = rolled.servers(model)
    assert len(after) == len(before)
    assert not {_uid(pod) for pod in before} & {_uid(pod) for pod in after}


@pytest.mark.parametrize("model", ["qwen3-32b", "gpt-oss-120b", "llama-3-3-70b", "deepseek-r1"])
def test_up_waits_for_the_new_server(model: str, rolled: Change) -> None:
    """Its check is made after it."""
    _, servers = rolled.servers(model)
    (check,) = _of(rolled.after["jobs"], model, "model-verification")
    assert check["metadata"]["creationTimestamp"] >= max(_ready_at(pod) for pod in servers)
    assert check["status"]["succeeded"] == 1


# Weights and caches change, and a model goes.


@pytest.fixture(scope="module", name="moved")
def moved_fixture(project: RehearsedProject, rolled: Change) -> Change:
    """Another revision of two models, with room and without; another cache of a third; and one model less."""
    del rolled

    def change(models: Models) -> None:
        models["qwen3-32b"]["revision"] = models["qwen2-5-7b"]["revision"] = NEXT_REVISION
        models["gpt-oss-120b"]["cache"] = models["qwen3-32b"]["cache"]
        del models["deepseek-r1"]

    return _change(project, change)


def _downloaded_again(model: str) -> dict[str, str]:
    # What the check will ask is not known before the download: its Job is replaced then.
    return {
        f"Job {model}-job": "replace",
        f"Deployment {model}-server": "update",
        f"ConfigMap {model}-verification": "replace",
        f"Job {model}-verification": "update",
    }


def test_a_revision_or_a_cache_changes_its_own_model_and_nothing_else(moved: Change) -> None:
    gone = {"deepseek-r1", "controllers", "leader-worker-set", "leader-worker-set-controller", "h200", "h200-pods"}
    leaving = {
        what
        for what, name in ((what, what.split()[1]) for what in _but_watching(moved.preview))
        if name in gone or name.startswith(("deepseek-r1-", "controllers-")) or name.endswith("-deepseek-r1")
    }
    assert {moved.preview[what] for what in leaving} == {"delete"}
    assert {"LeaderWorkerSet deepseek-r1-server", "PersistentVolumeClaim deepseek-r1-claim"} <= leaving
    compiled = ("ModelCache", ""), ("PersistentVolume", "-volume"), ("PersistentVolumeClaim", "-claim"), ("Job", "-prepare")
    staying = {what: how for what, how in _but_watching(moved.preview).items() if what not in leaving}
    assert {what: how for what, how in staying.items() if not what.startswith("Namespace")} == {
        **{f"ConfigMap {model}-program": "replace" for model in ("qwen3-32b", "qwen2-5-7b")},
        **_downloaded_again("qwen3-32b"),
        **_downloaded_again("qwen2-5-7b"),
        **_downloaded_again("gpt-oss-120b"),
        "ConfigMap gpt-oss-120b-environment": "replace",
        "PersistentVolume gpt-oss-120b-volume": "replace",
        "PersistentVolumeClaim gpt-oss-120b-claim": "replace",
        "Job gpt-oss-120b-prepare": "delete",
        # Only a disk of the node keeps what the engine compiles.
        **{f"{kind} gpt-oss-120b-compiled{role}": "delete" for kind, role in compiled},
    }


@pytest.mark.parametrize("model", ["qwen3-32b", "qwen2-5-7b"])
def test_a_revision_is_fetched_beside_the_old_one_while_that_is_served(model: str, moved: Change) -> None:
    (old,), (new,) = moved.servers(model)
    assert _engine(old)["args"][0].rpartition("/")[0] == _engine(new)["args"][0].rpartition("/")[0]
    assert _engine(new)["args"][0].endswith(f"/{NEXT_REVISION}")
    (first,), (second,) = (_of(jobs, model, "model-download") for jobs in (moved.before["jobs"], moved.after["jobs"]))
    assert _uid(first) != _uid(second)
    assert second["status"]["completionTime"] <= new["metadata"]["creationTimestamp"]
    if model == "qwen3-32b":
        assert moved.was_always_answered(model)
    else:
        assert moved.made_room(model)
        going = next(pods[_uid(old)] for pods in moved.history(model) if not is_ready(pods[_uid(old)]))
        assert going["metadata"]["deletionTimestamp"] >= second["status"]["completionTime"]


@pytest.mark.parametrize("model", ["qwen3-32b", "qwen2-5-7b"])
def test_the_old_revision_stays_where_it_is(model: str, moved: Change) -> None:
    """The download only adds (tests/unit/test_storage_download.py), and nobody else can write there."""
    (claim,) = _of(moved.after["claims"], model, "model-cache")
    writers = {
        pod["metadata"]["labels"][NAME]
        for pod in moved.after["pods"]
        for volume in pod["spec"].get("volumes") or []
        if volume.get("persistentVolumeClaim", {}).get("claimName") == claim["metadata"]["name"]
        and not volume["persistentVolumeClaim"].get("readOnly")
    }
    assert writers == {"model-download"}


def test_no_other_claim_volume_or_service_is_another(moved: Change) -> None:
    for collection in ("claims", "volumes", "services"):
        before, after = (
            {
                _uid(thing)
                for thing in things[collection]
                if not re.match("deepseek-r1|gpt-oss-120b-(volume|claim|compiled)", thing["metadata"]["name"])
            }
            for things in (moved.before, moved.after)
        )
        assert len(before) >= 5
        assert before == after, collection


def test_another_cache_is_another_volume_and_the_old_data_stay(moved: Change) -> None:
    (old,), (new,) = (
        _of(volumes, "gpt-oss-120b", "model-cache") for volumes in (moved.before["volumes"], moved.after["volumes"])
    )
    assert "hostPath" in old["spec"]
    assert "nfs" in new["spec"]
    assert old["spec"]["persistentVolumeReclaimPolicy"] == new["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    (claim,) = _of(moved.after["claims"], "gpt-oss-120b", "model-cache")
    assert claim["spec"]["volumeName"] == new["metadata"]["name"]
    assert claim["status"]["phase"] == "Bound"


def test_the_old_claim_goes_after_the_new_server_answers(moved: Change) -> None:
    assert moved.was_always_answered("gpt-oss-120b")
    _, (server,) = moved.servers("gpt-oss-120b")
    (claim,) = _of(moved.before["claims"], "gpt-oss-120b", "model-cache")
    gone = [event["object"] for event in moved.events["claims"] if _uid(event["object"]) == _uid(claim)]
    assert gone[-1]["metadata"]["deletionTimestamp"] >= _ready_at(server)
    assert all(_engine(pod)["args"][0] == _engine(server)["args"][0] for pod in _servers(moved.before["pods"], "gpt-oss-120b"))


def test_a_model_that_is_taken_out_leaves_nothing_behind(moved: Change) -> None:
    assert any(thing["metadata"]["name"].startswith("deepseek-r1") for thing in moved.before["claims"])
    for collection, things in moved.after.items():
        assert [thing for thing in things if thing["metadata"]["name"].startswith("deepseek-r1")] == [], collection


# A replica on two nodes by Ray.


@pytest.fixture(scope="module", name="by_ray")
def by_ray_fixture(project: RehearsedProject, moved: Change) -> Change:
    """The model that went is back, by Ray: beside the old servers there would be no room for the new ones."""
    del moved
    model = yaml.safe_load((ROOT / "stacks/Pulumi.models.yaml").read_text())["config"]["llm-platform:models"]["deepseek-r1"]
    return _change(project, lambda models: models.update({"deepseek-r1": {**model, "multiNode": "rayService", "engine": RAY}}))


def test_ray_keeps_a_replica_together_as_well(by_ray: Change) -> None:
    assert set(_but_watching(by_ray.preview).values()) == {"create"}
    assert {"Release kuberay-controller", "RayService deepseek-r1-server"} <= set(by_ray.preview)
    pods = _servers(by_ray.after["pods"], "deepseek-r1")
    assert sorted(pod["metadata"]["labels"]["ray.io/node-type"] for pod in pods) == ["head", "worker"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"h200-0", "h200-1"}
    assert {_engine(pod)["image"] for pod in pods} == {RAY["image"]}
    assert all(is_ready(pod) for pod in pods)


@pytest.mark.parametrize("service", ["deepseek-r1", "deepseek-r1-replicas"])
def test_services_lead_to_the_port_of_ray_serve(service: str, project: RehearsedProject, by_ray: Change) -> None:
    with project.api() as api:
        slices = api.items(SLICES, f"kubernetes.io/service-name={service}")
    endpoints = [endpoint for each in slices for endpoint in each["endpoints"]]
    pods = {pod["metadata"]["name"] for pod in _servers(by_ray.after["pods"], "deepseek-r1")}
    assert {endpoint["targetRef"]["name"] for endpoint in endpoints} == pods
    assert all(endpoint["conditions"]["ready"] for endpoint in endpoints)
    for each in slices:
        assert [port["port"] for port in each["ports"] or []] == [8000], "a Service without a port answers nobody"


def test_after_all_changes_there_is_nothing_left_to_do(project: RehearsedProject, by_ray: Change) -> None:
    del by_ray
    assert project.changes() == {}
    code, output = project.run("verify", "--json")
    assert code == 0, output
    assert {outcome["model"] for outcome in json.loads(output)} == set(_models(project)) - {"deepseek-r1"}


def test_down_leaves_nothing(project: RehearsedProject) -> None:
    assert "no object, process or port is left" in project.succeed("down")
    assert project.processes() == []
