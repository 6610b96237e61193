"""What makes AWS load balancers of Services, by its project's own Helm chart: the AWS Load Balancer Controller."""

from collections.abc import Mapping
from typing import Any

import pulumi
from pydantic import Field

from ..base import PlatformComponent
from ..charts import placed, release
from ..cloud import cloud
from ..inputs import InputText, validate
from ..ordering import known_after
from ..security.network.surroundings import INSTANCE, NAME
from ..security.pod_identity import PodIdentity
from ..versions import AWS_LOAD_BALANCER_CONTROLLER
from .aws_load_balancer_policies import controller_statements
from .controllers import CONFINED, NON_ROOT, TrafficControllerArgs, TrafficControllerConfig

SERVICE_ACCOUNT = "aws-load-balancer-controller"
"""Service account of the controller."""
PODS = {NAME: "aws-load-balancer-controller", INSTANCE: "aws-load-balancer-controller"}
"""Labels of its pods (chart aws-load-balancer-controller, templates/_helpers.tpl)."""
_REPOSITORY = "https://aws.github.io/eks-charts"


class AwsLoadBalancerControllerArgs(TrafficControllerArgs):
    """Inputs of `AwsLoadBalancerController`."""

    cluster_name: pulumi.Input[str]
    """Name of the EKS cluster; load balancers of others are out of its reach."""
    vpc_id: pulumi.Input[str]
    """Network of the cluster: pods cannot ask the machine they run on."""
    security_group_ids: list[pulumi.Input[str]]
    """Security groups of the nodes, in which it lets load balancers through to pods."""


class _Config(TrafficControllerConfig):
    cluster_name: InputText
    vpc_id: InputText
    security_group_ids: tuple[InputText, ...] = Field(min_length=1, examples=["[sg-0a1b2c3d4e5f67890]"])


class AwsLoadBalancerController(PlatformComponent):
    """Makes a Network Load Balancer for each Service of its class (`load_balancers.AWS_CLASS`), and for no other.

    A load balancer goes with its Service, and only while the controller runs: Services, and namespaces in which others make some,
    have to wait for `chart_version`, so that they are gone before it.
    """

    chart_version: pulumi.Output[str]
    """Version of the chart, known once the controller runs."""

    def __init__(self, name: str, args: AwsLoadBalancerControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"AwsLoadBalancerController {name}")
        here = cloud(self)
        identity = PodIdentity(
            self.child_name("identity"),
            {
                "cluster_name": config.cluster_name,
                "statements": controller_statements(here, config.cluster_name, config.vpc_id, config.security_group_ids),
                "service_accounts": {
                    "controller": {"namespace_name": config.namespace_name, "service_account_name": SERVICE_ACCOUNT}
                },
            },
            opts=self.child(),
        )
        made = release(
            self,
            # Pods get the identity when they start, so it is there before them.
            known_after(config.namespace_name, identity.role_arn),
            "aws-load-balancer-controller",
            chart="aws-load-balancer-controller",
            version=AWS_LOAD_BALANCER_CONTROLLER,
            values=aws_load_balancer_values(config.system_labels, config.cluster_name, here.region, config.vpc_id),
            repository=_REPOSITORY,
        )
        self.chart_version = made.version
        self.finish()


def aws_load_balancer_values(
    system_labels: Mapping[str, str],
    cluster_name: pulumi.Input[str],
    region: pulumi.Input[str],
    vpc_id: pulumi.Input[str],
) -> dict[str, Any]:
    """Values of the chart aws-load-balancer-controller: Services of its class, and nothing else it could do.

    No webhook stands between anybody and Services or Ingresses: a Service names its class itself. What is left judges the
    controller's own objects, and asks pods of namespaces labelled for it to be ready only when their load balancer says so. The
    chart makes the webhooks' certificate, for ten years, and keeps it from then on: with a new one for every upgrade, webhooks
    would not be believed until every pod has read it.
    """
    return {
        "clusterName": cluster_name,
        "region": region,
        "vpcId": vpc_id,
        **placed(system_labels, PODS),
        "replicaCount": 2,
        "podDisruptionBudget": {"maxUnavailable": 1},
        "podSecurityContext": {"fsGroup": 65534, **NON_ROOT},
        "securityContext": CONFINED,
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}},
        "serviceAccount": {"name": SERVICE_ACCOUNT},
        "keepTLSSecret": True,
        "enableServiceMutatorWebhook": False,
        "createIngressClassResource": False,
        "ingressClassParams": {"create": False},
        "disableIngressClassAnnotation": True,
        "webhookConfig": {"disableIngressValidation": True},
        "defaultTargetType": "ip",
        "defaultLoadBalancerScheme": "internal",
        "enableShield": False,
        "enableWaf": False,
        "enableWafv2": False,
        "controllerConfig": {
            "featureGates": {
                "ServiceTypeLoadBalancerOnly": True,
                "NLBGatewayAPI": False,
                "ALBGatewayAPI": False,
                "GatewayListenerSet": False,
            }
        },
    }
