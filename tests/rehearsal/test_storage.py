"""Every kind of model cache on a real control plane: it comes up, stays, and a new revision leaves the old data there."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.storage import BlockStorageClass, ModelCache, ModelCacheArgs, ModelDownload, ModelDownloadArgs
from sandbox.control_plane import ControlPlane, NodeGroup
from tests.contracts.examples import KEY_ARN, POOL
from tests.rehearsal.kubernetes_support import Api, StackUnderTest

pytestmark = pytest.mark.rehearsal

SOURCE, FIRST, SECOND = "Qwen/Qwen2.5-7B-Instruct-AWQ", "a" * 40, "b" * 40
CLAIMS = "/api/v1/namespaces/models/persistentvolumeclaims"
JOBS = "/apis/batch/v1/namespaces/models/jobs"
VOLUMES = "/api/v1/persistentvolumes"
CONFIG_MAPS = "/api/v1/namespaces/models/configmaps"

Place = Callable[[pulumi.ResourceOptions], dict[str, Any]]


def _block(options: pulumi.ResourceOptions) -> dict[str, Any]:
    made = BlockStorageClass("fast", {"kms_key_arn": KEY_ARN, "throughput_mib_per_second": 1000}, options)
    return {"block": {"storage_class_name": made.class_name}}


def _lustre(_: pulumi.ResourceOptions) -> dict[str, Any]:
    attributes = {"dnsname": "fs-0.fsx.us-east-1.amazonaws.com", "mountname": "abc"}
    return {
        "volume": {"driver": "fsx.csi.aws.com", "handle": "fs-0", "attributes": attributes, "prepare_namespace_name": "agents"}
    }


PLACES: dict[str, Place] = {
    "node-disk": lambda _: {
        "node_disk": {"host_path": "/var/lib/models/qwen", "node_agents_namespace_name": "agents", "pool": POOL}
    },
    "block": _block,
    "efs": lambda _: {"volume": {"driver": "efs.csi.aws.com", "handle": "fs-0::fsap-0"}},
    "nfs": lambda _: {"nfs": {"server": "nas.example.org", "path": "/models", "mount_options": ["nfsvers=4.1"]}},
    "lustre": _lustre,
    "bucket": lambda _: {
        "volume": {
            "driver": "s3.csi.aws.com",
            "handle": "models-qwen",
            "attributes": {"bucketName": "models", "authenticationSource": "pod"},
            "mount_options": ["read-only", "prefix models/qwen/"],
            "read_only": True,
        }
    },
}
ON_NODES = ("node-disk", "block")


@pytest.fixture(scope="module", name="plane")
def plane_fixture(tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Path]) -> Iterator[ControlPlane]:
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    plane = ControlPlane("storage", tmp_path_factory.mktemp("storage"))
    groups = [
        NodeGroup(name="system", cpu=8, memory="32Gi"),
        NodeGroup(name="l4", instance_type="g6.xlarge", taints=[taint]),
    ]
    plane.start(binaries, groups)
    api = Api(plane.kubeconfig)
    for name, level in (("models", "restricted"), ("agents", "privileged")):
        labels = {"pod-security.kubernetes.io/enforce": level}
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    yield plane
    plane.reset()


class Cache:
    """A stack with one cache and its download."""

    def __init__(self, kind: str, plane: ControlPlane, folder: Path, pulumi_bin: Path) -> None:
        self.kind, self.api = kind, Api(plane.kubeconfig)
        self.kubeconfig = plane.kubeconfig.read_text()
        self.stack = StackUnderTest(folder, pulumi_bin, kind)

    def program(self, revision: str = FIRST, size_gib: int = 10, retain: bool = False) -> Callable[[], None]:
        def run() -> None:
            provider = k8s.Provider("cluster", kubeconfig=self.kubeconfig, cluster_identifier="test")
            options = pulumi.ResourceOptions(provider=provider)
            place: ModelCacheArgs = {"namespace_name": "models", "size_gib": size_gib, "retain": retain}
            cache = ModelCache(self.kind, {**place, **PLACES[self.kind](options)}, options)  # type: ignore[typeddict-item]
            wanted: ModelDownloadArgs = {
                "namespace_name": "models",
                "source": SOURCE,
                "revision": revision,
                "weights_gib": 5.2,
                "adapters": {"german": {"source": "acme/german", "revision": FIRST, "rank": 16}},
                "token_secret": {"name": "hugging-face", "key": "token"},
            }
            if self.kind == "bucket":
                wanted |= {"bucket_location": "s3://models/models/qwen", "seen_at": "/models", "service_account_name": "default"}
            else:
                wanted["claim_name"] = cache.claim_name
            if self.kind in ON_NODES:
                wanted["pool"] = POOL
            download = ModelDownload(self.kind, wanted, options)
            pulumi.export("path", download.model_path)
            pulumi.export("adapters", download.adapter_paths)
            pulumi.export("claim", cache.claim_name)

        return run

    def output(self, name: str) -> Any:
        return self.stack.state()[f"test-{self.kind}"]["outputs"][name]

    def own(self, path: str) -> list[dict[str, Any]]:
        label = "app.kubernetes.io/instance"
        items = self.api.call("GET", path)["items"]
        return [item for item in items if item["metadata"].get("labels", {}).get(label) == self.kind]

    def bound_to(self, claim: str) -> dict[str, Any]:
        name = self.api.call("GET", f"{CLAIMS}/{claim}")["spec"]["volumeName"]
        return self.api.call("GET", f"{VOLUMES}/{name}")


@pytest.fixture(name="cache")
def cache_fixture(request: pytest.FixtureRequest, plane: ControlPlane, tmp_path: Path, pulumi_bin: Path) -> Iterator[Cache]:
    cache = Cache(request.param, plane, tmp_path, pulumi_bin)
    yield cache
    cache.stack.destroy()


def _claim(cache: Cache) -> dict[str, Any]:
    (found,) = cache.own(CLAIMS)
    return found


@pytest.mark.parametrize("cache", list(PLACES), indirect=True)
def test_it_comes_up_stays_and_keeps_the_old_data_beside_a_new_revision(cache: Cache) -> None:
    first = cache.stack.up(cache.program())
    assert first.succeeded, first.output
    (job,) = cache.own(JOBS)
    assert job["status"]["succeeded"] == 1
    mounted = [volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"] if "persistentVolumeClaim" in volume]
    assert mounted == ([] if cache.kind == "bucket" else ["models"])
    if cache.kind != "bucket":
        claim = _claim(cache)
        assert claim["status"]["phase"] == "Bound"
        volume = cache.bound_to(claim["metadata"]["name"])
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"

    again = cache.stack.up(cache.program())
    assert again.succeeded, again.output
    assert {op for ops in again.operations.values() for op in ops} == {"same"}

    changed = cache.stack.up(cache.program(SECOND))
    assert changed.succeeded, changed.output
    kinds = {name: ops for name, ops in changed.operations.items() if set(ops) != {"same"}}
    assert {name.removeprefix(f"{cache.kind}-") for name in kinds} == {"job", "program"}
    (next_job,) = cache.own(JOBS)
    assert next_job["metadata"]["name"] != job["metadata"]["name"]
    (wishes,) = cache.own(CONFIG_MAPS)
    assert SECOND in wishes["data"]["wishes.json"]
    assert FIRST in wishes["data"]["wishes.json"], "the adapter keeps its revision"
    if cache.kind != "bucket":
        assert _claim(cache)["metadata"]["uid"] == claim["metadata"]["uid"]
        assert cache.bound_to(claim["metadata"]["name"])["metadata"]["uid"] == volume["metadata"]["uid"]


@pytest.mark.parametrize("cache", ["nfs", "block"], indirect=True)
def test_a_cache_grows(cache: Cache) -> None:
    assert cache.stack.up(cache.program()).succeeded
    before = _claim(cache)["metadata"]["uid"]
    grown = cache.stack.up(cache.program(size_gib=20))
    assert grown.succeeded, grown.output
    claim = _claim(cache)
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    # Nobody grows a volume that nobody provisioned: it is another one over the same directory.
    assert (claim["metadata"]["uid"] == before) == (cache.kind == "block")


@pytest.mark.parametrize("cache", ["block"], indirect=True)
def test_a_block_volume_does_not_shrink_and_is_left_where_that_is_asked_for(cache: Cache) -> None:
    assert cache.stack.up(cache.program(size_gib=20, retain=True)).succeeded
    name = _claim(cache)["metadata"]["name"]
    shrunk = cache.stack.preview(cache.program(size_gib=10, retain=True))
    assert not shrunk.succeeded
    (told,) = shrunk.errors
    assert "spec.resources.requests.storage: Forbidden: field can not be less than" in told
    assert cache.stack.destroy().succeeded
    assert cache.api.find(f"{CLAIMS}/{name}") is not None
    assert cache.bound_to(name)["status"]["phase"] == "Bound"
    cache.api.call("DELETE", f"{CLAIMS}/{name}")
