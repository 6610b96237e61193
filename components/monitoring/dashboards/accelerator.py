"""Accelerators of every vendor, by the series that all of them have."""

from ..facts import StackFacts
from .board import Board, Choice, Row, Uid
from .choices import SERIES, TO_MODEL
from .panels import (
    ANY_IS_BAD,
    Colour,
    Column,
    Graph,
    Number,
    Query,
    Scale,
    Table,
    Unit,
    rows_high,
)

_SERIES = "accelerator:healthy"
VENDOR = Choice("vendor", "vendor", "Vendor", _SERIES)
NODE = Choice("node", "node", "Node", f'{_SERIES}{{vendor=~"$vendor"}}')
MODEL = Choice("model", "model_name", "Model", f'{_SERIES}{{vendor=~"$vendor",node=~"$node"}}')
POOL = Choice("pool", "pool", "Pool", 'accelerator:expected{vendor=~"$vendor"}')
CHOSEN = '{vendor=~"$vendor",node=~"$node",model_name=~"$model"}'
POOLS = '{vendor=~"$vendor",pool=~"$pool"}'

_SILENT = "no exporter answers"
_ONE = "{{node}} {{accelerator}}"


def board(facts: StackFacts) -> Board:
    """For the stack with these facts."""
    vendors = sorted({pool.vendor for pool in facts.pools})
    why = f"Accelerators of the stack ({', '.join(vendors)}): use, memory, heat, power, health. The same series for every vendor."
    rows = [_now(), _pools(), _use(), _heat(), *([_nvidia()] if _NVIDIA in vendors else []), _each(facts)]
    return Board(
        Uid.ACCELERATOR, "Accelerators", why, [VENDOR, POOL, NODE, MODEL], rows, 'alertname=~"Accelerator.*",node=~"$node|"'
    )


def _now() -> Row:
    return Row(
        "Now",
        [
            Number(
                title="Accelerators",
                why="Accelerators that an exporter speaks of.",
                expr=f"count(accelerator:healthy{CHOSEN})",
                unit=Unit.COUNT,
                empty=_SILENT,
                width=3,
            ),
            Number(
                title="Idle",
                why="Accelerators that no pod holds. They cost the same.",
                expr='count(accelerator:healthy{vendor=~"$vendor",node=~"$node",model_name="",pod=""}) or vector(0)',
                unit=Unit.COUNT,
                empty=_SILENT,
                width=3,
            ),
            Number(
                title="Use",
                why="Mean share of the time in which the accelerators computed something; it says nothing of how much.",
                expr=f"avg(accelerator:utilization:ratio{CHOSEN})",
                unit=Unit.SHARE,
                decimals=0,
                empty=_SILENT,
                width=3,
            ),
            Number(
                title="Memory",
                why="Used share of the memory of all of them together. Engines take nearly all of it when they start.",
                expr=f"sum(accelerator:memory_used:bytes{CHOSEN}) / sum(accelerator:memory_total:bytes{CHOSEN})",
                unit=Unit.SHARE,
                decimals=0,
                empty=_SILENT,
                width=3,
            ),
            Number(
                title="Power",
                why="What all of them draw together.",
                expr=f"sum(accelerator:power:watts{CHOSEN})",
                unit=Unit.WATTS,
                empty=_SILENT,
                width=3,
            ),
            Number(
                title="Hottest",
                why="Temperature of the hottest one.",
                expr=f"max(accelerator:temperature:celsius{CHOSEN})",
                unit=Unit.CELSIUS,
                decimals=0,
                empty=_SILENT,
                width=3,
            ),
            Number(
                title="Not healthy",
                why="Accelerators that their driver or exporter says are broken.",
                expr=f"sum(1 - accelerator:healthy{CHOSEN})",
                unit=Unit.COUNT,
                scale=ANY_IS_BAD,
                empty=_SILENT,
                width=3,
            ),
            Number(
                title="Faults",
                why="Faults that drivers counted in the last 10 minutes, as XID errors of NVIDIA's.",
                expr=f"sum(accelerator:faults:increase10m{CHOSEN})",
                unit=Unit.COUNT,
                scale=ANY_IS_BAD,
                decimals=0,
                empty="none counted",
                width=3,
            ),
        ],
    )


def _pools() -> Row:
    by = "vendor, pool, resource"
    return Row(
        "Pools",
        [
            Table(
                title="Expected and there",
                why="What the nodes of each pool should offer, what the cluster can give to pods, and what is missing.",
                by={"pool": "Pool", "vendor": "Vendor", "resource": "Resource"},
                columns=[
                    Column("Expected", f"sum by ({by}) (accelerator:expected{POOLS})"),
                    Column("There", f"sum by ({by}) (accelerator:allocatable{POOLS})"),
                    Column("Missing", f"sum by ({by}) (accelerator:missing{POOLS})", scale=ANY_IS_BAD),
                ],
                empty="no pool has a node",
                height=6,
                width=12,
            ),
            Graph(
                title="Missing",
                why="Accelerators that the nodes of a pool should offer and do not.",
                queries=[Query(f"sum by (pool) (accelerator:missing{POOLS})", "{{pool}}")],
                unit=Unit.COUNT,
                empty="no pool has a node",
                width=12,
                height=6,
            ),
        ],
    )


def _use() -> Row:
    return Row(
        "Use",
        [
            Graph(
                title="Use by model",
                why="Mean over the accelerators that a model's pods hold; idle ones are under no model.",
                queries=[
                    Query(f"avg by (namespace, model_name) (accelerator:utilization:ratio{_with('model_name!=', '')})", SERIES),
                    Query(f"avg(accelerator:utilization:ratio{_with('pod=', '')})", "idle"),
                ],
                unit=Unit.SHARE,
                empty=_SILENT,
                top=1,
            ),
            Graph(
                title="Memory by model",
                why="Used share of the memory of the accelerators that a model's pods hold.",
                queries=[
                    Query(
                        f"sum by (namespace, model_name) (accelerator:memory_used:bytes{_with('model_name!=', '')})"
                        f" / sum by (namespace, model_name) (accelerator:memory_total:bytes{_with('model_name!=', '')})",
                        SERIES,
                    )
                ],
                unit=Unit.SHARE,
                empty="no model holds an accelerator",
                top=1,
            ),
            Graph(
                title="Held and idle",
                why="How many accelerators pods hold, and how many nobody holds; the areas add up to all.",
                queries=[
                    Query(f"count(accelerator:healthy{_with('pod!=', '')})", "held"),
                    Query(f"count(accelerator:healthy{_with('pod=', '')})", "idle"),
                ],
                unit=Unit.COUNT,
                empty=_SILENT,
                stacked=True,
            ),
        ],
    )


def _with(matcher: str, value: str) -> str:
    return CHOSEN.replace("}", f',{matcher}"{value}"}}')


def _heat() -> Row:
    return Row(
        "Heat, power, faults",
        [
            Graph(
                title="Temperature of the ten hottest",
                why="Drivers slow an accelerator down before they switch it off; AcceleratorTooHot says from when on to look.",
                queries=[Query(f"topk(10, accelerator:temperature:celsius{CHOSEN})", _ONE)],
                unit=Unit.CELSIUS,
                empty=_SILENT,
            ),
            Graph(
                title="Power by node",
                why="What the accelerators of a node draw together.",
                queries=[Query(f"sum by (node) (accelerator:power:watts{CHOSEN})", "{{node}}")],
                unit=Unit.WATTS,
                empty=_SILENT,
                stacked=True,
            ),
            Graph(
                title="Faults",
                why="Faults that drivers counted in the 10 minutes before, where there were any.",
                queries=[Query(f"accelerator:faults:increase10m{CHOSEN} > 0", _ONE)],
                unit=Unit.COUNT,
                empty="no faults",
            ),
        ],
    )


_NVIDIA = "nvidia"


def _nvidia() -> Row:
    chosen = '{node=~"$node"}'
    counters = ("CRC_FLIT_ERROR_COUNT", "CRC_DATA_ERROR_COUNT", "REPLAY_ERROR_COUNT", "RECOVERY_ERROR_COUNT")
    return Row(
        "NVIDIA alone",
        [
            Graph(
                title="Slowed down",
                why="How often clocks went down, by what took them down; counted by the exporter over its own window.",
                queries=[Query(f"sum by (clock_event) (DCGM_EXP_CLOCK_EVENTS_COUNT{chosen})", "{{clock_event}}")],
                empty="no clock went down",
            ),
            Graph(
                title="Errors of NVLink",
                why="Errors between the GPUs of a node in the 10 minutes before. Few are put right; many make tensor"
                " parallelism slow.",
                queries=[
                    Query(
                        f"sum(increase(DCGM_FI_DEV_NVLINK_{counter}_TOTAL{chosen}[10m]))",
                        counter.removesuffix("_ERROR_COUNT").lower().replace("_", " "),
                    )
                    for counter in counters
                ],
                empty="no NVLink, or no exporter answers",
            ),
            Graph(
                title="Tensor cores",
                why="Share of the time in which the tensor cores computed: how much is done, where use says only that something"
                " is.",
                queries=[Query(f"avg by (node) (DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{chosen})", "{{node}}")],
                unit=Unit.SHARE,
                empty="profiling counters are off",
                top=1,
            ),
        ],
    )


def _each(facts: StackFacts) -> Row:
    by = "node, vendor, product, accelerator, namespace, model_name, pod"

    def sole(series: str) -> str:
        return f"max by ({by}) (accelerator:{series}{CHOSEN})"

    panel = Table(
        title="Every accelerator",
        why="One line for each. No model: nobody holds it.",
        by={
            "node": "Node",
            "vendor": "Vendor",
            "product": "Product",
            "accelerator": "Accelerator",
            "namespace": "Namespace",
            "model_name": "Model",
            "pod": "Pod",
        },
        columns=[
            Column("Use", sole("utilization:ratio"), Unit.SHARE, 0),
            Column("Memory used", sole("memory_used:bytes"), Unit.BYTES, 1),
            Column("Memory", sole("memory_total:bytes"), Unit.BYTES, 0),
            Column("Temperature", sole("temperature:celsius"), Unit.CELSIUS, 0),
            Column("Power", sole("power:watts"), Unit.WATTS, 0),
            Column("Healthy", sole("healthy"), Unit.COUNT, 0, Scale(Colour.BAD, [(1, Colour.GOOD)])),
            Column("Memory errors", sole("memory_errors:increase10m"), Unit.COUNT, 0, ANY_IS_BAD),
            Column("Faults in 10 min", sole("faults:increase10m"), Unit.COUNT, 0, ANY_IS_BAD),
        ],
        empty=_SILENT,
        links=TO_MODEL,
        height=rows_high(sum(pool.per_node * pool.max_nodes for pool in facts.pools)),
        sort_by="Use",
    )
    return Row("Every accelerator", [panel])
