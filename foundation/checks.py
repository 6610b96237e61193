"""What AWS itself says to a stack file before anything is made: versions, zones, quotas."""

import datetime
from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from components.cluster.capacity import CapacityKind
from components.cluster.eks_versions import check_version
from components.cluster.images import ImageFamily, ami_type, release_parameter
from components.cluster.karpenter_pools import CapacityType
from components.cluster.quotas import Demand, Market, Quota, demands, not_offered, shortages
from components.inputs import InputError
from settings.clusters import EksPoolSettings, ManagedPoolSettings
from settings.eks import OnEks


def check(eks: OnEks, provider: aws.Provider, file: str) -> None:
    """Raises InputError, a sentence for every fault. What may not be looked up is a warning, not a fault."""
    try:
        warning = check_version(eks.cluster.kubernetes_version, datetime.date.today())
    except ValueError as error:
        raise InputError(f"{file}: cluster.kubernetesVersion: {error}") from None
    if warning:
        pulumi.log.warn(f"{file}: cluster.kubernetesVersion: {warning}")
    _admitted(provider, f"{file}: aws.accountId")
    _released(eks, provider, file)
    pools = {name: _demand(name, pool) for name, pool in eks.cluster.node_pools.items()}
    system = Demand("cluster.system", eks.cluster.system.instance_types, eks.cluster.system.max_nodes, ("onDemand",))
    found = []
    offers = _offers(sorted({name for pool in (*pools.values(), system) for name in pool.instance_types}), provider)
    if offers is not None:
        zones = {name: pool.zones or eks.network.zones for name, pool in eks.cluster.node_pools.items()}
        found += [not_offered(pool, zones[name], offers) for name, pool in pools.items()]
        found.append(not_offered(system, eks.network.zones, offers))
    try:
        needed = demands([*pools.values(), system])
        found += shortages(needed, _values(needed, provider), eks.aws.region)
    except ValueError as error:
        found.append(f"cluster.system: {error}")
    if faults := [fault for fault in found if fault]:
        raise InputError("\n".join(f"{file}: {fault}" for fault in faults))


def _admitted(provider: aws.Provider, where: str) -> None:
    """Raises InputError when the credentials are of an account the stack may not touch, or of none."""
    try:
        aws.get_caller_identity(opts=pulumi.InvokeOptions(provider=provider))
    except Exception as error:
        raise InputError(f"{where}: {_reason(error)}") from None


def _released(eks: OnEks, provider: aws.Provider, file: str) -> None:
    """Raises InputError when a release of Bottlerocket has no image for the cluster's Kubernetes version."""
    version = eks.cluster.kubernetes_version
    images = {f"cluster.nodePools.{name}": (pool.image, pool.instance_types) for name, pool in eks.cluster.node_pools.items()}
    images["cluster.system"] = (eks.cluster.system.image, eks.cluster.system.instance_types)
    for key, (image, types) in images.items():
        if image.family is ImageFamily.BOTTLEROCKET:
            name = release_parameter(ami_type(image.family, types), version, image.pinned)
            try:
                aws.ssm.get_parameter(name=name, opts=pulumi.InvokeOptions(provider=provider))
            except Exception as error:
                raise InputError(
                    f"{file}: {key}.image.release: Bottlerocket {image.pinned} cannot be had for Kubernetes {version} "
                    f"({_reason(error)}); use a release that github.com/bottlerocket-os/bottlerocket/releases has for it"
                ) from None


_MARKETS: dict[CapacityKind, tuple[Market, ...]] = {CapacityKind.SPOT: ("spot",), CapacityKind.CAPACITY_BLOCK: ()}
"""Of managed pools that are not on-demand; a capacity block is paid for, and counts against no quota."""


def _demand(name: str, pool: EksPoolSettings) -> Demand:
    if isinstance(pool, ManagedPoolSettings):
        markets = _MARKETS.get(pool.capacity.kind, ("onDemand",))
    else:
        bought: set[Market] = {"spot" if kind is CapacityType.SPOT else "onDemand" for kind in pool.capacity_types}
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
    """What the provider said, without the SDK's words around it."""
    last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return last.rpartition("returned an error: ")[2]
