"""What a plan means in time and money: its start, its throughput, its cost."""

from collections.abc import Mapping
from dataclasses import dataclass

from planner.cold_start import ColdStart, cold_start
from planner.cost import Cost, cost
from planner.memory import Fit
from planner.model import Model
from planner.options import Device, Options
from planner.throughput import Throughput, throughput

STORAGE = "hostPath-nvme"
"""Where the model lies when nobody says: a disk of the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rented:
    """The instances a plan runs on, for their price."""

    instance_type: str
    instances: float
    """A part of one where several models share it."""
    region: str = "us-east-1"
    prices: Mapping[str, float] | None = None
    """USD per hour by instance type that go before the catalogue's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Start, throughput of one server, and cost of all; None where the catalogue has no figures for it."""

    cold: ColdStart
    throughput: Throughput | None
    cost: Cost | None


def forecast(
    name: str,
    model: Model,
    card: Device,
    options: Options,
    planned: Fit,
    *,
    replicas: int = 1,
    readers: int | None = None,
    nodes_per_server: int = 1,
    storage: str = STORAGE,
    read_mb_per_s: float | None = None,
    generates: bool = True,
    rented: Rented | None = None,
) -> Forecast:
    """What `replicas` servers planned as `planned` mean, when `readers` of them (all by default) load at once.

    One that makes no text has no throughput of it.

    Raises UnknownStorageError.
    """
    # Half the context is in the cache on average, so that twice as many requests are.
    batch = max(min(int(planned.max_concurrency * 2), planned.max_num_seqs), 1)
    context = max(planned.max_model_len // 2, 1)
    made = throughput(model, card, options, batch=batch, mean_context=context) if generates else None
    price = None
    if rented is not None:
        price = cost(
            name,
            instance_type=rented.instance_type,
            instances=rented.instances,
            replicas=replicas,
            throughput=made,
            region=rented.region,
            prices=rented.prices,
        )
    start = cold_start(
        model, options, storage=storage, readers=readers or replicas, nodes=nodes_per_server, read_mb_per_s=read_mb_per_s
    )
    return Forecast(cold=start, throughput=made, cost=price)
