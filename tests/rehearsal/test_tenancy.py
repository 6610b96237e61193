"""What a tenant and those who deploy for it can do on a real API server, and what they cannot."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest

from components.pods import restricted_container, restricted_pod
from components.security import Namespace, PodSecurityLevel, PriorityClasses, PriorityClassesArgs, Tenant
from sandbox.control_plane import ControlPlane
from sandbox.providers.kubernetes.client import ApiError, Cluster
from tests.rehearsal.kubernetes_support import Api, StackUnderTest
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

GPU, MIG = "nvidia.com/gpu", "nvidia.com/mig-3g.40gb"
GROUP, HOME, BASELINE = "research-deployers", "research", "controllers"
PART_OF = {"app.kubernetes.io/part-of": "llm-platform"}


@dataclass
class Deployer:
    """Somebody of the tenant's group, by impersonation."""

    kubeconfig: Path

    def call(self, method: str, path: str, body: Any = None, **params: str) -> dict[str, Any]:
        headers = {"Impersonate-User": "ada", "Impersonate-Group": GROUP}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"

        async def request() -> dict[str, Any]:
            return dict(await Cluster(str(self.kubeconfig)).request(method, path, params=params, body=body, headers=headers))

        return asyncio.run(request())

    def create(self, path: str, name: str, spec: Any = None, **more: Any) -> dict[str, Any]:
        body = {"metadata": {"name": name, **more.pop("metadata", {})}, **({} if spec is None else {"spec": spec}), **more}
        return self.call("POST", where(path), body)

    def probe(self, path: str, spec: Any, name: str = "probe") -> None:
        """Asks for an object without getting it."""
        self.call("POST", where(path), {"metadata": {"name": name}, "spec": spec}, dryRun="All")


@dataclass
class Tenancy:
    """A stack with a tenant, and the names it gave."""

    stack: StackUnderTest
    api: Api
    deployer: Deployer
    kubeconfig: str
    classes: dict[str, str] = field(default_factory=dict)
    priorities: PriorityClassesArgs = field(default_factory=PriorityClassesArgs)
    group: str = GROUP

    def program(self) -> None:
        provider = kubernetes.Provider("cluster", kubeconfig=self.kubeconfig, cluster_identifier="test")
        inside = pulumi.ResourceOptions(provider=provider)
        classes = PriorityClasses("priorities", self.priorities, opts=inside)
        tenant = Tenant(
            HOME,
            {
                "tenant": HOME,
                "namespaces": {
                    HOME: {"accelerators": {GPU: 4}, "secrets": ["registry"], "service_accounts": ["reporter"]},
                    "spare": {},
                },
                "accelerator_resources": [GPU, MIG],
                "kubernetes_version": "1.36",
                "priority_classes": [classes.batch_name],
                "deployer_groups": [self.group],
            },
            opts=inside,
        )
        Namespace(
            BASELINE,
            {"namespace_name": BASELINE, "level": PodSecurityLevel.BASELINE, "kubernetes_version": "1.36"},
            opts=inside,
        )
        for namespace, name in tenant.namespace_names.items():
            pulumi.export(f"namespace-{namespace}", name)
        pulumi.export("serving", classes.serving_name)
        pulumi.export("batch", classes.batch_name)


def where(path: str, namespace: str = HOME) -> str:
    """`apps/v1/deployments` as a path in a namespace."""
    group, _, plural = path.rpartition("/")
    return f"/{'api' if group == 'v1' else 'apis'}/{group}/namespaces/{namespace}/{plural}"


def pod_spec(container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    """A pod that *restricted* admits."""
    main = {"name": "main", "image": "registry.k8s.io/pause:3.10", "securityContext": restricted_container()}
    return {"securityContext": restricted_pod(), "containers": [main | (container or {})], **pod}


def template(labels: dict[str, str] | None = None, container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "mine", **(labels or {})}}, "spec": pod_spec(container, **pod)}


def deployment(made: dict[str, Any], replicas: int = 0) -> dict[str, Any]:
    return {"replicas": replicas, "selector": {"matchLabels": {"app": "mine"}}, "template": made}


@contextmanager
def refused(*parts: str) -> Iterator[None]:
    """The API server refuses, and says all this."""
    with pytest.raises(ApiError) as error:
        yield
    assert error.value.code in (403, 422), error.value
    for part in parts:
        assert part in str(error.value)


@pytest.fixture(scope="module", name="tenancy")
def tenancy_fixture(tmp_path_factory: pytest.TempPathFactory, pulumi_bin: Path, control_plane: ControlPlane, api: Api) -> Tenancy:
    """A stack that is up; the last test takes it down."""
    stack = StackUnderTest(tmp_path_factory.mktemp("tenancy"), pulumi_bin)
    tenancy = Tenancy(stack, api, Deployer(control_plane.kubeconfig), control_plane.kubeconfig.read_text())
    up = stack.up(tenancy.program)
    assert up.succeeded, up.errors
    made = stack.state()["rehearsal-test"]["outputs"]
    tenancy.classes = {role: made[role] for role in ("serving", "batch")}
    assert made["namespace-spare"] == "spare"
    # The API server learns of policies by watching them.
    eventually(lambda: not admitted(tenancy.deployer, "apps/v1/deployments", deployment(template(PART_OF))))
    return tenancy


def admitted(deployer: Deployer, path: str, spec: Any, name: str = "probe") -> bool:
    """Whether an object could be made."""
    try:
        deployer.probe(path, spec, name)
    except ApiError as error:
        if error.code not in (403, 422):
            raise
        return False
    return True


def test_a_second_run_changes_nothing(tenancy: Tenancy) -> None:
    again = tenancy.stack.up(tenancy.program, expect_no_changes=True)
    assert again.succeeded, (again.errors, again.changed)


def test_another_priority_is_another_class_beside_the_old_one(tenancy: Tenancy) -> None:
    changed = replace(tenancy, priorities={"serving_value": 2_000_000})
    run = tenancy.stack.preview(changed.program)
    assert run.succeeded, run.errors
    assert run.operations["priorities-serving"] == ["create-replacement", "replace", "delete-replaced"]
    assert run.operations["priorities-batch"] == ["same"]


def test_who_deploys_no_more_is_held_until_the_rights_are_gone(tenancy: Tenancy) -> None:
    """The policies of before go last, or an update that stops would leave rights without them."""
    run = tenancy.stack.preview(replace(tenancy, group="others").program)
    assert run.succeeded, run.errors
    for made in ("policy-content", "binding-content", "policy-claims", "binding-claims"):
        assert run.operations[f"{HOME}-{made}"] == ["create-replacement", "replace", "delete-replaced"]
    assert run.operations[f"{HOME}-deployers-{HOME}"] == ["update"]


def test_the_default_account_gives_pods_no_token(tenancy: Tenancy) -> None:
    for namespace in (HOME, "spare", BASELINE):
        account = tenancy.api.call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        assert account["automountServiceAccountToken"] is False


def test_containers_that_say_nothing_get_something(tenancy: Tenancy) -> None:
    stated = {"requests": {"cpu": "2", "memory": "8Gi", "ephemeral-storage": "4Gi"}, "limits": {"memory": "8Gi"}}
    stated["limits"]["ephemeral-storage"] = "4Gi"

    def resources(namespace: str, container: dict[str, Any]) -> Any:
        made = tenancy.api.call(
            "POST", where("v1/pods", namespace), {"metadata": {"name": "p"}, "spec": pod_spec(container)}, dryRun="All"
        )
        return made["spec"]["containers"][0]["resources"]

    assert resources(HOME, {}) == {
        "requests": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "256Mi"},
        "limits": {"memory": "1Gi", "ephemeral-storage": "2Gi"},
    }
    assert resources(HOME, {"resources": stated}) == stated
    assert resources(BASELINE, {}) == {}


def test_the_quota_ends_where_the_grant_does(tenancy: Tenancy) -> None:
    def ask(name: str, namespace: str, resource: str, count: int) -> None:
        spec = pod_spec({"resources": {"limits": {resource: str(count)}}})
        tenancy.api.call("POST", where("v1/pods", namespace), {"metadata": {"name": name}, "spec": spec})

    ask("three", HOME, GPU, 3)
    ask("one", HOME, GPU, 1)
    with refused("exceeded quota", "requests.nvidia.com/gpu=1", "used: requests.nvidia.com/gpu=4"):
        ask("fifth", HOME, GPU, 1)
    with refused("exceeded quota", f"requests.{MIG}=1"):
        ask("slice", HOME, MIG, 1)
    with refused("exceeded quota", "requests.nvidia.com/gpu=1"):
        ask("elsewhere", "spare", GPU, 1)
    for name in ("three", "one"):
        tenancy.api.call("DELETE", f"{where('v1/pods')}/{name}", {"gracePeriodSeconds": 0})


def test_the_quota_opens_no_way_in_from_outside(tenancy: Tenancy) -> None:
    for kind in ("LoadBalancer", "NodePort"):
        with refused("exceeded quota"):
            tenancy.deployer.create(
                "v1/services", kind.lower(), {"type": kind, "ports": [{"port": 80}], "selector": {"app": "a"}}
            )


PRIVILEGED: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "privileged": ({"securityContext": {"privileged": True}}, {}, True),
    "added capability": ({"securityContext": restricted_container() | {"capabilities": {"add": ["SYS_ADMIN"]}}}, {}, True),
    "hostPort": ({"ports": [{"containerPort": 80, "hostPort": 80}]}, {}, True),
    "hostNetwork": ({}, {"hostNetwork": True}, True),
    "hostPID": ({}, {"hostPID": True}, True),
    "hostIPC": ({}, {"hostIPC": True}, True),
    "hostPath": ({}, {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, True),
    "unconfined": ({}, {"securityContext": restricted_pod() | {"seccompProfile": {"type": "Unconfined"}}}, True),
    "sysctl": ({}, {"securityContext": restricted_pod() | {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, True),
    "root": ({}, {"securityContext": restricted_pod() | {"runAsUser": 0}}, False),
    "perhaps root": ({}, {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, False),
    "escalation": ({"securityContext": {"capabilities": {"drop": ["ALL"]}}}, {}, False),
    "kept capabilities": ({"securityContext": {"allowPrivilegeEscalation": False}}, {}, False),
    "no seccomp": ({}, {"securityContext": {"runAsNonRoot": True, "runAsUser": 2000}}, False),
    "nfs": ({}, {"volumes": [{"name": "n", "nfs": {"server": "10.0.0.1", "path": "/"}}]}, False),
}
"""What a container and a pod have, and whether *baseline* refuses it too."""


@pytest.mark.parametrize("violation", PRIVILEGED)
def test_pods_below_the_level_are_refused(tenancy: Tenancy, violation: str) -> None:
    container, pod, also_baseline = PRIVILEGED[violation]
    body = {"metadata": {"name": "bad"}, "spec": pod_spec(container, **pod)}
    with refused('violates PodSecurity "restricted:v1.36"'):
        tenancy.api.call("POST", where("v1/pods"), body, dryRun="All")
    if also_baseline:
        with refused('violates PodSecurity "baseline:v1.36"'):
            tenancy.api.call("POST", where("v1/pods", BASELINE), body, dryRun="All")
    else:
        tenancy.api.call("POST", where("v1/pods", BASELINE), body, dryRun="All")


def test_serving_drives_batch_work_away_but_not_the_other_way_round(tenancy: Tenancy) -> None:
    """The node has 16 CPUs, so two of these do not fit."""

    def start(name: str, role: str) -> None:
        spec = pod_spec({"resources": {"requests": {"cpu": "10"}}}, priorityClassName=tenancy.classes[role])
        body = {"metadata": {"name": name}, "spec": spec | {"terminationGracePeriodSeconds": 0}}
        tenancy.api.call("POST", where("v1/pods", BASELINE), body)

    def pod(name: str) -> dict[str, Any]:
        return tenancy.api.find(f"{where('v1/pods', BASELINE)}/{name}") or {}

    start("batch", "batch")
    eventually(lambda: "nodeName" in pod("batch")["spec"])
    start("serving", "serving")
    eventually(lambda: not pod("batch") and "nodeName" in pod("serving")["spec"])

    start("later", "batch")
    eventually(lambda: bool(pod("later")["status"].get("conditions")))
    (condition,) = pod("later")["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
    assert "nodeName" in pod("serving")["spec"]
    for name in ("serving", "later"):
        tenancy.api.call("DELETE", f"{where('v1/pods', BASELINE)}/{name}", {"gracePeriodSeconds": 0})


def test_the_label_that_names_a_namespace_cannot_be_forged(tenancy: Tenancy) -> None:
    forged = {"metadata": {"labels": {"kubernetes.io/metadata.name": "gateway"}}}
    answer = tenancy.api.call("PATCH", "/api/v1/namespaces/spare", forged, dryRun="All")
    assert answer["metadata"]["labels"]["kubernetes.io/metadata.name"] == "spare"


def test_deployers_do_their_work(tenancy: Tenancy) -> None:
    ada, name = tenancy.deployer, "app"
    own = {"secret": {"secretName": "registry"}}
    made = template(
        container={"resources": {"limits": {GPU: "1"}}},
        initContainers=[{"name": "i", "image": "i:1", "env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]}],
        runtimeClassName="nvidia",
        tolerations=[{"key": GPU, "operator": "Exists"}],
        volumes=[{"name": "s", **own}],
        imagePullSecrets=[{"name": "registry"}],
        serviceAccountName="reporter",
    )
    ada.create("apps/v1/deployments", name, deployment(made))
    ada.call("PATCH", f"{where('apps/v1/deployments')}/{name}", {"spec": {"template": {"spec": {"serviceAccountName": None}}}})
    ada.create("v1/services", name, {"selector": {"app": "mine"}, "ports": [{"port": 80}]})
    ada.create("v1/configmaps", name, data={"key": "value"})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    ada.create("v1/persistentvolumeclaims", name, claim)
    ada.create("policy/v1/poddisruptionbudgets", name, {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "mine"}}})
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    ada.create("autoscaling/v2/horizontalpodautoscalers", name, {"scaleTargetRef": target, "maxReplicas": 2})
    job = {"template": template(restartPolicy="Never", priorityClassName=tenancy.classes["batch"])}
    ada.create("batch/v1/jobs", name, {**job, "suspend": True})
    ada.create("batch/v1/cronjobs", name, {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job}})
    sts = {"replicas": 0, "selector": {"matchLabels": {"app": "mine"}}, "template": template()}
    volumes = {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}
    ada.create("apps/v1/statefulsets", name, {**sts, **volumes})
    for path in ("v1/pods", "v1/events", "apps/v1/replicasets", "v1/resourcequotas"):
        ada.call("GET", where(path))
    kinds = ("apps/v1/deployments", "apps/v1/statefulsets", "batch/v1/cronjobs", "batch/v1/jobs", "v1/services", "v1/configmaps")
    for path in (
        *kinds,
        "autoscaling/v2/horizontalpodautoscalers",
        "policy/v1/poddisruptionbudgets",
        "v1/persistentvolumeclaims",
    ):
        ada.call("DELETE", f"{where(path)}/{name}", {"propagationPolicy": "Background"})


FORBIDDEN = [
    ("GET", "v1/secrets"),
    ("GET", "v1/secrets/registry"),
    ("POST", "v1/secrets"),
    ("POST", "v1/pods"),
    ("POST", "v1/pods/any/exec"),
    ("GET", "v1/pods/any/exec"),
    ("POST", "v1/pods/any/attach"),
    ("POST", "v1/pods/any/portforward"),
    ("GET", "v1/pods/any/proxy"),
    ("PATCH", "v1/pods/any/ephemeralcontainers"),
    ("POST", "v1/pods/any/eviction"),
    ("GET", "v1/services/any/proxy"),
    ("POST", "v1/serviceaccounts"),
    ("POST", "v1/serviceaccounts/default/token"),
    ("POST", "apps/v1/daemonsets"),
    ("POST", "apps/v1/replicasets"),
    ("POST", "networking.k8s.io/v1/networkpolicies"),
    ("DELETE", "networking.k8s.io/v1/networkpolicies/any"),
    ("POST", "networking.k8s.io/v1/ingresses"),
    ("POST", "rbac.authorization.k8s.io/v1/roles"),
    ("POST", "rbac.authorization.k8s.io/v1/rolebindings"),
    ("POST", "discovery.k8s.io/v1/endpointslices"),
    ("DELETE", "v1/resourcequotas/any"),
    ("PATCH", "v1/limitranges/any"),
    ("POST", "external-secrets.io/v1/externalsecrets"),
    ("GET", "leaderworkerset.x-k8s.io/v1/leaderworkersets"),
]


@pytest.mark.parametrize(("method", "path"), FORBIDDEN, ids=lambda part: part)
def test_deployers_have_no_right_to(tenancy: Tenancy, method: str, path: str) -> None:
    group, version, *rest = ["", *path.split("/")] if path.startswith("v1/") else path.split("/")
    base = f"/apis/{group}/{version}" if group else f"/api/{version}"
    with refused("is forbidden", "ada"):
        tenancy.deployer.call(method, f"{base}/namespaces/{HOME}/{'/'.join(rest)}", {} if method in ("POST", "PATCH") else None)


@pytest.mark.parametrize("path", ["v1/secrets", "v1/pods", "apps/v1/deployments", "v1/configmaps"])
def test_deployers_have_no_rights_elsewhere(tenancy: Tenancy, path: str) -> None:
    for namespace in (BASELINE, "kube-system"):
        with refused("is forbidden", "ada"):
            tenancy.deployer.call("GET", where(path, namespace))


CLAIM_OF_OTHERS = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
SECRET_REF = {"secretKeyRef": {"name": "hugging-face", "key": "token"}}
ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "the platform's label": ({"labels": PART_OF}, "leave the label out of"),
    "the class of serving": ({"priorityClassName": "SERVING"}, "may have priorities-batch"),
    "the class of the nodes": ({"priorityClassName": "system-node-critical"}, "priorityClassName"),
    "an account with rights": ({"serviceAccountName": "bucket-writer"}, "in serviceAccounts of the namespace"),
    "an account by its old field": ({"serviceAccount": "bucket-writer"}, "in serviceAccounts of the namespace"),
    "a Secret as a volume": ({"volumes": [{"name": "s", "secret": {"secretName": "hugging-face"}}]}, "secrets of the namespace"),
    "a Secret in a projected volume": (
        {"volumes": [{"name": "s", "projected": {"sources": [{"secret": {"name": "hugging-face"}}]}}]},
        "secrets of the namespace",
    ),
    "a Secret of a driver": (
        {"volumes": [{"name": "s", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "hugging-face"}}}]},
        "secrets of the namespace",
    ),
    "a Secret in the environment": ({"container": {"env": [{"name": "A", "valueFrom": SECRET_REF}]}}, "secrets of the namespace"),
    "a whole Secret": ({"container": {"envFrom": [{"secretRef": {"name": "hugging-face"}}]}}, "secrets of the namespace"),
    "a Secret of an init container": (
        {"initContainers": [{"name": "i", "image": "i:1", "env": [{"name": "A", "valueFrom": SECRET_REF}]}]},
        "secrets of the namespace",
    ),
    "a registry's Secret": ({"imagePullSecrets": [{"name": "hugging-face"}]}, "secrets of the namespace"),
    "a label of a controller": ({"labels": {"leaderworkerset.sigs.k8s.io/name": "qwen"}}, "begin with leaderworkerset.sigs"),
    "every device": ({"container": {"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}}, "resources.limits"),
    "every device by a ConfigMap": (
        {"container": {"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}},
        "resources.limits",
    ),
    "every device by a prefix": ({"container": {"envFrom": [{"prefix": "NVIDIA_", "configMapRef": {"name": "c"}}]}}, "prefix"),
    "every device by the image": ({"runtimeClassName": "nvidia"}, "or set NVIDIA_VISIBLE_DEVICES: void"),
    "a node with accelerators": ({"tolerations": [{"key": GPU, "operator": "Exists"}]}, "in resources.limits of every container"),
    "no device in words": (
        {"runtimeClassName": "nvidia", "container": {"resources": {"limits": {GPU: "0"}}}},
        "in resources.limits of every container",
    ),
    "any node": ({"tolerations": [{"operator": "Exists"}]}, "in resources.limits of every container"),
    "a node past the scheduler": ({"nodeName": "gpu-0"}, "in resources.limits of every container"),
    "a node for a container beside": (
        {
            "tolerations": [{"key": GPU, "operator": "Exists"}],
            "container": {"resources": {"limits": {GPU: "1"}}},
            "initContainers": [{"name": "i", "image": "i:1"}],
        },
        "in resources.limits of every container",
    ),
    "a volume of others": (
        {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": CLAIM_OF_OTHERS | {"volumeName": "pv"}}}}]},
        "volumes of others",
    ),
}
"""What a pod template has, and what the refusal says."""


@pytest.mark.parametrize("attack", ATTACKS)
def test_deployers_cannot_have(tenancy: Tenancy, attack: str) -> None:
    fields, said = ATTACKS[attack]
    if fields.get("priorityClassName") == "SERVING":
        fields = {"priorityClassName": tenancy.classes["serving"]}
    made = template(**fields)
    once = {**made, "spec": {**made["spec"], "restartPolicy": "Never"}}
    ada = tenancy.deployer
    for path, spec in (
        ("apps/v1/deployments", deployment(made)),
        ("apps/v1/statefulsets", deployment(made)),
        ("batch/v1/jobs", {"template": once}),
        ("batch/v1/cronjobs", {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": once}}}),
    ):
        with refused(said):
            ada.probe(path, spec)

    ada.create("apps/v1/deployments", "turned", deployment(template()))
    try:
        with refused(said):
            ada.call("PATCH", f"{where('apps/v1/deployments')}/turned", {"spec": {"template": made}})
    finally:
        ada.call("DELETE", f"{where('apps/v1/deployments')}/turned")


ITS = {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": "qwen"}
OURS = {"name": "qwen", "labels": PART_OF | ITS}


@pytest.fixture
def ours(tenancy: Tenancy) -> Iterator[list[str]]:
    """What the platform has in the namespace, by path."""
    made: dict[str, dict[str, Any]] = {
        "v1/persistentvolumeclaims": {"spec": CLAIM_OF_OTHERS},
        "v1/configmaps": {"data": {"a": "b"}},
        "v1/services": {"spec": {"selector": ITS, "ports": [{"port": 80}]}},
        "apps/v1/deployments": {"spec": deployment(template(PART_OF | ITS))},
    }
    for path, content in made.items():
        tenancy.api.call("POST", where(path), {"metadata": OURS, **content})
    yield [f"{where(path)}/qwen" for path in made]
    for path in made:
        tenancy.api.call("DELETE", f"{where(path)}/qwen", {"propagationPolicy": "Background"})


def test_deployers_cannot_change_what_is_the_platforms(tenancy: Tenancy, ours: list[str]) -> None:
    """Its objects stand in the same namespaces, under names anybody can read."""
    ada = tenancy.deployer
    for path in ours:
        for stolen in ({"annotations": {"a": "b"}}, {"labels": {"app.kubernetes.io/part-of": None}}):
            with refused("are the platform's", "in the stack file"):
                ada.call("PATCH", path, {"metadata": stolen})
        with refused("are the platform's"):
            ada.call("DELETE", path)
    with refused("are the platform's"):
        ada.create("v1/services", "fake", {"ports": [{"port": 80}]}, metadata={"labels": PART_OF})
    with refused("takes devices past"):
        ada.create("v1/configmaps", "devices", data={"NVIDIA_VISIBLE_DEVICES": "all"})


SET = {"leaderworkerset.sigs.k8s.io/name": "big"}
OWNER = {"kind": "LeaderWorkerSet", "name": "big", "uid": "0d2f5a3c-7d1b-4a52-9f0e-6c1f5b6f0a11", "controller": True}
OWNED = {"ownerReferences": [{"apiVersion": "leaderworkerset.x-k8s.io/v1", **OWNER}]}
HEADLESS = {"clusterIP": "None", "selector": SET}
OF_CONTROLLERS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "pods by their label": ("apps/v1/statefulsets", {"labels": SET}, deployment(template(SET))),
    "pods by their template": ("apps/v1/statefulsets", {}, deployment(template(PART_OF | SET))),
    "names by their owner": ("v1/services", OWNED, HEADLESS),
    "names by their label": ("v1/services", {"labels": SET}, HEADLESS),
    "a way to Ray": ("v1/services", {"labels": {"ray.io/cluster": "big"}}, {"selector": {"app": "ray"}, "ports": [{"port": 80}]}),
}
"""What controllers make for a model on several nodes, which has no label of the platform itself: path, metadata, spec."""


@pytest.mark.parametrize("made", OF_CONTROLLERS)
def test_deployers_cannot_change_what_controllers_make_for_the_platform(tenancy: Tenancy, made: str) -> None:
    """Without its pods, or the names by which these find each other, a model is gone."""
    path, metadata, spec = OF_CONTROLLERS[made]
    ada, at = tenancy.deployer, f"{where(path)}/big"
    tenancy.api.call("POST", where(path), {"metadata": {"name": "big", **metadata}, "spec": spec})
    try:
        freed = {"labels": dict.fromkeys(metadata.get("labels", ())), "ownerReferences": None}
        for change in ({"metadata": {"annotations": {"a": "b"}}}, {"metadata": freed}, {"spec": {"selector": {"app": "mine"}}}):
            with refused("are the platform's", "in the stack file"):
                ada.call("PATCH", at, change, dryRun="All")
        with refused("are the platform's", "in the stack file"):
            ada.call("DELETE", at)
        if metadata:
            with refused("are the platform's"):
                ada.create(path, "fake", spec, metadata=metadata)
        if path == "apps/v1/statefulsets":
            target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "big"}
            with refused("whose a StatefulSet is"):
                ada.create("autoscaling/v2/horizontalpodautoscalers", "h", {"maxReplicas": 2, "scaleTargetRef": target})
    finally:
        tenancy.api.call("DELETE", at)


def test_deployers_keep_what_controllers_make_for_them(tenancy: Tenancy) -> None:
    """E.g. the Jobs of their CronJobs."""
    ada, job = tenancy.deployer, {"template": template(restartPolicy="Never"), "suspend": True}
    often = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job}}
    by = ada.create("batch/v1/cronjobs", "mine", often)["metadata"]["uid"]
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "mine", "uid": by, "controller": True}
    tenancy.api.call("POST", where("batch/v1/jobs"), {"metadata": {"name": "mine", "ownerReferences": [owner]}, "spec": job})
    ada.call("PATCH", f"{where('batch/v1/jobs')}/mine", {"metadata": {"annotations": {"a": "b"}}})
    for path in ("batch/v1/jobs", "batch/v1/cronjobs"):
        ada.call("DELETE", f"{where(path)}/mine", {"propagationPolicy": "Background"})


EXISTS = {"key": "app.kubernetes.io/name", "operator": "Exists"}
OWN_LABELS = {"matchLabels": {"app": "mine"}}
POINTING: dict[str, tuple[str, list[Any], Any, str]] = {
    "claims": (
        "apps/v1/deployments",
        [deployment(template(volumes=[{"name": "w", "persistentVolumeClaim": {"claimName": "qwen"}}]))],
        deployment(template(volumes=[{"name": "w", "persistentVolumeClaim": {"claimName": "mine"}}])),
        "a claim of your own",
    ),
    "traffic": (
        "apps/v1/deployments",
        [deployment(template(ITS))],
        deployment(template(ITS | {"app.kubernetes.io/instance": "mine"})),
        "would send its traffic to these pods",
    ),
    "budgets": (
        "policy/v1/poddisruptionbudgets",
        [
            {"maxUnavailable": 0, "selector": selector}
            for selector in (
                {},
                {"matchLabels": {"app.kubernetes.io/name": "vllm"}},
                {"matchExpressions": [EXISTS]},
                {"matchLabels": SET},
                {"matchLabels": {"pod-template-hash": "5d4f8c7b9"}},
                {"matchLabels": {"app.kubernetes.io/name": "vllm", "ray.io/node-type": "head"}},
            )
        ],
        {"maxUnavailable": 0, "selector": OWN_LABELS},
        "have a budget of their own",
    ),
    "scaling": (
        "autoscaling/v2/horizontalpodautoscalers",
        [
            {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": "qwen"}}
            for version, kind in (("apps/v1", "Deployment"), ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"))
        ],
        {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "mine"}},
        "replicas",
    ),
}
"""Where something points at the platform's objects, and what points at one's own; and what the refusal says."""


@pytest.mark.parametrize("way", POINTING)
@pytest.mark.usefixtures("ours")
def test_deployers_cannot_point_at_what_is_the_platforms(tenancy: Tenancy, way: str) -> None:
    path, pointing, own, said = POINTING[way]
    # The API server learns of what a policy compares with by watching it.
    eventually(lambda: not admitted(tenancy.deployer, path, pointing[0]))
    for spec in pointing:
        with refused(said):
            tenancy.deployer.probe(path, spec)
    tenancy.deployer.probe(path, own)


def claimed(template_name: str, **more: Any) -> dict[str, Any]:
    """A StatefulSet with a template of claims."""
    made = {"metadata": {"name": template_name}, "spec": CLAIM_OF_OTHERS | more}
    return {**deployment(template()), "ordinals": {"start": 12345678}, "volumeClaimTemplates": [made]}


@pytest.mark.usefixtures("ours")
def test_deployers_cannot_take_or_copy_a_claim_of_the_platform(tenancy: Tenancy) -> None:
    """A StatefulSet adopts the claim that is there already under a name it would give."""
    ada, sets, claims = tenancy.deployer, "apps/v1/statefulsets", "v1/persistentvolumeclaims"
    compiled = {"name": "qwen-compiled-claim-12345678", "labels": PART_OF}
    tenancy.api.call("POST", where(claims), {"metadata": compiled, "spec": CLAIM_OF_OTHERS})
    try:
        eventually(lambda: not admitted(ada, sets, claimed("qwen-compiled"), "claim"))
        for name, template_name in (("claim", "qwen-compiled"), ("compiled-claim", "qwen")):
            with refused("another name where a template would name this one"):
                ada.probe(sets, claimed(template_name), name)
        ada.probe(sets, claimed("qwen-compiled"), "other")

        for field in ("dataSource", "dataSourceRef"):
            source = {field: {"kind": "PersistentVolumeClaim", "name": "qwen"}}
            copies = [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": CLAIM_OF_OTHERS | source}}}]
            for path, spec in (
                (claims, CLAIM_OF_OTHERS | source),
                (sets, claimed("data", **source)),
                ("apps/v1/deployments", deployment(template(volumes=copies))),
            ):
                with refused("its servers trust the weights in it"):
                    ada.probe(path, spec)
            ada.probe(claims, CLAIM_OF_OTHERS | {field: {"kind": "PersistentVolumeClaim", "name": "mine"}})
    finally:
        tenancy.api.call("DELETE", f"{where(claims)}/{compiled['name']}")


def test_deployers_cannot_take_addresses_and_volumes(tenancy: Tenancy) -> None:
    ada = tenancy.deployer
    with refused("externalIPs"):
        ada.create("v1/services", "s", {"ports": [{"port": 80}], "externalIPs": ["203.0.113.7"]})
    for taken in ({"volumeName": "pv"}, {"storageClassName": "llm-platform-qwen"}):
        with refused("volumes of others"):
            ada.create("v1/persistentvolumeclaims", "c", CLAIM_OF_OTHERS | taken)
        volumes = [{"metadata": {"name": "d"}, "spec": CLAIM_OF_OTHERS | taken}]
        with refused("volumes of others"):
            ada.create("apps/v1/statefulsets", "s", {**deployment(template()), "volumeClaimTemplates": volumes})


def test_nobody_else_is_concerned(tenancy: Tenancy) -> None:
    """Neither those who run the platform nor the controllers that make what was already admitted."""
    made = deployment(template(PART_OF, volumes=[{"name": "s", "secret": {"secretName": "hugging-face", "optional": True}}]), 1)
    tenancy.api.call("POST", where("apps/v1/deployments"), {"metadata": {"name": "ours", "labels": PART_OF}, "spec": made})
    at = f"{where('apps/v1/deployments')}/ours"
    eventually(lambda: tenancy.api.call("GET", at)["status"].get("readyReplicas") == 1)
    tenancy.api.call("DELETE", at, {"propagationPolicy": "Foreground"})


def test_the_policies_are_well_typed(tenancy: Tenancy) -> None:
    """The API server checks expressions against the fields of each kind, some time after it took them."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    ours = [item for item in tenancy.api.call("GET", path)["items"] if item["metadata"]["name"].startswith("research-policy-")]
    assert len(ours) == 5

    def checked(name: str) -> Any:
        return tenancy.api.call("GET", f"{path}/{name}").get("status", {}).get("typeChecking")

    for item in ours:
        eventually(partial(lambda name: checked(name) is not None, item["metadata"]["name"]))
        assert checked(item["metadata"]["name"]) == {}


def test_it_goes_down_without_a_trace(tenancy: Tenancy) -> None:
    down = tenancy.stack.destroy()
    assert down.succeeded, down.errors
    for namespace in (HOME, "spare", BASELINE):
        assert tenancy.api.find(f"/api/v1/namespaces/{namespace}") is None
    admission = "/apis/admissionregistration.k8s.io/v1"
    left = [
        item["metadata"]["name"]
        for path in (
            f"{admission}/validatingadmissionpolicies",
            f"{admission}/validatingadmissionpolicybindings",
            "/apis/scheduling.k8s.io/v1/priorityclasses",
        )
        for item in tenancy.api.call("GET", path)["items"]
    ]
    assert sorted(left) == ["system-cluster-critical", "system-node-critical"]
