"""The operator that copies secrets from stores outside the cluster, by its project's own Helm chart."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field, model_validator

from ..base import PlatformComponent
from ..charts import placed, release
from ..cloud import cloud
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from ..security.pod_identity import PodIdentity, ServiceAccountArgs
from ..versions import EXTERNAL_SECRETS
from .aws_policies import check_remote, reader_statements
from .providers import AwsSecretService

SERVICE_ACCOUNT = "external-secrets"
"""Service account of the operator."""
PODS = {"app.kubernetes.io/name": "external-secrets", "app.kubernetes.io/instance": "external-secrets"}
"""Labels of its pods (chart external-secrets, templates/_helpers.tpl)."""
_CHART = "oci://ghcr.io/external-secrets/charts/external-secrets"


class AwsReaderArgs(TypedDict):
    """What the operator may read of an AWS account."""

    cluster_name: pulumi.Input[str]
    """Name of the EKS cluster; pods of no other can use the role."""
    service: AwsSecretService
    """`SecretsManager` or `ParameterStore`."""
    remotes: list[str]
    """Names of the secrets or parameters; nothing else can be read."""
    kms_key_arns: NotRequired[list[str]]
    """Keys of your own that they are encrypted with; AWS's own by default, which need no permission."""


class ExternalSecretsOperatorArgs(TypedDict):
    """Inputs of `ExternalSecretsOperator`."""

    namespace_name: pulumi.Input[str]
    """Namespace it runs in; *restricted* suffices."""
    watched_namespace_name: NotRequired[pulumi.Input[str] | None]
    """The one namespace it serves, where it is one: then it has no right beyond that. All by default."""
    aws: NotRequired[AwsReaderArgs | None]
    """What it may read of an AWS account; nothing by default."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes it runs on; any Linux node by default."""


class _AwsReader(Model):
    cluster_name: InputText
    service: AwsSecretService
    remotes: tuple[str, ...] = Field(min_length=1, examples=["[llm/hugging-face]"])
    kms_key_arns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> "_AwsReader":
        for remote in self.remotes:
            check_remote(self.service, remote)
        return self


class _Config(Model):
    namespace_name: InputText
    watched_namespace_name: InputText | None = None
    aws: _AwsReader | None = None
    system_labels: Mapping[str, str] = Field(default_factory=dict)


class ExternalSecretsOperator(PlatformComponent):
    """Copies secrets from stores into Secrets of the cluster, and keeps them as they are there.

    Its definitions go with it, and with them every ExternalSecret there is.
    """

    chart_version: pulumi.Output[str]
    """Version of the chart, known once the operator runs: stores and external secrets wait for it."""
    service_account_name: pulumi.Output[str]
    """Its service account, known at the same time."""

    def __init__(self, name: str, args: ExternalSecretsOperatorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ExternalSecretsOperator {name}")
        namespace = config.namespace_name
        if config.aws:
            # Pods get the identity when they start, so it is there before them.
            namespace = known_after(namespace, self._identity(config.namespace_name, config.aws))
        made = release(
            self,
            namespace,
            "external-secrets",
            chart=_CHART,
            version=EXTERNAL_SECRETS,
            values=external_secrets_values(config.system_labels, config.watched_namespace_name),
        )
        self.chart_version = made.version
        self.service_account_name = known_after(SERVICE_ACCOUNT, made.version)
        self.finish()

    def _identity(self, namespace_name: pulumi.Input[str], reader: _AwsReader) -> pulumi.Output[str]:
        account: ServiceAccountArgs = {"namespace_name": namespace_name, "service_account_name": SERVICE_ACCOUNT}
        identity = PodIdentity(
            self.child_name("reader"),
            {
                "cluster_name": reader.cluster_name,
                "statements": reader_statements(cloud(self), reader.service, reader.remotes, reader.kms_key_arns),
                "service_accounts": {"operator": account},
            },
            opts=self.child(),
        )
        return identity.role_arn


def external_secrets_values(system_labels: Mapping[str, str], watched_namespace_name: pulumi.Input[str] | None) -> dict[str, Any]:
    """Values of the chart external-secrets: SecretStores and ExternalSecrets of namespaces, and nothing else it could do.

    There is no webhook: what it would refuse, the components refuse in a preview. With it goes the certificate controller, which
    may read Secrets and change definitions and webhooks of the whole cluster.
    """
    scope: dict[str, Any] = {}
    if watched_namespace_name is not None:
        scope = {"scopedNamespace": watched_namespace_name, "scopedRBAC": True}
    unused = ("ClusterExternalSecret", "ClusterGenerator", "ClusterPushSecret", "PushSecret")
    return {
        **scope,
        **placed(system_labels, PODS),
        "replicaCount": 2,
        "leaderElect": True,
        "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
        "webhook": {"create": False},
        "certController": {"create": False},
        "crds": {f"create{kind}": False for kind in (*unused, "ClusterSecretStore")},
        **{f"process{kind}": False for kind in (*unused, "ClusterStore")},
        "rbac": {
            # Tokens only of the service accounts that a SecretStore names, by a Role of that namespace.
            "serviceAccountTokenCreate": False,
            "servicebindings": {"create": False},
            # Who may edit a namespace could else read whatever the operator can.
            "aggregateToView": False,
            "aggregateToEdit": False,
            "aggregateToAdmin": False,
        },
        "serviceAccount": {"name": SERVICE_ACCOUNT},
        "livenessProbe": {"enabled": True},
        "readinessProbe": {"enabled": True},
        "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}},
    }
