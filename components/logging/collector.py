"""Fluent Bit on every node: reads what containers write and delivers it, by its project's own Helm chart."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
from pydantic import Field, field_validator, model_validator

from ..base import PlatformComponent, labels
from ..charts import release
from ..cloud import cloud
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from ..security.pod_identity import PodIdentity
from ..security.policies import Statement, allow
from ..types import DnsLabel
from ..versions import FLUENT_BIT_CHART
from .names import COLLECTOR, log_group
from .pipeline import CONFIG_DIRECTORY, CONFIG_FILE, LOGS, STATE, Section, files, to_cloud_watch, to_loki
from .retention import check_retention

_REPOSITORY = "https://fluent.github.io/helm-charts"
_CONFIG_MAP = "log-collector"
_MEMORY_MIB = 256


class CloudWatchArgs(TypedDict):
    """Where logs go in AWS."""

    cluster_name: str
    """Name of the EKS cluster; pods of no other can write, and the log group is named after it (`log_group`)."""
    kms_key_arn: pulumi.Input[str]
    """The key the group is encrypted with; it must serve the group `log_group` names."""
    retention_days: NotRequired[int]
    """Days until a line is deleted, one of those CloudWatch takes; 14 by default."""


class LogCollectorArgs(TypedDict):
    """Inputs of `LogCollector`: either `loki_host` or `cloud_watch`."""

    namespace_name: pulumi.Input[str]
    """Namespace it runs in; *privileged*, since it reads files of the node."""
    loki_host: NotRequired[pulumi.Input[str] | None]
    """Name of Loki's Service, e.g. `loki.monitoring.svc`."""
    cloud_watch: NotRequired[CloudWatchArgs | None]
    """CloudWatch instead."""
    excluded_namespaces: NotRequired[list[str]]
    """Namespaces whose logs are not even read; none by default."""
    buffer_mib: NotRequired[int]
    """MiB that wait on each node's disk while the store does not take them; 1024 by default. The oldest is dropped then."""


class _CloudWatch(Model):
    cluster_name: str = Field(min_length=1, examples=["llm-prod"])
    kms_key_arn: InputText
    retention_days: int = Field(14, examples=[14])

    @field_validator("retention_days")
    @classmethod
    def _taken(cls, days: int) -> int:
        check_retention(days)
        return days


class _Config(Model):
    namespace_name: InputText
    loki_host: InputText | None = None
    cloud_watch: _CloudWatch | None = None
    excluded_namespaces: tuple[DnsLabel, ...] = ()
    buffer_mib: int = Field(1024, ge=64, le=65536, examples=[1024])

    @model_validator(mode="after")
    def _one_store(self) -> "_Config":
        if (self.loki_host is None) == (self.cloud_watch is None):
            raise ValueError("logs go to one store; give either loki_host or cloud_watch")
        return self


class LogCollector(PlatformComponent):
    """Delivers every line that containers write, with where it came from; lines of engines that tell what people ask are dropped.

    It runs as root, since only root may read the nodes' logs, without any capability and with a read-only root file system.
    New settings are one changed ConfigMap, which the running collectors read again.
    """

    chart_version: pulumi.Output[str]
    """Version of the chart, known once it runs on every node."""
    log_group_name: pulumi.Output[str]
    """The log group in CloudWatch; empty without one."""

    def __init__(self, name: str, args: LogCollectorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(_Config, args, f"LogCollector {name}")
        namespace = config.namespace_name
        group: pulumi.Output[str] = pulumi.Output.from_input("")
        if config.cloud_watch:
            made = self._group(config.cloud_watch)
            group = made.name
            output = pulumi.Output.all(cloud(self).region, group).apply(lambda both: to_cloud_watch(*both))
            # Pods get the identity when they start, so it is there before them.
            namespace = known_after(namespace, self._identity(config.cloud_watch.cluster_name, made.arn))
        else:
            output = pulumi.Output.from_input(config.loki_host).apply(lambda host: to_loki(host or ""))
        chart = release(
            self,
            namespace,
            COLLECTOR,
            chart="fluent-bit",
            version=FLUENT_BIT_CHART,
            values=fluent_bit_values(self._settings(output)),
            repository=_REPOSITORY,
        )
        self.chart_version = chart.version
        self.log_group_name = group
        self.finish()

    def _settings(self, output: pulumi.Output[Section]) -> pulumi.Output[str]:
        """Name of the ConfigMap: always the same, since the collectors read it again when it changes."""
        config = self._config

        def written(section: Section) -> dict[str, str]:
            return files(section, config.excluded_namespaces, config.buffer_mib)

        made = kubernetes.core.v1.ConfigMap(
            self.child_name("settings"),
            metadata={
                "name": _CONFIG_MAP,
                "namespace": config.namespace_name,
                "labels": labels("fluent-bit", COLLECTOR, "log-collector"),
            },
            data=output.apply(written),
            opts=self.child(),
        )
        name: pulumi.Output[str] = made.metadata["name"]
        return name

    def _group(self, wanted: _CloudWatch) -> "aws.cloudwatch.LogGroup":
        return aws.cloudwatch.LogGroup(
            self.child_name("pods"),
            name=log_group(wanted.cluster_name),
            retention_in_days=wanted.retention_days,
            kms_key_id=wanted.kms_key_arn,
            opts=self.child(),
        )

    def _identity(self, cluster_name: str, group_arn: pulumi.Output[str]) -> pulumi.Output[str]:
        identity = PodIdentity(
            self.child_name("writer"),
            {
                "cluster_name": cluster_name,
                "statements": writer_statements(group_arn),
                "service_accounts": {
                    "collector": {"namespace_name": self._config.namespace_name, "service_account_name": COLLECTOR}
                },
            },
            opts=self.child(),
        )
        return identity.role_arn


def writer_statements(group_arn: pulumi.Input[str]) -> list[Statement]:
    """Write into streams of one group; neither make groups nor read them."""
    return [allow(["logs:CreateLogStream", "logs:PutLogEvents"], [group_arn, pulumi.Output.concat(group_arn, ":*")])]


def fluent_bit_values(config_map: pulumi.Input[str]) -> dict[str, Any]:
    """Values of the chart fluent-bit: on every node whatever its taints; what is not delivered yet waits on the node's disk."""
    return {
        "existingConfigMap": config_map,
        "args": ["--workdir=/fluent-bit/etc", f"--config={CONFIG_DIRECTORY}/{CONFIG_FILE}"],
        "hotReload": {"enabled": True, "resources": _resources("5m", 32)},
        "serviceAccount": {"name": COLLECTOR},
        "testFramework": {"enabled": False},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": "system-node-critical",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}},
        "podSecurityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "securityContext": {
            # Files of containers' logs belong to root alone.
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # A store that takes nothing is an alert, not a reason to take the collector away.
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
        "resources": _resources("50m", _MEMORY_MIB),
        "daemonSetVolumes": [
            {"name": "logs", "hostPath": {"path": LOGS}},
            {"name": "state", "hostPath": {"path": STATE, "type": "DirectoryOrCreate"}},
        ],
        "daemonSetVolumeMounts": [
            {"name": "logs", "mountPath": LOGS, "readOnly": True},
            {"name": "state", "mountPath": STATE},
        ],
    }


def _resources(cpu: str, memory_mib: int) -> Mapping[str, Any]:
    memory = {"memory": f"{memory_mib}Mi"}
    return {"requests": {"cpu": cpu, **memory}, "limits": memory}
