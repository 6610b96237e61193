"""Both forms of the monitoring stack through the real engine and a real API server that admits restricted pods only."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.monitoring import MonitoringStack, ReceiverKind, StackForm
from components.monitoring.targets import Target
from components.security import Namespace, PodSecurityLevel
from sandbox.control_plane import ControlPlane, NodeGroup
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest, options
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

GROUPS = [NodeGroup(name="system", cpu=16, memory="64Gi", labels={"pool": "system"})]
MODELS = Target(name="models", namespaces=["models"], pods={"app.kubernetes.io/name": "vllm"}, port=8000)
RUNNING = {
    StackForm.STANDALONE: {"prometheus", "alertmanager", "grafana"},
    StackForm.OPERATOR: {"kube-prometheus-stack-prometheus-operator", "prometheus", "alertmanager", "grafana"},
}
CHANGED = {StackForm.STANDALONE: "watch-prometheus-rules-models", StackForm.OPERATOR: "watch-rules-models"}


def program(plane: ControlPlane, form: StackForm, threshold: int = 1, channel: str = "#alerts") -> Program:
    def run() -> None:
        provider = k8s.Provider(
            "cluster",
            kubeconfig=plane.kubeconfig.read_text(),
            cluster_identifier="test",
            # Else a changed rule would delete its ConfigMap and make it anew.
            enable_config_map_mutable=True,
        )
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        k8s.storage.v1.StorageClass(
            "disks",
            metadata={"name": "disks", "annotations": default},
            provisioner="ebs.csi.aws.com",
            volume_binding_mode="WaitForFirstConsumer",
            opts=options(provider),
        )
        inside = pulumi.ResourceOptions(providers=[provider])
        made = {
            name: Namespace(
                name, {"namespace_name": name, "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": "1.36"}, inside
            )
            for name in ("monitoring", "models")
        }
        namespace = made["monitoring"].namespace_name
        secret = k8s.core.v1.Secret(
            "alerts", metadata={"name": "alerts", "namespace": namespace}, string_data={"url": "x"}, opts=options(provider)
        )
        alert = {"alert": "TooMuch", "expr": f"up > {threshold}", "for": "5m", "labels": {"severity": "warning"}}
        watch = MonitoringStack(
            "watch",
            {
                "form": form,
                "namespace_name": namespace,
                "targets": [MODELS.args()],
                "namespaces": {"models": made["models"].namespace_name},
                "rules": {"models": [{"name": "models", "rules": [alert]}], "pipeline": []},
                "dashboards": {"llm-fleet": '{"title": "Fleet", "uid": "llm-fleet"}'},
                "receivers": [
                    {
                        "name": "chat",
                        "kind": ReceiverKind.SLACK,
                        "channel": channel,
                        "secret": {"name": secret.metadata["name"], "key": "url"},
                    }
                ],
                "system_labels": {"pool": "system"},
            },
            inside,
        )
        pulumi.export("prometheus", watch.prometheus_url)
        pulumi.export("grafana", watch.grafana_url)

    return run


def done(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


def touched(run: Run) -> dict[str, list[str]]:
    """What is done with resources that do not stay as they are."""
    return {name: operations for name, operations in run.operations.items() if set(operations) != {"same"}}


def ready(api: Api) -> set[str]:
    """Names of the programs whose pods are ready."""
    pods: list[dict[str, Any]] = api.call("GET", "/api/v1/namespaces/monitoring/pods")["items"]
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/name"]
        for pod in pods
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
    }


@pytest.mark.parametrize("form", StackForm)
def test_a_form_comes_up_stays_and_changes_one_object_for_a_threshold(
    stack: StackUnderTest, api: Api, control_plane: ControlPlane, form: StackForm
) -> None:
    done(stack.up(program(control_plane, form)))
    eventually(lambda: ready(api) == RUNNING[form])
    assert touched(done(stack.up(program(control_plane, form)))) == {}
    assert touched(done(stack.up(program(control_plane, form, threshold=2)))) == {CHANGED[form]: ["update"]}
    claims = api.call("GET", "/api/v1/namespaces/monitoring/persistentvolumeclaims")["items"]
    assert sorted(claim["spec"]["resources"]["requests"]["storage"] for claim in claims) == ["1Gi", "50Gi"]
    done(stack.destroy())
    assert api.find("/api/v1/namespaces/monitoring") is None


def test_another_receiver_is_another_configuration_and_a_pod_that_reads_it(
    stack: StackUnderTest, api: Api, control_plane: ControlPlane
) -> None:
    form = StackForm.STANDALONE
    done(stack.up(program(control_plane, form)))
    found = touched(done(stack.up(program(control_plane, form, channel="#others"))))
    assert set(found) == {"watch-alertmanager-config", "watch-alertmanager"}
    stateful = api.call("GET", "/apis/apps/v1/namespaces/monitoring/statefulsets/alertmanager")
    [config] = [volume for volume in stateful["spec"]["template"]["spec"]["volumes"] if volume["name"] == "config"]
    text = api.call("GET", f"/api/v1/namespaces/monitoring/configmaps/{config['configMap']['name']}")["data"]["alertmanager.yml"]
    assert "#others" in text
