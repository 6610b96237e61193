"""Every time-out that follows from how long a start takes, in seconds."""

from planner.cold_start import PROBE_PERIOD, SAFETY, ColdStart, rounded_up
from planner.derived import Derived

LEAST_CONSOLIDATE_AFTER = 600
"""Seconds that a node with accelerators stays empty at least: no start of a model is shorter than Karpenter's usual 300 s."""


def granted_seconds(weights_gib: float) -> int:
    """What practice grants a start by the size of the weights alone; see `startup_probe_seconds`."""
    return max(360, round(360 + (weights_gib - 13) * (1260 - 360) / (130 - 13)))


def startup_probe_seconds(cold: ColdStart, *, period: int = PROBE_PERIOD) -> int:
    """Seconds from the container's start until the engine must answer, a multiple of `period`.

    The larger of `SAFETY x (weights + load + compile + graphs + engine)` and what practice grants: 360 s for 7B and 1260 s for
    70B parameters in 16 bit (13 and 130 GiB), from the manifests of the Kubernetes AI workload guide this platform follows, a
    straight line between them and beyond, never below 360 s. The guide's rule of thumb after a failure (10 minutes for 13B, 25
    for 70B) is for storage slower than assumed here: name the real storage, and the predicted part grows.
    """
    return rounded_up(max(SAFETY * cold.container_s, granted_seconds(cold.weights_gib)), period)


def progress_deadline_seconds(cold: ColdStart) -> int:
    """`progressDeadlineSeconds` of the Deployment: `SAFETY x (node + image) + startup probe`, at least Kubernetes' own 600 s.

    So a rollout is never called failed while its pod may still be starting.
    """
    return max(600, rounded_up(SAFETY * (cold.node_s + cold.image_s) + startup_probe_seconds(cold), PROBE_PERIOD))


def keda_cooldown_seconds(cold: ColdStart) -> int:
    """`cooldownPeriod` of a ScaledObject: the whole cold start in full minutes, at least KEDA's own 300 s.

    A server that is given up sooner than another can be had is missed before it is saved.
    """
    return max(300, rounded_up(cold.total_s, 60))


def karpenter_consolidate_after_seconds(cold: ColdStart) -> int:
    """`consolidateAfter` of a NodePool: `SAFETY x` the whole cold start in full minutes, at least `LEAST_CONSOLIDATE_AFTER`.

    Else Karpenter takes nodes away while an image is pulled or a model loads (aws/karpenter-provider-aws#7414); 300 s, a common
    default, is less than such a start.
    """
    return max(LEAST_CONSOLIDATE_AFTER, rounded_up(SAFETY * cold.total_s, 60))


def engine_ready_seconds(startup_probe: int) -> int:
    """`VLLM_ENGINE_READY_TIMEOUT_S`: vLLM's 600 s, or what the startup probe allows where that is more.

    vLLM 0.33 gives up after it, whatever the probe allows (vllm-project/vllm#35616); so the probe alone decides.
    """
    return max(600, startup_probe)


def timeouts(cold: ColdStart) -> tuple[Derived, ...]:
    """All time-outs that follow from a start, for a table."""
    guide = "Kubernetes AI workload guide (360 s for 7B, 1260 s for 70B) and the predicted phases"
    rows = (
        ("startup probe", startup_probe_seconds(cold), f"max({SAFETY} x {cold.container_s:.0f} s, granted by size)", guide),
        (
            "progress deadline",
            progress_deadline_seconds(cold),
            f"{SAFETY} x (node + image) + startup probe",
            "Kubernetes documentation, Deployments: 600 s by default",
        ),
        (
            "KEDA cool-down",
            keda_cooldown_seconds(cold),
            f"{cold.total_s:.0f} s",
            "KEDA documentation, ScaledObject: 300 s by default",
        ),
        (
            "Karpenter consolidateAfter",
            karpenter_consolidate_after_seconds(cold),
            f"{SAFETY} x {cold.total_s:.0f} s",
            "aws/karpenter-provider-aws#7414",
        ),
        (
            "VLLM_ENGINE_READY_TIMEOUT_S",
            engine_ready_seconds(startup_probe_seconds(cold)),
            "max(600 s, startup probe)",
            "vLLM 0.33 vllm/envs.py; vllm-project/vllm#35616",
        ),
    )
    return tuple(
        Derived(name=name, value=value, unit="s", formula=formula, source=source) for name, value, formula, source in rows
    )
