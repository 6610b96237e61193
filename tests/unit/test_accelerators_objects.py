"""What the two components make: the DaemonSets of device plugins, releases, and smoke tests."""

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from pulumi.runtime.mocks import MockMonitor

from components.accelerators import AcceleratorSupport, Owner, SmokeTest, Vendor, profile
from components.accelerators.device_plugin import OFFERS
from components.accelerators.smoke_test import smoke_spec
from components.inputs import InputError
from components.types import NodePool
from components.versions import GPU_OPERATOR, NVIDIA_DEVICE_PLUGIN, VLLM
from tests.contracts.examples import KUBECONFIG
from tests.recorder import Recording, record
from tests.unit.test_accelerators import MIG, TURNS, pool

DAEMON_SET, JOB, RELEASE = "kubernetes:apps/v1:DaemonSet", "kubernetes:batch/v1:Job", "kubernetes:helm.sh/v3:Release"
OWN_PLUGIN = {"image": "registry.example.com/npu-device-plugin:v1.0"}
WITH_PLUGIN = [vendor for vendor in Vendor if profile(vendor).plugin is not None]


def pool_of(vendor: Vendor, **settings: Any) -> NodePool:
    resource = (profile(vendor).resources or ("npu.example.com/chip",))[0]
    return pool(vendor.value, accelerator={"resource": resource, "per_node": 4}, **settings)


def supported(vendor: Vendor, *pools: NodePool, **settings: Any) -> Recording:
    args: dict[str, Any] = {"namespace_name": "accelerators", "vendor": vendor, "pools": [each.args() for each in pools]}
    if profile(vendor).plugin is not None and profile(vendor).plugin.image is None:  # type: ignore[union-attr]
        args["plugin"] = OWN_PLUGIN

    def program() -> None:
        cluster = kubernetes.Provider("cluster", kubeconfig=KUBECONFIG)
        AcceleratorSupport("support", args | settings, pulumi.ResourceOptions(providers=[cluster]))  # type: ignore[arg-type]

    return record(program)


def plugin_pod(vendor: Vendor, **settings: Any) -> dict[str, Any]:
    template: dict[str, Any] = supported(vendor, pool_of(vendor), **settings).one(DAEMON_SET).inputs["spec"]["template"]
    return template


# --- device plugins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", WITH_PLUGIN)
def test_a_plugin_reaches_the_kubelet_and_outlives_other_pods(vendor: Vendor) -> None:
    template = plugin_pod(vendor)
    spec = template["spec"]
    (container,) = spec["containers"]
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    mounted = {paths.get(mount["name"]): mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted["/var/lib/kubelet/device-plugins"] == "/var/lib/kubelet/device-plugins"
    assert spec["priorityClassName"] == "system-node-critical"
    offered = profile(vendor).resources or ("npu.example.com/chip",)
    assert template["metadata"]["annotations"] == {OFFERS: ",".join(offered)}


@pytest.mark.parametrize("vendor", WITH_PLUGIN)
def test_a_plugin_is_privileged_only_where_its_vendor_s_is(vendor: Vendor) -> None:
    security = plugin_pod(vendor)["spec"]["containers"][0]["securityContext"]
    if vendor in (Vendor.GAUDI, Vendor.REBELLIONS):
        assert security == {"privileged": True}
    else:
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("vendor", WITH_PLUGIN)
def test_only_a_plugin_with_permissions_has_credentials(vendor: Vendor) -> None:
    recording = supported(vendor, pool_of(vendor))
    spec = recording.one(DAEMON_SET).inputs["spec"]["template"]["spec"]
    bindings = recording.of("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding")
    assert spec["automountServiceAccountToken"] is bool(bindings) is (vendor is Vendor.NEURON)
    if bindings:
        (subject,) = bindings[0].inputs["subjects"]
        assert (subject["name"], subject["namespace"]) == (spec["serviceAccountName"], "accelerators")
        assert bindings[0].urn in recording.one(DAEMON_SET).dependencies


def test_rebellions_plugin_is_told_which_devices_to_offer_under_which_name() -> None:
    recording = supported(Vendor.REBELLIONS, pool_of(Vendor.REBELLIONS))
    settings = recording.one("kubernetes:core/v1:ConfigMap")
    assert settings.inputs["immutable"] is True
    assert '"resourceName": "ATOM"' in settings.inputs["data"]["config.json"]
    spec = recording.one(DAEMON_SET).inputs["spec"]["template"]["spec"]
    assert {"name": "config", "configMap": {"name": settings.outputs["metadata"]["name"]}} in spec["volumes"]
    mounts = spec["containers"][0]["volumeMounts"]
    assert {"name": "config", "mountPath": "/etc/pcidp", "readOnly": True} in mounts


def test_a_plugin_of_one_s_own_runs_as_its_owner_says() -> None:
    paths = ["/sys", "/dev/npu_0", "/sys", "/var/lib/kubelet/device-plugins"]
    asked = {**OWN_PLUGIN, "privileged": True, "args": ["--all"], "env": {"LEVEL": "info"}, "host_paths": paths}
    spec = plugin_pod(Vendor.CUSTOM, plugin=asked)["spec"]
    (container,) = spec["containers"]
    assert container["image"] == OWN_PLUGIN["image"]
    assert container["securityContext"] == {"privileged": True}
    assert container["args"] == ["--all"]
    assert container["env"] == [{"name": "LEVEL", "value": "info"}]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == set(paths)
    assert [each["name"] for each in spec["volumes"]] == ["var-lib-kubelet-device-plugins", "sys", "dev-npu-0"]


def test_another_image_of_a_vendor_s_plugin() -> None:
    image = "registry.example.com/rocm/k8s-device-plugin:1.31.0.10"
    assert plugin_pod(Vendor.AMD, plugin={"image": image})["spec"]["containers"][0]["image"] == image


def test_two_plugins_in_one_namespace_select_their_own_pods() -> None:
    def program() -> None:
        cluster = kubernetes.Provider("cluster", kubeconfig=KUBECONFIG)
        for name in ("a", "b"):
            resource = {"resource": f"npu.example.com/{name}", "per_node": 1}
            AcceleratorSupport(
                name,
                {
                    "namespace_name": "accelerators",
                    "vendor": Vendor.CUSTOM,
                    "pools": [pool(name, accelerator=resource).args()],
                    "plugin": {"image": "registry.example.com/npu-device-plugin:v1.0"},
                },
                pulumi.ResourceOptions(providers=[cluster]),
            )

    selectors = [each.inputs["spec"]["selector"] for each in record(program).of(DAEMON_SET)]
    assert selectors[0] != selectors[1]


# --- releases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "chart", "version"),
    [
        (Owner.DEVICE_PLUGIN, "nvidia-device-plugin", NVIDIA_DEVICE_PLUGIN),
        (Owner.OPERATOR, "gpu-operator", GPU_OPERATOR),
    ],
)
def test_nvidia_s_gpus_have_one_owner(owner: Owner, chart: str, version: str) -> None:
    recording = supported(Vendor.NVIDIA, pool(), owner=owner)
    release = recording.one(RELEASE).inputs
    assert (release["name"], release["chart"], release["version"]) == (chart, chart, version)
    assert (release["namespace"], release["atomic"]) == ("accelerators", True)
    assert recording.of(DAEMON_SET) == []


@pytest.mark.parametrize("owner", [Owner.DEVICE_PLUGIN, Owner.OPERATOR])
def test_an_owner_goes_before_another_comes(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[str] = []
    register = MockMonitor.RegisterResource

    def noted(self: MockMonitor, request: Any) -> Any:
        first.extend([request.name] if request.deleteBeforeReplace else [])
        return register(self, request)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(MockMonitor, "RegisterResource", noted)
    # One resource, which is replaced since its release has another name.
    assert supported(Vendor.NVIDIA, pool(), owner=owner).one(RELEASE).name == "support-owner"
    assert first == ["support-owner"]


def test_another_version_of_the_chart() -> None:
    release = supported(Vendor.NVIDIA, pool(), plugin={"chart_version": "0.20.1"}).one(RELEASE).inputs
    assert (release["version"], "image" in release["values"]) == ("0.20.1", False)


@pytest.mark.parametrize("vendor", Vendor)
def test_where_nobody_owns_them_nothing_is_made(vendor: Vendor) -> None:
    recording = supported(vendor, pool_of(vendor, ships_device_plugin=True), owner=Owner.NONE, plugin={})
    assert [each.type for each in recording.resources if each.on_kubernetes] == []
    assert recording.outputs[-1][1] == {"vendorName": vendor.value}


@pytest.mark.parametrize("path", ["/", "sys", "/var/../etc"])
def test_a_path_of_the_node_is_one(path: str) -> None:
    with pytest.raises(InputError, match=r"plugin\.host_paths\[0\]: .* is not a path below /"):
        supported(Vendor.CUSTOM, pool_of(Vendor.CUSTOM), plugin={**OWN_PLUGIN, "host_paths": [path]})


def test_what_is_refused_names_the_component() -> None:
    with pytest.raises(InputError, match=r"^AcceleratorSupport support: .*bring their device plugin") as refusal:
        supported(Vendor.NVIDIA, pool(ships_device_plugin=True))
    assert "\n" not in str(refusal.value)


# --- smoke tests ------------------------------------------------------------------------------------------------------


def smoke_pod(of: NodePool, **settings: Any) -> dict[str, Any]:
    spec: dict[str, Any] = smoke_spec(of, {}, deadline=600, **settings)["template"]["spec"]
    return spec


@pytest.mark.parametrize(
    ("sharing", "resource"), [(None, "nvidia.com/gpu"), (MIG, "nvidia.com/mig-3g.40gb"), (TURNS, "nvidia.com/gpu.shared")]
)
def test_a_test_takes_one_of_what_the_pool_offers(sharing: dict[str, Any] | None, resource: str) -> None:
    resources = smoke_pod(pool(sharing=sharing))["containers"][0]["resources"]
    for part in ("requests", "limits"):
        assert {key: value for key, value in resources[part].items() if "/" in key} == {resource: "1"}


def test_a_test_runs_where_and_as_models_do() -> None:
    there = pool(
        runtime_class_name="nvidia", accelerator={"resource": "nvidia.com/gpu", "per_node": 1, "device_groups": [44, 110]}
    )
    spec = smoke_pod(there)
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["tolerations"] == there.tolerations()
    assert spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == there.node_affinity()
    assert spec["securityContext"]["supplementalGroups"] == [44, 110]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["command"] == ["nvidia-smi"]


@pytest.mark.parametrize(("vendor", "image"), [(Vendor.AMD, "vllm-openai-rocm"), (Vendor.XPU, "vllm-openai-xpu")])
def test_tools_that_the_engine_s_image_has_run_in_it(vendor: Vendor, image: str) -> None:
    assert smoke_pod(pool_of(vendor))["containers"][0]["image"] == f"docker.io/vllm/{image}:v{VLLM}"


@pytest.mark.parametrize("vendor", [Vendor.GAUDI, Vendor.NEURON, Vendor.TPU, Vendor.REBELLIONS, Vendor.SAPEON, Vendor.CUSTOM])
def test_an_image_nobody_published_is_asked_for(vendor: Vendor) -> None:
    with pytest.raises(ValueError, match=r"^image is missing: .*name one with its tag"):
        smoke_pod(pool_of(vendor))


@pytest.mark.parametrize("vendor", [Vendor.SAPEON, Vendor.CUSTOM])
def test_a_tool_nobody_knows_is_asked_for(vendor: Vendor) -> None:
    with pytest.raises(ValueError, match=r"^command is missing"):
        smoke_pod(pool_of(vendor), image="registry.example.com/tools:v1")
    spec = smoke_pod(pool_of(vendor), image="registry.example.com/tools:v1", command=("npu-smi",))
    assert spec["containers"][0]["command"] == ["npu-smi"]


def test_a_test_is_awaited_and_runs_once() -> None:
    def program() -> None:
        cluster = kubernetes.Provider("cluster", kubeconfig=KUBECONFIG)
        SmokeTest("h100", {"namespace_name": "accelerators", "pool": pool().args()}, pulumi.ResourceOptions(providers=[cluster]))

    recording = record(program)
    job = recording.one(JOB)
    assert job.inputs["spec"]["activeDeadlineSeconds"] == 1800
    assert "pulumi.com/skipAwait" not in job.inputs["metadata"].get("annotations", {})
    # Changed, or cleaned up and made again, it would wait for an accelerator that models have.
    assert job.ignored == {"spec"}
    assert "ttlSecondsAfterFinished" not in job.inputs["spec"]
    assert recording.outputs[-1][1] == {"poolName": "h100"}


@pytest.mark.parametrize("settings", [{"image": "registry.example.com/tools"}, {"pool": pool(accelerator=None).args()}])
def test_a_test_that_cannot_run_is_refused(settings: dict[str, Any]) -> None:
    def program() -> None:
        args: Any = {"namespace_name": "accelerators", "pool": pool().args()} | settings
        SmokeTest("h100", args)

    with pytest.raises(InputError, match=r"^SmokeTest h100: "):
        record(program)
