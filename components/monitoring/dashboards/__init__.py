"""Grafana dashboards of a stack: fleet, model, accelerator, cost and capacity. Pure."""

from ..exporters.recording import accelerator_groups
from ..facts import StackFacts
from ..recording import recording_groups
from ..rules import recorded


def dashboards(facts: StackFacts) -> dict[str, str]:
    """JSON text of each dashboard by its uid, without those the stack has no data for; the same facts give the same text.

    Grafana's types are loaded with the first call, so that stacks without dashboards do not wait for them.
    """
    from .accelerator import board as accelerator  # noqa: PLC0415
    from .capacity import board as capacity  # noqa: PLC0415
    from .cost import board as cost  # noqa: PLC0415
    from .fleet import board as fleet  # noqa: PLC0415
    from .model import board as model  # noqa: PLC0415

    series = recorded([*recording_groups(facts), *accelerator_groups(facts)])
    boards = [made(facts) for made in (fleet, model, accelerator, cost, capacity)]
    return {board.uid.value: text for board in boards if (text := board.json(series))}
