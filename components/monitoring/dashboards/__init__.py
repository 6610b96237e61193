"""Grafana dashboards of a stack: fleet, model, accelerator, cost and capacity. Pure."""

from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.facts import StackFacts
from components.monitoring.recording import recording_groups
from components.monitoring.rules import recorded


def dashboards(facts: StackFacts) -> dict[str, str]:
    """JSON text of each dashboard by its uid, without those the stack has no data for; the same facts give the same text.

    Grafana's types are loaded with the first call, so that stacks without dashboards do not wait for them.
    """
    from components.monitoring.dashboards.accelerator import board as accelerator  # noqa: PLC0415
    from components.monitoring.dashboards.capacity import board as capacity  # noqa: PLC0415
    from components.monitoring.dashboards.cost import board as cost  # noqa: PLC0415
    from components.monitoring.dashboards.fleet import board as fleet  # noqa: PLC0415
    from components.monitoring.dashboards.model import board as model  # noqa: PLC0415

    series = recorded([*recording_groups(facts), *accelerator_groups(facts)])
    boards = [made(facts) for made in (fleet, model, accelerator, cost, capacity)]
    return {board.uid.value: text for board in boards if (text := board.json(series))}
