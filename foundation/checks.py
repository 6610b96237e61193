"""What AWS itself says to a stack file before anything is made: versions, zones, quotas."""

import datetime
from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from components.cluster.eks_versions import check_version
from components.cluster.quotas import Demand, Market, Quota, demands, not_offered, shortages
from components.inputs import InputError
from settings.clusters import EksPoolSettings, ManagedPoolSettings
from settings.sections import OnEks


def check(eks: OnEks, provider: aws.Provider, file: str) -> None:
    """Raises InputError, a sentence for every fault. What may not be looked up is a warning, not a fault."""
    try:
        warning = check_version(eks.cluster.kubernetes_version, datetime.date.today())
    except ValueError as error:
        raise InputError(f"{file}: cluster.kubernetesVersion: {error}") from None
    if warning:
        pulumi.log.warn(f"{file}: cluster.kubernetesVersion: {warning}")
    pools = {name: _demand(name, pool) for name, pool in eks.cluster.node_pools.items()}
    system = Demand("cluster.system", eks.cluster.system.instance_types, eks.cluster.system.max_nodes, ("onDemand",))
    found = []
    offers = _offers(sorted({name for pool in (*pools.values(), system) for name in pool.instance_types}), provider)
    if offers is not None:
        zones = {name: pool.zones or eks.network.zones for name, pool in eks.cluster.node_pools.items()}
        found += [not_offered(pool, zones[name], offers) for name, pool in pools.items()]
        found.append(not_offered(system, eks.network.zones, offers))
    needed = demands([*pools.values(), system])
    found += shortages(needed, _values(needed, provider), eks.aws.region)
    if faults := [fault for fault in found if fault]:
        raise InputError("\n".join(f"{file}: {fault}" for fault in faults))


_MARKETS: dict[str, tuple[Market, ...]] = {"spot": ("spot",), "capacityBlock": ()}
"""Of managed pools that are not on-demand; a capacity block is paid for, and counts against no quota."""


def _demand(name: str, pool: EksPoolSettings) -> Demand:
    if isinstance(pool, ManagedPoolSettings):
        markets = _MARKETS.get(pool.capacity.kind, ("onDemand",))
    else:
        bought: set[Market] = {"spot" if kind == "spot" else "onDemand" for kind in pool.capacity_types}
        markets = tuple(sorted(bought))
    return Demand(f"cluster.nodePools.{name}", pool.instance_types, pool.max_nodes, markets)


def _offers(types: list[str], provider: aws.Provider) -> Mapping[str, frozenset[str]] | None:
    try:
        answer = aws.ec2.get_instance_type_offerings(
            location_type="availability-zone",
            filters=[{"name": "instance-type", "values": types}],
            opts=pulumi.InvokeOptions(provider=provider),
        )
    except Exception as error:  # the SDK has one kind of error for all refusals
        pulumi.log.warn(f"where instance types can be had could not be looked up: {_reason(error)}")
        return None
    pairs = list(zip(answer.instance_types, answer.locations, strict=True))
    return {name: frozenset(zone for each, zone in pairs if each == name) for name in types}


def _values(needed: Mapping[Quota, list[Demand]], provider: aws.Provider) -> dict[str, float]:
    values = {}
    for limit in needed:
        try:
            answer = aws.servicequotas.get_service_quota(
                service_code="ec2", quota_code=limit.code, opts=pulumi.InvokeOptions(provider=provider)
            )
        except Exception as error:
            pulumi.log.warn(f"the quota {limit.code} ({limit.name}) could not be looked up: {_reason(error)}")
        else:
            values[limit.code] = answer.value
    return values


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
