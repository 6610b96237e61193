"""What each vendor's exporter says of its devices, as expressions over its own names. Pure; the names are in ../metrics.

Prometheus puts the exporter's pod into `namespace` and `pod`; what the exporter itself calls so becomes `exported_…`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...accelerators.profiles import Vendor
from .plan import JOBS

_MIB, _GIB = 1 << 20, 1 << 30
_APPLICATION_XIDS = "13|31|43|45|68|109"
"""XIDs that are the fault of a program: the GPU is as well as before (NVIDIA/k8s-device-plugin, internal/rm/health.go)."""
_DCGM_FAILED = 20
"""DCGM_HEALTH_RESULT_FAIL (NVIDIA/DCGM, dcgmlib/dcgm_structs.h)."""
_LARGEST_GIB = 65536


class Replace(NamedTuple):
    """`label` gets `value`, which may name groups of `pattern` in the label `source`, where that matches."""

    label: str
    value: str
    source: str = ""
    pattern: str = ""


class Join(NamedTuple):
    """`label` gets the values of the labels `sources` with `separator` between them."""

    label: str
    separator: str
    sources: tuple[str, ...]


class Series(NamedTuple):
    """One normalised series."""

    expression: str
    by: str = "max"
    """How several series of one device become one."""
    device: Sequence[Replace | Join] = ()
    """What names the device, where it is another than usual."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The exporter of one vendor."""

    series: Mapping[str, Series]
    """By the name after `accelerator:`. What an exporter does not say is not here."""
    device: Sequence[Replace | Join]
    """What gives the labels `accelerator`, `product`, `namespace` and `pod`."""
    resources: str | None = None
    """Pattern of the resources by which a pod is found that has a node for itself, where the exporter knows no pods."""


def source(vendor: Vendor) -> Source:
    """What the exporter of `vendor` says."""
    return _SOURCES[vendor]()


def _exported() -> tuple[Replace, ...]:
    return tuple(Replace(name, "$1", f"exported_{name}", "(.*)") for name in ("namespace", "pod"))


def _grown(series: str) -> str:
    """By how much a count is above its lowest of the last ten minutes: exact, where `increase` extrapolates."""
    return f"({series} - min_over_time({series}[10m]))"


def _nvidia() -> Source:
    def of(name: str, *chosen: str) -> str:
        return _selected(Vendor.NVIDIA, name, *chosen)

    xids = of("DCGM_EXP_XID_ERRORS_COUNT", f'xid!~"0|{_APPLICATION_XIDS}"')
    rows = _grown(of("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"))
    return Source(
        device=(
            # An instance of a GPU that is cut has the GPU's UUID and a number of its own.
            Join("accelerator", "/", ("UUID", "GPU_I_ID")),
            Replace("accelerator", "$1", "accelerator", "(.+)/"),
            Replace("product", "$1", "modelName", "(.*)"),
            *_exported(),
        ),
        series={
            # MIG instances have no utilisation but by their performance counters.
            "utilization:ratio": Series(f"{of('DCGM_FI_DEV_GPU_UTIL')} / 100 or {of('DCGM_FI_PROF_GR_ENGINE_ACTIVE')}"),
            "memory_used:bytes": Series(f"{of('DCGM_FI_DEV_FB_USED')} * {_MIB}"),
            "memory_total:bytes": Series(f"{of('DCGM_FI_DEV_FB_TOTAL')} * {_MIB}"),
            "temperature:celsius": Series(of("DCGM_FI_DEV_GPU_TEMP")),
            "power:watts": Series(of("DCGM_FI_DEV_POWER_USAGE")),
            "healthy": Series(
                f"{of('DCGM_EXP_GPU_HEALTH_STATUS')} < bool {_DCGM_FAILED} or {of('DCGM_FI_DEV_ROW_REMAP_FAILURE')} == bool 0",
                by="min",
            ),
            # The exporter counts the last ten minutes itself.
            "faults:increase10m": Series(f"{xids} or {of('DCGM_EXP_XID_ERRORS_COUNT')} * 0", by="sum"),
            "memory_errors:increase10m": Series(
                f'{_grown(of("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"))} or label_replace({rows}, "of", "rows", "", "")'
            ),
        },
    )


def _amd() -> Source:
    def of(name: str) -> str:
        return _selected(Vendor.AMD, name)

    return Source(
        device=(
            Replace("accelerator", "$1", "gpu_id", "(.*)"),
            Replace("accelerator", "$1", "gpu_uuid", "(.+)"),
            Replace("product", "$1", "card_model", "(.*)"),
            Replace("product", "$1", "card_series", "(.+)"),
            *_exported(),
        ),
        series={
            "utilization:ratio": Series(f"{of('gpu_gfx_activity')} / 100"),
            "memory_used:bytes": Series(f"{of('gpu_used_vram')} * {_MIB}"),
            "memory_total:bytes": Series(f"{of('gpu_total_vram')} * {_MIB}"),
            "temperature:celsius": Series(f"{of('gpu_junction_temperature')} or {of('gpu_edge_temperature')}"),
            "power:watts": Series(f"{of('gpu_package_power')} or {of('gpu_average_package_power')}"),
            "healthy": Series(of("gpu_health"), by="min"),
            "faults:increase10m": Series(_grown(of("gpu_ecc_uncorrect_total"))),
            # UMC is the memory's controller.
            "memory_errors:increase10m": Series(_grown(of("gpu_ecc_uncorrect_umc"))),
        },
    )


def _gaudi() -> Source:
    def of(name: str) -> str:
        return _selected(Vendor.GAUDI, name)

    return Source(
        device=(
            Replace("accelerator", "$1", "UUID", "(.*)"),
            Replace("product", "Intel Gaudi"),
            Replace("namespace", "$1", "pod_namespace", "(.*)"),
            Replace("pod", "$1", "pod_name", "(.*)"),
        ),
        series={
            "utilization:ratio": Series(f"{of('habanalabs_utilization')} / 100"),
            "memory_used:bytes": Series(of("habanalabs_memory_used_bytes")),
            "memory_total:bytes": Series(of("habanalabs_memory_total_bytes")),
            "temperature:celsius": Series(of("habanalabs_temperature_onchip")),
            "power:watts": Series(f"{of('habanalabs_power_mW')} / 1000"),
            # Rows of the memory that wait for their replacement, which takes a reset of the card.
            "healthy": Series(f"{of('habanalabs_pending_rows_state')} == bool 0", by="min"),
            "memory_errors:increase10m": Series(_grown(of("habanalabs_pending_rows_with_double_bit_ecc_errors"))),
        },
    )


def _neuron() -> Source:
    def of(name: str, *chosen: str) -> str:
        return _selected(Vendor.NEURON, name, *chosen)

    device = (
        Replace("accelerator", "device-$1", "neuron_device_index", "(.*)"),
        Replace("product", "$1", "instance_type", "(.*)"),
    )
    kinds = ("constants", "model_code", "model_shared_scratchpad", "runtime_memory", "tensors")
    uncorrected = _grown(of("hardware_ecc_events_total", 'event_type=~".+_uncorrected"'))
    return Source(
        device=(Replace("accelerator", "core-$1", "neuroncore", "(.*)"), device[1]),
        resources="aws_amazon_com_neuron(core)?",
        series={
            "utilization:ratio": Series(of("neuroncore_utilization_ratio")),
            "memory_used:bytes": Series(" + ".join(of(f"neuroncore_memory_usage_{kind}") for kind in kinds), by="sum"),
            "healthy": Series(f"{uncorrected} == bool 0", by="min", device=device),
            "faults:increase10m": Series(uncorrected, by="sum", device=device),
            "memory_errors:increase10m": Series(
                _grown(of("hardware_ecc_events_total", 'event_type="mem_ecc_uncorrected"')), device=device
            ),
        },
    )


def _rebellions() -> Source:
    def of(name: str) -> str:
        return _selected(Vendor.REBELLIONS, f"RBLN_DEVICE_STATUS:{name}")

    def size(name: str) -> str:
        # In GiB by the README of v0.2.2 and in bytes by the code: no device has so few bytes.
        return f"({of(name)} < {_LARGEST_GIB}) * {_GIB} or {of(name)}"

    return Source(
        device=(Replace("accelerator", "$1", "uuid", "(.*)"), Replace("product", "$1", "card", "(.*)"), *_exported()),
        series={
            "utilization:ratio": Series(f"{of('UTILIZATION')} / 100"),
            "memory_used:bytes": Series(size("DRAM_USED")),
            "memory_total:bytes": Series(size("DRAM_TOTAL")),
            "temperature:celsius": Series(of("TEMPERATURE")),
            "power:watts": Series(of("CARD_POWER")),
            "healthy": Series(f"{of('HEALTH')} == bool 0", by="min"),
        },
    )


def _selected(vendor: Vendor, name: str, *chosen: str) -> str:
    labels = ", ".join((f'job="{JOBS[vendor]}"', *chosen))
    return f"{name}{{{labels}}}"


_SOURCES = {
    Vendor.NVIDIA: _nvidia,
    Vendor.AMD: _amd,
    Vendor.GAUDI: _gaudi,
    Vendor.NEURON: _neuron,
    Vendor.REBELLIONS: _rebellions,
}
