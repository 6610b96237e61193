"""The decisions about where models lie, as pure functions, and what the models of a stack get of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.base import labels
from components.inputs import InputError
from components.serving.groups import Load
from components.serving.image_prepull import PAUSE_IMAGE, prepull_spec
from components.storage import (
    ModelCache,
    ModelDownload,
    cache_check_container,
    check_token,
    compile_cache,
    compile_key,
    keeps_compiled,
    load_settings,
)
from components.storage.download_job import Around, download_job, job_name, program, wishes
from components.storage.model_cache import check_one_reader
from components.types import NodePool, SecretKey
from planner.cold_start import storages
from settings.aws import BlockSettings, StorageSettings
from settings.cache import CacheKind, CacheSettings, check_cache, provisioned_mb_per_s
from tests.contracts.examples import POOL
from tests.recorder import Recording, Registration, record
from tests.stacks.program import build

ONE = NodePool.model_validate(POOL)
MANY = NodePool.model_validate(POOL | {"max_nodes": 3})
SOURCE, REVISION = "Qwen/Qwen2.5-7B-Instruct-AWQ", "b" * 40


@pytest.mark.parametrize("backend", [backend.name for backend in storages()])
@pytest.mark.parametrize("tensor", [1, 4])
def test_every_backend_is_read_as_suits_it_and_never_by_code_that_runs_weights(backend: str, tensor: int) -> None:
    load = Load.model_validate(load_settings(backend, 130, tensor))
    streams = backend == "s3-streamer"
    assert load.format == ("runai_streamer" if streams else "safetensors")
    assert load.distributed == (True if streams and tensor > 1 else None)
    eager = {"efs", "nfs", "fsx-lustre", "s3-mountpoint"}
    assert load.strategy == ("eager" if backend in eager else "prefetch" if backend == "block-gp3" else None)


@pytest.mark.parametrize(("gib", "streams"), [(5.2, 16), (130, 35), (640, 172)])
def test_a_large_model_is_streamed_in_more_streams(gib: float, streams: int) -> None:
    assert load_settings("s3-streamer", gib)["concurrency"] == streams


@pytest.mark.parametrize(
    ("pool", "replicas", "nodes", "fault"),
    [
        (ONE, 2, 1, None),
        (MANY, 1, 1, None),
        (MANY, 2, 1, "but 2 replicas can need it on several of the 3 nodes of pool l4; use replicas: 1 on one node, or a cache"),
        (MANY, 1, 2, "but a replica of 2 nodes can need it on several of the 3 nodes of pool l4"),
    ],
)
def test_a_block_volume_has_one_node_at_a_time(pool: NodePool, replicas: int, nodes: int, fault: str | None) -> None:
    if fault is None:
        check_one_reader(pool, replicas, nodes)
    else:
        with pytest.raises(ValueError, match=fault):
            check_one_reader(pool, replicas, nodes)


@pytest.mark.parametrize(
    ("cache", "storage", "replicas", "fault"),
    [
        ({"kind": "block"}, None, 1, "kind block needs storage.block, .* or name a storageClass of the cluster, e.g. local-path"),
        ({"kind": "block", "storage_class": "local-path"}, None, 1, None),
        ({"kind": "block", "storage_class": "local-path"}, None, 2, "a block volume is attached to one node at a time"),
        ({"kind": "block"}, StorageSettings(block=BlockSettings()), 1, None),
        ({"kind": "efs"}, StorageSettings(), 1, "kind efs needs storage.efs, .*; add storage.efs: {} there, or use another kind"),
        ({"kind": "lustre"}, StorageSettings(), 1, "kind lustre needs storage.lustre"),
        ({"kind": "s3Mount"}, None, 2, "kind s3Mount needs storage.bucket"),
        ({"kind": "nfs", "server": "nas.example.org", "export": "/models"}, None, 3, None),
        ({}, None, 1, "a cache on a node's disk is on one node only, but pool l4 grows to 3; use a pool with maxNodes: 1"),
        (
            {"kind": "nfs", "server": "nas.example.org", "export": "/models", "mirror": "models/qwen"},
            StorageSettings(),
            1,
            "mirror is a place in storage.bucket; add storage.bucket: {}",
        ),
    ],
)
def test_the_stack_must_have_the_place(
    cache: dict[str, Any], storage: StorageSettings | None, replicas: int, fault: str | None
) -> None:
    settings = CacheSettings(**cache)
    if fault is None:
        check_cache(settings, storage, MANY, replicas)
    else:
        with pytest.raises(ValueError, match=f"^{fault}"):
            check_cache(settings, storage, MANY, replicas)


@pytest.mark.parametrize(
    ("cache", "fault"),
    [
        ({"kind": "efs", "path": "/var/lib/models"}, "path is of kind hostPath; remove it, or use kind: hostPath"),
        ({"kind": "efs", "storageClass": "gp3"}, "storageClass is of kind block; remove it, or use kind: block"),
        ({"kind": "nfs", "server": "nas"}, "kind nfs needs server and export, e.g. server: nas.example.org and export: /models"),
        ({"kind": "s3Mount", "mirror": "models/qwen"}, "mirror: kind s3Mount is a bucket already; remove mirror"),
    ],
)
def test_a_setting_of_another_kind_is_told(cache: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        CacheSettings.model_validate(cache)


def test_every_kind_is_a_backend_of_the_planner_and_bought_throughput_counts() -> None:
    known = {backend.name: backend for backend in storages()}
    nfs = {"server": "nas", "export": "/models"}
    caches = {kind: CacheSettings(kind=kind, **(nfs if kind is CacheKind.NFS else {})) for kind in CacheKind}
    assert {cache.backend for cache in caches.values()} == set(known)
    assert {kind for kind, cache in caches.items() if cache.exclusive} == {
        kind for kind, cache in caches.items() if known[cache.backend].exclusive
    }
    fast = StorageSettings(block=BlockSettings(throughput_mib_per_second=2000))
    bought = provisioned_mb_per_s(caches[CacheKind.BLOCK], fast)
    assert bought is not None
    assert known["block-gp3"].rate(1, bought) == 2097
    assert provisioned_mb_per_s(caches[CacheKind.EFS], fast) is None


@pytest.mark.parametrize("source", ["meta-llama/Llama-3.3-70B-Instruct", "google/gemma-3-27b-it"])
def test_a_gated_repository_needs_a_token(source: str) -> None:
    assert check_token(source, True) is None
    assert check_token(source, False) == (
        f"{source} is gated: its files need a token of an account that accepted the terms on huggingface.co/{source}; "
        "put one into a Secret and name that, e.g. tokenSecret: {name: hugging-face, key: token}"
    )
    assert check_token(SOURCE, False) is None


def _names(*variants: dict[str, Any]) -> list[str]:
    """The names of downloads that differ in that."""
    found: list[str] = []

    def run() -> None:
        for variant in variants:
            repository = {"source": SOURCE, "revision": variant.get("revision", REVISION), "adapter": None}
            data = program(wishes(variant.get("to", "/models"), None, variant.get("exclude", ()), [repository]))
            around = Around(image=variant.get("image", "engine:1"), config_map="a", service_account="b", claim_name="c")
            job_name("qwen", download_job(around, 60, {}), data).apply(found.append)

    record(run)
    return found


def test_a_download_is_another_one_with_any_other_input_and_only_then() -> None:
    changes: list[dict[str, Any]] = [{"revision": "c" * 40}, {"image": "engine:2"}, {"exclude": ("a*",)}, {"to": "s3://b/c"}]
    first, again, *others = _names({}, {}, *changes)
    assert first == again
    assert len({first, *others}) == len(others) + 1
    assert first.startswith("qwen-download-")


def test_a_download_is_restricted_keeps_its_token_in_a_file_and_gives_up_only_for_good_reason() -> None:
    token = SecretKey(name="hugging-face", key="token")
    spec = download_job(Around(image="e", config_map="a", service_account="b", claim_name="c", token=token), 600, {})
    assert "ttlSecondsAfterFinished" not in spec
    assert spec["activeDeadlineSeconds"] == 600
    given_up, ignored = spec["podFailurePolicy"]["rules"]
    assert given_up["onExitCodes"]["values"] == [64]
    assert ignored["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    pod = spec["template"]["spec"]
    # Pods that a policy on exit codes judges are not restarted in place (Kubernetes, batch/v1 validation).
    assert pod["restartPolicy"] == "Never"
    assert "affinity" not in pod
    assert "tolerations" not in pod
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["HF_TOKEN_PATH"] == "/run/secrets/hugging-face/token"
    assert "HF_TOKEN" not in environment
    assert {"name": "models", "mountPath": "/models"} in container["volumeMounts"]
    on_node = download_job(Around(image="e", config_map="a", service_account="b", claim_name="c", pool=ONE), 600, {})
    assert on_node["template"]["spec"]["tolerations"]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"exclude": ["*"]}, r"exclude: \* would leave no model; use a narrower pattern, e.g. consolidated\*"),
        ({"exclude": ["*.safetensors"]}, "safetensors would leave no model"),
        ({"exclude": ["config.json"]}, "config.json would leave no model"),
        ({"include": ["*.bin"]}, "include is not a known setting"),
        ({"bucket_location": "s3://bucket/models", "service_account_name": "writer"}, "a download has one target; give either"),
        ({"mirror": "s3://bucket/models"}, "service_account_name is missing; a bucket takes an identity"),
    ],
)
def test_a_download_can_only_be_asked_for_less(more: dict[str, Any], fault: str) -> None:
    args: Any = {"namespace_name": "models", "source": SOURCE, "revision": REVISION, "weights_gib": 5.2, "claim_name": "cache"}

    def run() -> None:
        ModelDownload("x", args | more)

    with pytest.raises(InputError, match=fault):
        record(run)


def test_a_cache_is_in_one_place() -> None:
    args: Any = {"namespace_name": "models", "size_gib": 1, "nfs": {"server": "n", "path": "/m"}}

    def run() -> None:
        ModelCache("x", args | {"block": {"storage_class_name": "fast"}})

    with pytest.raises(InputError, match="a model lies in one place; give one of volume, node_disk, block and nfs"):
        record(run)


def test_what_was_compiled_belongs_to_one_model_one_image_and_one_kind_of_card() -> None:
    assert keeps_compiled(True, 1)
    assert not keeps_compiled(False, 1)
    assert not keeps_compiled(True, 2), "two engines would write at the same time"
    assert not keeps_compiled(True, 1, nodes=2)
    keys = {compile_key(image, card) for image in ("e:1", "e:2") for card in ("L4", "H100")}
    assert len(keys) == 4
    cache = compile_cache("claim", "e:1", "L4")
    assert cache.environment["VLLM_CACHE_ROOT"] == f"{cache.mount['mountPath']}/{compile_key('e:1', 'L4')}"
    assert "subPath" not in cache.mount, "the kubelet would make it for root"


def test_containers_of_ours_meet_pod_security() -> None:
    check = cache_check_container("engine:1", ["/models/a"])
    assert check["args"] == ["/models/a"]
    pods = prepull_spec(("engine:1", "engine:2"), ONE, labels("image-prepull", "l4", "serving"))["template"]["spec"]
    pulled, (pause,) = pods["initContainers"], pods["containers"]
    assert [each["image"] for each in pulled] == ["engine:1", "engine:2"]
    assert pause["image"] == PAUSE_IMAGE
    assert pods["securityContext"]["runAsNonRoot"] is True
    for container in (check, pause, *pulled):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


# What the models of a stack get

MODEL = "qwen2-5-7b"
CLAIM, VOLUME = "kubernetes:core/v1:PersistentVolumeClaim", "kubernetes:core/v1:PersistentVolume"
JOB, SERVER, CLASS = "kubernetes:batch/v1:Job", "kubernetes:apps/v1:Deployment", "kubernetes:storage.k8s.io/v1:StorageClass"
POLICY, ASSOCIATION = "aws:iam/rolePolicy:RolePolicy", "aws:eks/podIdentityAssociation:PodIdentityAssociation"


def _stack(cache: dict[str, Any], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Staging, with its small model in that cache."""

    def edit(config: dict[str, Any]) -> None:
        model = config["llm-platform:models"][MODEL]
        del model["scaling"]  # not every cache is for several servers
        config["llm-platform:models"] = {MODEL: model | {"cache": cache}}
        del config["llm-platform:secrets"]  # of another model
        lustre = {"zone": "us-east-1a", "capacityGib": 1200}
        config["llm-platform:storage"] = {"efs": {}, "lustre": lustre, "bucket": {}, "block": {"throughputMibPerSecond": 500}}

    return build("staging", root, tmp_path, monkeypatch, edit=edit)


def _of_model(recording: Recording, token: str) -> list[Registration]:
    return [found for found in recording.of(token) if found.name.startswith(MODEL)]


def _server(recording: Recording) -> dict[str, Any]:
    (found,) = _of_model(recording, SERVER)
    spec: dict[str, Any] = found.inputs["spec"]["template"]["spec"]
    return spec


def _download(recording: Recording) -> dict[str, Any]:
    (found,) = [job for job in _of_model(recording, JOB) if job.name == f"{MODEL}-job"]
    spec: dict[str, Any] = found.inputs["spec"]["template"]["spec"]
    return spec


def _arguments(spec: dict[str, Any]) -> list[str]:
    return [str(word) for word in spec["containers"][0]["args"]]


@pytest.mark.parametrize("kind", ["efs", "lustre", "block", "s3Mount"])
def test_a_mounted_model_is_read_only_and_looked_at_before_its_server_starts(
    kind: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = _stack({"kind": kind}, root, tmp_path, monkeypatch)
    server = _server(recording)
    (models,) = [volume for volume in server["volumes"] if volume["name"] == "models"]
    assert models["persistentVolumeClaim"]["readOnly"] is True
    checks = [container for container in server["initContainers"] if container["name"] == "cache-check"]
    assert [container["args"] for container in checks] == [[_arguments(server)[0]]]
    assert _arguments(server)[0].startswith("/models/Qwen--Qwen2.5-7B-Instruct-AWQ/")
    claims = {claim.name: claim for claim in _of_model(recording, CLAIM)}
    assert claims[f"{MODEL}-claim"].retain
    volumes = {volume.name: volume.inputs["spec"] for volume in _of_model(recording, VOLUME)}
    assert all(volume["persistentVolumeReclaimPolicy"] == "Retain" for volume in volumes.values())
    # What every node reaches is fetched by any node; the nodes with accelerators have other things to do.
    assert ("tolerations" in _download(recording)) == (kind == "block")
    if kind == "block":
        assert volumes == {}
        (made,) = (found for found in recording.of(CLASS) if found.name == "models-class")
        wanted = {"type": "gp3", "encrypted": "true", "throughput": "500", "iops": "3000"}
        assert wanted.items() <= made.inputs["parameters"].items()
        assert made.inputs["reclaimPolicy"] == "Retain"
        assert made.inputs["volumeBindingMode"] == "WaitForFirstConsumer"
        assert f"{MODEL}-compiled-claim" in claims
        (strategy,) = [found.inputs["spec"]["strategy"]["type"] for found in _of_model(recording, SERVER)]
        assert strategy == "Recreate"
    if kind == "lustre":
        assert volumes[f"{MODEL}-volume"]["csi"]["volumeAttributes"].keys() == {"dnsname", "mountname"}
        (prepare,) = [job for job in _of_model(recording, JOB) if job.name == f"{MODEL}-prepare"]
        assert prepare.inputs["metadata"]["namespace"].startswith("node-agents")


def _statements(recording: Recording, role: str) -> list[dict[str, Any]]:

    (policy,) = [found for found in recording.of(POLICY) if found.name == f"{MODEL}-{role}-policy"]
    return list(json.loads(policy.inputs["policy"])["Statement"])


@pytest.mark.parametrize("kind", ["s3Mount", "s3Stream"])
def test_a_model_in_the_bucket_is_read_by_one_identity_and_written_by_another(
    kind: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = _stack({"kind": kind}, root, tmp_path, monkeypatch)
    server, download = _server(recording), _download(recording)
    assert server["serviceAccountName"].startswith(f"{MODEL}-reader")
    assert download["serviceAccountName"].startswith(f"{MODEL}-writer")
    actions = {
        role: {action for statement in _statements(recording, role) for action in statement["Action"]}
        for role in ("reader", "writer")
    }
    assert "s3:GetObject" in actions["reader"]
    assert not {action for action in actions["reader"] if "Put" in action or "Delete" in action}
    assert "s3:PutObject" in actions["writer"]
    for role in ("reader", "writer"):
        (objects,) = [each for each in _statements(recording, role) if "s3:GetObject" in each["Action"]]
        assert str(objects["Resource"]).endswith(f"/models/{MODEL}/*")
    addons = {found.inputs["addonName"] for found in recording.of("aws:eks/addon:Addon")}
    assert ("aws-mountpoint-s3-csi-driver" in addons) == (kind == "s3Mount")
    assert not any("persistentVolumeClaim" in volume for volume in download["volumes"])
    words = _arguments(server)
    if kind == "s3Stream":
        assert not any(volume["name"] == "models" for volume in server["volumes"])
        assert words[0].startswith("s3://")
        assert words[words.index("--load-format") + 1] == "runai_streamer"
        assert _of_model(recording, CLAIM) == []
    else:
        assert words[words.index("--safetensors-load-strategy") + 1] == "eager"
        (volume,) = _of_model(recording, VOLUME)
        assert volume.inputs["spec"]["accessModes"] == ["ReadOnlyMany"]
        assert f"prefix models/{MODEL}/" in volume.inputs["spec"]["mountOptions"]
        assert volume.inputs["spec"]["csi"]["volumeAttributes"]["authenticationSource"] == "pod"


def test_a_mirror_is_read_by_the_download_alone(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = _stack({"kind": "efs", "mirror": "models/shared"}, root, tmp_path, monkeypatch)
    assert _download(recording)["serviceAccountName"].startswith(f"{MODEL}-mirror-reader")
    assert not _server(recording)["serviceAccountName"].startswith(f"{MODEL}-mirror")
    assert [found.name for found in recording.of(ASSOCIATION) if f"{MODEL}-writer" in found.name] == []
