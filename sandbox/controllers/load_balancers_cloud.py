"""The cloud provider of EKS: Classic and Network Load Balancers for Services that name no class.

It follows kubernetes/cloud-provider-aws v1.33.0 pkg/providers/v1 and k8s.io/cloud-provider v0.36.3 controllers/service, as far
as a Service shows it. Nothing is made in an account.
"""

import hashlib
from typing import Final

import httpx

from sandbox.controllers import releases
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.load_balancers import NODES, SERVICES, Balancers, RefusedError, region_of, wants_balancer
from sandbox.controllers.load_balancers_aws import CHART, takes_all

FINALIZER: Final = "service.kubernetes.io/load-balancer-cleanup"
"""Of every cloud provider."""
_PREFIX: Final = "service.beta.kubernetes.io/aws-load-balancer-"
_LONGEST_NAME: Final = 32


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever."""
    cluster = Cluster(client, {"services": SERVICES, "nodes": NODES})
    balancers = Balancers(cluster, FINALIZER, "service-controller")

    async def step() -> None:
        region = region_of(cluster.all("nodes"))
        if region is None:
            return  # without nodes there is nothing to balance
        other = await releases.find(client, CHART)
        for service in cluster.all("services"):
            if not wants_balancer(service) or "loadBalancerClass" in service["spec"]:
                if balancers.has(service):
                    await balancers.take(service)
                continue
            if other is not None and takes_all(other.values) and _kind(service) is None and not balancers.has(service):
                continue  # its webhook has given the Service a class
            await balancers.hold(service)
            try:
                if _kind(service) not in ("external", "nlb-ip"):  # those are left to the other, but held as well
                    await balancers.give(service, [{"hostname": hostname(service, region)}])
            except RefusedError as error:
                await balancers.refuse(service, error)

    await cluster.run(step)


def hostname(service: Object, region: str) -> str:
    """The name of the load balancer.

    Raises:
        RefusedError: there cannot be one.
    """
    spec, network = service["spec"], _kind(service) == "nlb"
    protocols = {port.get("protocol", "TCP") for port in spec["ports"]}
    if spec.get("sessionAffinity", "None") != "None":
        raise _wrong(f"unsupported load balancer affinity: {spec['sessionAffinity']}")
    if len(protocols) > 1:
        raise _wrong("mixed protocol is not supported for LoadBalancer")
    if unknown := protocols - ({"TCP", "UDP"} if network else {"TCP"}):
        raise _wrong(f"Protocol {unknown.pop()} not supported by LoadBalancer")
    if spec.get("loadBalancerIP"):
        raise _wrong("LoadBalancerIP cannot be specified for AWS ELB")
    name = f"a{service['metadata']['uid']}".replace("-", "")[:_LONGEST_NAME]
    digest = hashlib.sha256(name.encode()).hexdigest()
    if network:
        return f"{name}-{digest[:16]}.elb.{region}.amazonaws.com"
    internal = (service["metadata"].get("annotations") or {}).get(f"{_PREFIX}internal", "false") not in ("", "false")
    return f"{'internal-' if internal else ''}{name}-{int(digest[:8], 16):010}.{region}.elb.amazonaws.com"


def _kind(service: Object) -> str | None:
    return (service["metadata"].get("annotations") or {}).get(f"{_PREFIX}type")


def _wrong(text: str) -> RefusedError:
    return RefusedError(f"Error syncing load balancer: failed to ensure load balancer: {text}", "SyncLoadBalancerFailed")
