"""Prometheus, Alertmanager and Grafana for one stack, in two forms behind one interface."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
import yaml
from pydantic import Field, model_validator

from ..base import PlatformComponent
from ..charts import release
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from ..types import DnsLabel, SecretKey, SecretKeyArgs, Taint, TaintArgs
from ..versions import KUBE_PROMETHEUS_STACK
from . import sizing
from .operator import CHART, stack_values
from .programs import ALERTMANAGER, GRAFANA, PORTS, PROMETHEUS, RELEASE, own_targets
from .receivers import KEYS_MOUNT, Receiver, ReceiverArgs, alertmanager_config, keys_volume
from .scrape import pod_monitor_spec
from .standalone import alertmanager, grafana, prometheus
from .standalone.objects import Objects, Volume, url
from .standalone.pods import Placing, claimed, configured, gathered, one_value
from .targets import Target, TargetArgs

_API = "monitoring.coreos.com/v1"


class StackForm(StrEnum):
    """Who runs Prometheus and Alertmanager."""

    STANDALONE = "standalone"
    """Nobody but Kubernetes: they are objects of this platform."""
    OPERATOR = "operator"
    """The operator of kube-prometheus-stack."""


class MonitoringStackArgs(TypedDict):
    """Inputs of `MonitoringStack`."""

    form: StackForm
    """`standalone` or `operator`."""
    namespace_name: pulumi.Input[str]
    """Namespace it runs in; *restricted* suffices."""
    targets: list[TargetArgs]
    """What is read (`Target.args()`), beside the kubelets and the stack itself."""
    namespaces: NotRequired[dict[str, pulumi.Input[str]]]
    """Namespaces of targets that the same program makes, by name; they are there before Prometheus may look into them."""
    rules: dict[str, list[dict[str, Any]]]
    """Groups of rules by family (`components.monitoring.rules.rule_files`); each family is one object."""
    dashboards: dict[str, str]
    """Dashboards of Grafana as JSON, by their uid."""
    retention_days: NotRequired[int]
    """Days that metrics are kept; 15 by default."""
    storage_gib: NotRequired[int]
    """Size of the volume they are on; 50 by default. A preview fails when that is too small for the days."""
    storage_class_name: NotRequired[pulumi.Input[str] | None]
    """Class of the volumes; the cluster's default one by default."""
    scrape_interval_seconds: NotRequired[int]
    """How often targets are read and rules evaluated, at most 60: rules look at two minutes and more; 30 by default."""
    receivers: NotRequired[list[ReceiverArgs]]
    """Who is told of alerts; nobody by default."""
    grafana_admin_secret: NotRequired[SecretKeyArgs | None]
    """Password of Grafana's user `admin`. By default there is no user: who reaches Grafana may look."""
    loki_url: NotRequired[pulumi.Input[str] | None]
    """Where logs are, for Grafana."""
    nodes: NotRequired[int]
    """Nodes of the cluster at the most; with the targets they decide the memory of Prometheus. 10 by default."""
    verify_kubelets: NotRequired[bool]
    """Whether kubelets have certificates of the cluster's authority, as on EKS and k3s; true by default."""
    external_urls: NotRequired[dict[str, str]]
    """Where people find `prometheus`, `alertmanager` and `grafana`, for links; inside the cluster by default."""
    alert_labels: NotRequired[dict[str, str]]
    """Labels of every alert, e.g. which stack it comes from."""
    operator_installed: NotRequired[bool]
    """Whether the cluster has the operator and a Prometheus already: then only our objects are made. False by default."""
    prometheus_url: NotRequired[pulumi.Input[str] | None]
    """Where that Prometheus answers."""
    object_labels: NotRequired[dict[str, str]]
    """Labels by which that Prometheus picks its objects."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that the pods pull images with; none by default."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes it runs on; any Linux node by default."""
    tolerations: NotRequired[list[TaintArgs]]
    """Taints of these nodes; none by default."""


class _Config(Model):
    form: StackForm
    namespace_name: InputText
    targets: tuple[Target, ...]
    namespaces: Mapping[str, InputText] = Field(default_factory=dict)
    rules: Mapping[DnsLabel, list[dict[str, Any]]]
    dashboards: Mapping[DnsLabel, str]
    retention_days: int = Field(15, ge=1, le=3650, examples=[15])
    storage_gib: int = Field(50, ge=1, le=65_536, examples=[50])
    storage_class_name: InputText | None = None
    scrape_interval_seconds: int = Field(30, ge=5, le=60, examples=[30])
    receivers: tuple[Receiver, ...] = ()
    grafana_admin_secret: SecretKey | None = None
    loki_url: InputText | None = None
    nodes: int = Field(10, ge=1, le=10_000, examples=[10])
    verify_kubelets: bool = True
    external_urls: Mapping[str, str] = Field(default_factory=dict)
    alert_labels: Mapping[str, str] = Field(default_factory=dict)
    operator_installed: bool = False
    prometheus_url: InputText | None = None
    object_labels: Mapping[str, str] = Field(default_factory=dict)
    image_pull_secrets: tuple[InputText, ...] = ()
    system_labels: Mapping[str, str] = Field(default_factory=dict)
    tolerations: tuple[Taint, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "_Config":
        if self.operator_installed and (self.form is StackForm.STANDALONE or self.prometheus_url is None):
            raise ValueError(
                "operator_installed needs form operator and prometheus_url, where the Prometheus of the cluster answers"
            )
        if self.prometheus_url is not None and not self.operator_installed:
            raise ValueError(
                "prometheus_url is that of a Prometheus that is there already; leave it out, or set operator_installed"
            )
        if unknown := sorted(self.external_urls.keys() - PORTS.keys()):
            raise ValueError(f"external_urls: {unknown[0]!r} is not known; use {PROMETHEUS}, {ALERTMANAGER} or {GRAFANA}")
        names = [target.name for target in self.targets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"targets: {twice[0]} is there twice, and jobs are told apart by their names; rename one")
        if not self.operator_installed:
            try:
                sizing.check_storage(self.series, self.scrape_interval_seconds, self.retention_days, self.storage_gib)
            except ValueError as error:
                raise ValueError(f"storage_gib: {error}") from None
        return self

    @property
    def series(self) -> int:
        """Series that Prometheus holds at the most."""
        return sizing.series(self.targets, self.nodes)

    def external(self, program: str) -> str:
        """Where people find a program, for links."""
        return self.external_urls.get(program, f"http://{program}:{PORTS[program]}")

    @property
    def placing(self) -> Placing:
        """Which nodes its pods run on."""
        return Placing(labels=self.system_labels, tolerations=self.tolerations)


class MonitoringStack(PlatformComponent):
    """Reads metrics, evaluates rules, tells whoever is to be told of alerts, and shows dashboards.

    A rule that changes is one object that changes in either form, and nothing restarts.
    """

    prometheus_url: pulumi.Output[str]
    """Where Prometheus answers in the cluster, known once it runs: what asks it waits for this."""
    alertmanager_url: pulumi.Output[str]
    """Where Alertmanager answers; empty with a Prometheus that was there already."""
    grafana_url: pulumi.Output[str]
    """Where Grafana answers; empty with a Prometheus that was there already."""

    def __init__(self, name: str, args: MonitoringStackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(_Config, args, f"MonitoringStack {name}")
        self._objects = Objects(
            self, namespace_name=config.namespace_name, placing=config.placing, pull_secrets=config.image_pull_secrets
        )
        dashboards = self._dashboards()
        if config.prometheus_url is not None:
            self._picked(config.namespace_name)
            self.prometheus_url = pulumi.Output.from_input(config.prometheus_url)
            self.alertmanager_url = pulumi.Output.from_input("")
            self.grafana_url = pulumi.Output.from_input("")
        else:
            if config.form is StackForm.STANDALONE:
                self.alertmanager_url = self._alertmanager()
                self.prometheus_url = self._prometheus()
            else:
                self.prometheus_url, self.alertmanager_url = self._by_operator()
            self.grafana_url = self._grafana(dashboards)
        self.finish()

    def _dashboards(self) -> list[pulumi.Output[str]]:
        # The label is the one that the sidecar of a Grafana that is there already looks for.
        marked = {"grafana_dashboard": "1", **self._config.object_labels}
        return [
            self._objects.config_map(f"dashboard-{uid}", GRAFANA, {f"{uid}.json": text}, marked)
            for uid, text in sorted(self._config.dashboards.items())
        ]

    def _prometheus(self) -> pulumi.Output[str]:
        config, objects = self._config, self._objects
        text = prometheus.prometheus_config(
            [*config.targets, *own_targets(by_operator=False)],
            interval_seconds=config.scrape_interval_seconds,
            alertmanager=f"{ALERTMANAGER}:{PORTS[ALERTMANAGER]}",
            verify_kubelets=config.verify_kubelets,
            labels=config.alert_labels,
        )
        rules = [
            objects.config_map(f"prometheus-rules-{family}", PROMETHEUS, {f"{family}.yaml": prometheus.rule_file(groups)})
            for family, groups in sorted(config.rules.items())
        ]
        settings = objects.config_map("prometheus-config", PROMETHEUS, {"prometheus.yml": text})
        claim = objects.claim(PROMETHEUS, config.storage_gib, config.storage_class_name)
        account = objects.account(PROMETHEUS)
        objects.rights(PROMETHEUS, account, self._watched(), prometheus.pod_rules(), prometheus.node_rules())
        program = prometheus.prometheus_program(
            series=config.series,
            retention_days=config.retention_days,
            storage_gib=config.storage_gib,
            external_url=config.external(PROMETHEUS),
        )
        volumes: list[Volume] = [
            claimed(claim, prometheus.DATA),
            configured("config", settings, prometheus.CONFIG),
            gathered("rules", rules, prometheus.RULES),
        ]
        return objects.stateful_set(PROMETHEUS, program, account, volumes, uses_api=True)

    def _watched(self) -> dict[str, pulumi.Input[str]]:
        """Namespaces with something to read, each by what tells its objects apart."""
        config = self._config
        names = sorted({namespace for target in config.targets for namespace in target.namespaces})
        found = {f"in-{name}": config.namespaces.get(name, name) for name in names}
        own = config.namespace_name
        return {"own": own} | {key: namespace for key, namespace in found.items() if namespace is not own and namespace != own}

    def _alertmanager(self) -> pulumi.Output[str]:
        config, objects = self._config, self._objects
        text = yaml.safe_dump(alertmanager_config(config.receivers), sort_keys=False, width=1000)
        settings = objects.fixed_config_map("alertmanager-config", ALERTMANAGER, {"alertmanager.yml": text})
        claim = objects.claim(ALERTMANAGER, alertmanager.STORAGE_GIB, config.storage_class_name)
        volumes: list[Volume] = [claimed(claim, alertmanager.DATA), configured("config", settings, alertmanager.CONFIG)]
        if keys := keys_volume(config.receivers):
            volumes.append((keys, KEYS_MOUNT))
        program = alertmanager.alertmanager_program(config.external(ALERTMANAGER))
        return objects.stateful_set(ALERTMANAGER, program, objects.account(ALERTMANAGER), volumes)

    def _grafana(self, dashboards: Sequence[pulumi.Output[str]]) -> pulumi.Output[str]:
        config, objects, secret = self._config, self._objects, self._config.grafana_admin_secret
        around = pulumi.Output.all(prometheus=self.prometheus_url, loki=config.loki_url)
        data = around.apply(
            lambda urls: grafana.grafana_settings(external_url=config.external(GRAFANA), with_admin=secret is not None, **urls)
        )
        settings = objects.fixed_config_map("grafana-config", GRAFANA, data)
        volumes: list[Volume] = [
            configured("config", settings, grafana.PROVISIONING, grafana.FILES),
            gathered("dashboards", dashboards, grafana.DASHBOARDS),
        ]
        if secret:
            volumes.append(one_value("admin", secret, grafana.ADMIN))
        program = grafana.grafana_program(secret.key if secret else None)
        return objects.deployment(GRAFANA, program, objects.account(GRAFANA), volumes)

    def _by_operator(self) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """Where Prometheus and Alertmanager of the operator answer."""
        config = self._config
        values = stack_values(
            alertmanager_url=config.external(ALERTMANAGER),
            interval_seconds=config.scrape_interval_seconds,
            labels=config.alert_labels,
            placing=config.placing,
            prometheus_url=config.external(PROMETHEUS),
            pull_secrets=config.image_pull_secrets,
            receivers=config.receivers,
            retention_days=config.retention_days,
            series=config.series,
            storage_class_name=config.storage_class_name,
            storage_gib=config.storage_gib,
            verify_kubelets=config.verify_kubelets,
        )
        made = release(self, config.namespace_name, RELEASE, chart=CHART, version=KUBE_PROMETHEUS_STACK, values=values)
        # The release brings the definitions of what is made now.
        self._picked(known_after(config.namespace_name, made.version))
        return (
            known_after(url(f"{RELEASE}-{PROMETHEUS}", config.namespace_name, PORTS[PROMETHEUS]), made.version),
            known_after(url(f"{RELEASE}-{ALERTMANAGER}", config.namespace_name, PORTS[ALERTMANAGER]), made.version),
        )

    def _picked(self, namespace_name: pulumi.Input[str]) -> None:
        """What a Prometheus of the operator reads and evaluates."""
        config, objects = self._config, self._objects
        own = () if config.operator_installed else own_targets(by_operator=True)
        for target in (*config.targets, *own):
            kubernetes.apiextensions.CustomResource(
                self.child_name("target", target.name),
                api_version=_API,
                kind="PodMonitor",
                metadata=objects.metadata(PROMETHEUS, f"llm-{target.name}", config.object_labels, namespace_name=namespace_name),
                spec=pod_monitor_spec(target),
                opts=self.child(),
            )
        for family, groups in sorted(config.rules.items()):
            kubernetes.apiextensions.CustomResource(
                self.child_name("rules", family),
                api_version=_API,
                kind="PrometheusRule",
                metadata=objects.metadata(PROMETHEUS, f"llm-{family}", config.object_labels, namespace_name=namespace_name),
                spec={"groups": groups},
                opts=self.child(),
            )
