"""What the scaling of a model entry becomes: its autoscaler, and what that needs in the cluster."""

from collections.abc import Sequence

import pulumi

from components.scaling import Autoscaler, KedaController, MetricsServer, ScaledKind, ScalerKind
from components.scaling.controllers import ScalingControllerArgs
from components.scaling.groups import TargetsArgs
from components.scaling.metrics_server import MetricsServerArgs
from components.serving import ModelServer
from components.serving.tgi import TgiServer
from foundation import Foundation, Namespaces
from planner.autoscaling import BUSY, running_target, waiting_target
from planner.stack import ModelPlan, StackPlan
from settings.scaling import ScalingSettings
from settings.sections import Settings


def scalers(config: Settings, below: Foundation, rooms: Namespaces) -> list[pulumi.Resource]:
    """What autoscalers ask, where some model has one and the cluster does not bring it."""
    on_cluster = pulumi.ResourceOptions(provider=below.provider)
    made: list[pulumi.Resource] = []
    if config.makes_keda:
        made.append(KedaController("keda", _args(below, rooms.names[config.namespaces.controllers]), opts=on_cluster))
    by_cpu = any(model.scaling and model.scaling.cpu for model in config.models.values())
    by_cpu |= any(app.scaling for app in config.apps.values())
    if by_cpu and not below.cluster.has_metrics_server:
        verify = config.monitoring is None or config.monitoring.verify_kubelets
        args: MetricsServerArgs = {**_args(below, "kube-system"), "verify_kubelets": verify}
        made.append(MetricsServer("metrics-server", args, opts=on_cluster))
    return made


def autoscale(
    name: str,
    config: Settings,
    plan: StackPlan,
    below: Foundation,
    namespace_name: pulumi.Input[str],
    server: ModelServer | TgiServer,
    prometheus_url: pulumi.Input[str] | None,
    after: Sequence[pulumi.Resource],
) -> Autoscaler | None:
    """The autoscaler of a model, where it has one. `after` is what `scalers` made: it outlives the autoscaler."""
    wanted, planned = config.models[name].scaling, plan.models[name]
    if wanted is None:
        return None
    return Autoscaler(
        name,
        {
            "model_name": name,
            "namespace_name": namespace_name,
            "server_name": server.server_name,
            "scales": ScaledKind.LEADER_WORKER_SET if planned.placement.nodes > 1 else ScaledKind.DEPLOYMENT,
            "kind": wanted.kind,
            "engine_version": config.models[name].engine.version,
            "min_replicas": wanted.min_replicas,
            "max_replicas": wanted.max_replicas,
            "start_seconds": planned.cold.total_s,
            "grace_seconds": planned.drain.grace,
            "targets": targets(wanted, planned),
            "prometheus_url": prometheus_url if wanted.kind is ScalerKind.KEDA else None,
            "schedules": [schedule.args() for schedule in wanted.schedules],
            "fallback_replicas": wanted.fallback_replicas,
            "scale_down_seconds": wanted.scale_down_seconds,
            "polling_seconds": wanted.polling_seconds,
        },
        opts=pulumi.ResourceOptions(provider=below.provider, depends_on=list(after)),
    )


def targets(wanted: ScalingSettings, planned: ModelPlan) -> TargetsArgs:
    """What each server should bear: the settings where they say so, the plan elsewhere."""
    if wanted.kind is ScalerKind.HPA:
        return {"cpu": wanted.cpu, "metric": wanted.metric.args() if wanted.metric else None}
    return {
        "waiting": wanted.waiting or waiting_target(planned.throughput, planned.placement.fit.max_num_seqs),
        "running": wanted.running or running_target(planned.placement.fit.max_num_seqs),
        "kv_usage": wanted.kv_usage or BUSY,
        "time_to_first_token": wanted.time_to_first_token,
        "latency": wanted.latency,
    }


def _args(below: Foundation, namespace_name: pulumi.Input[str]) -> ScalingControllerArgs:
    return {"namespace_name": namespace_name, "system_labels": dict(below.system_labels)}
