"""The AWS Load Balancer Controller: Network Load Balancers for Services of its class.

It follows kubernetes-sigs/aws-load-balancer-controller (controllers/service, pkg/service, docs/guide/service/annotations.md), as
far as a Service shows it: whether there is a load balancer, by which name, and why there is none. Nothing is made in an account.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx

from sandbox.controllers import releases
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.gateway_api import name_of
from sandbox.controllers.load_balancers import NODES, SERVICES, Balancers, RefusedError, region_of, wants_balancer

CHART: Final = "aws-load-balancer-controller"
_FINALIZER: Final = "service.k8s.aws/resources"
_CLASS: Final = "service.k8s.aws/nlb"
_PREFIX: Final = "service.beta.kubernetes.io/aws-load-balancer-"
_LONGEST_NAME: Final = 32
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
"""What Go reads as such (strconv.ParseBool)."""
_ALPN: Final = ("None", "HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred")
_WHOLE: Final = ("interval", "timeout", "healthy-threshold", "unhealthy-threshold")
_ATTRIBUTES: Final = {
    *("access_logs.s3.enabled", "access_logs.s3.bucket", "access_logs.s3.prefix", "load_balancing.cross_zone.enabled"),
    *("deletion_protection.enabled", "dns_record.client_routing_policy", "ipv6.deny_all_igw_traffic"),
    *("zonal_shift.config.enabled", "secondary_ips.auto_assigned.per_subnet"),
}
"""Of a Network Load Balancer (Elastic Load Balancing API, LoadBalancerAttribute)."""
_IDLE: Final = ("tcp.idle_timeout.seconds", 60, 6000)
"""The one of a listener (there, ListenerAttribute)."""


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever."""
    cluster = Cluster(client, {"services": SERVICES, "nodes": NODES})
    balancers = Balancers(cluster, _FINALIZER, "service")

    async def step() -> None:
        release = await releases.find(client, CHART)
        if release is None:
            return
        values = {"region": region_of(cluster.all("nodes")), **release.values}
        for service in cluster.all("services"):
            try:
                if wants_balancer(service) and is_own(service, values):
                    await balancers.give(service, [{"hostname": hostname(service, values)}])
                elif balancers.has(service):
                    _check_protection(service)
                    await balancers.take(service)
            except RefusedError as error:
                await balancers.refuse(service, error)

    await cluster.run(step)


def is_own(service: Object, values: Mapping[str, Any]) -> bool:
    """Whether the controller makes the load balancer of a Service (pkg/service/service_utils.go)."""
    given = service["spec"].get("loadBalancerClass")
    if given is not None:
        return bool(given == (values.get("loadBalancerClass") or _CLASS))
    kind = _said(service, "type")
    if kind in ("external", "nlb-ip"):
        return kind == "nlb-ip" or _said(service, "nlb-target-type") in ("ip", "instance")
    return kind is None and takes_all(values)


def takes_all(values: Mapping[str, Any]) -> bool:
    """Whether the release's webhook gives its class to new Services that have none."""
    return bool(values.get("enableServiceMutatorWebhook", True))


def hostname(service: Object, values: Mapping[str, Any]) -> str:
    """The name of the load balancer. Internal ones have no other form: their names lead to private addresses.

    Raises:
        RefusedError: there cannot be one.
    """
    scheme = _scheme(service, values)
    name = _name(service, str(values["clusterName"]), scheme)
    _check(service, values)
    _check_at_aws(service)
    region = str(values["region"])
    own = hashlib.sha256(f"{name}/{service['metadata']['uid']}".encode()).hexdigest()[:16]
    return f"{name}-{own}.elb.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def _said(service: Object, suffix: str) -> str | None:
    return (service["metadata"].get("annotations") or {}).get(f"{_PREFIX}{suffix}")


def _wrong(text: str) -> RefusedError:
    return RefusedError(f"Failed build model due to {text}", "FailedBuildModel")


def _boolean(service: Object, suffix: str) -> bool | None:
    if (text := _said(service, suffix)) is None:
        return None
    if text not in _BOOLEANS:
        why = f'strconv.ParseBool: parsing "{text}": invalid syntax'
        raise _wrong(f"failed to parse bool annotation, {_PREFIX}{suffix}: {text}: {why}")
    return _BOOLEANS[text]


def _pairs(service: Object, suffix: str) -> dict[str, str]:
    text = _said(service, suffix) or ""
    found = dict(each.strip().partition("=")[::2] for each in text.split(",") if each.strip())
    if "" in found or any("=" not in each for each in text.split(",") if each.strip()):
        raise _wrong(f"failed to parse stringMap annotation, {_PREFIX}{suffix}: {text}")
    return found


def _listed(service: Object, suffix: str) -> list[str]:
    return [each.strip() for each in (_said(service, suffix) or "").split(",") if each.strip()]


def _scheme(service: Object, values: Mapping[str, Any]) -> str:
    scheme = _said(service, "scheme")
    if scheme is not None:
        if scheme not in ("internal", "internet-facing"):
            raise _wrong(f"unknown scheme: {scheme}")
        return scheme
    internal = _boolean(service, "internal")
    if internal is None:
        return str(values.get("defaultLoadBalancerScheme") or "internal")
    return "internal" if internal else "internet-facing"


def _name(service: Object, cluster: str, scheme: str) -> str:
    own = _said(service, "name")
    if own is not None:
        if len(own) > _LONGEST_NAME:
            raise _wrong("load balancer name cannot be longer than 32 characters")
        return own
    digest = hashlib.sha256(f"{cluster}{service['metadata']['uid']}{scheme}".encode()).hexdigest()
    namespace, name = (re.sub(r"[^0-9A-Za-z]", "", part)[:8] for part in name_of(service))
    return f"k8s-{namespace}-{name}-{digest[:10]}"


def _check(service: Object, values: Mapping[str, Any]) -> None:
    """What the controller itself refuses (pkg/service/model_build_*.go)."""
    if (family := _said(service, "ip-address-type")) not in (None, "ipv4", "dualstack"):
        raise _wrong(f"unknown IPAddressType: {family}")
    for suffix in ("attributes", "target-group-attributes", "additional-resource-tags"):
        _pairs(service, suffix)
    for suffix in ("access-log-enabled", "cross-zone-load-balancing-enabled", "manage-backend-security-group-rules"):
        _boolean(service, suffix)
    _check_addresses(service, values)
    for port in service["spec"]["ports"]:
        _check_port(service, port, values)
    if (proxy := _said(service, "proxy-protocol")) not in (None, "*"):
        raise _wrong(f"invalid value {proxy} for Load Balancer proxy protocol v2 annotation, only value currently supported is *")
    preserved = _pairs(service, "target-group-attributes").get("preserve_client_ip.enabled", "true")
    if preserved not in _BOOLEANS:
        why = f'strconv.ParseBool: parsing "{preserved}": invalid syntax'
        raise _wrong(f"failed to parse attribute preserve_client_ip.enabled={preserved}: {why}")
    alpn = _said(service, "alpn-policy")
    if alpn is not None and alpn not in _ALPN and _listed(service, "ssl-cert"):
        raise _wrong(f"invalid ALPN policy {alpn}, policy must be one of [{', '.join(_ALPN)}]")


def _check_addresses(service: Object, values: Mapping[str, Any]) -> None:
    elastic, private = _listed(service, "eip-allocations"), _listed(service, "private-ipv4-addresses")
    internal = _scheme(service, values) == "internal"
    if elastic and private:
        raise _wrong("only one of EIP allocations or PrivateIpv4Addresses can be set")
    if elastic and internal:
        raise _wrong("EIP allocations can only be set for internet facing load balancers")
    if private and not internal:
        raise _wrong("PrivateIpv4Addresses can only be set for internal balancers")


def _check_port(service: Object, port: Object, values: Mapping[str, Any]) -> None:
    spec = service["spec"]
    target = _said(service, "nlb-target-type") or values.get("defaultTargetType") or "instance"
    to_pods = target == "ip" or _said(service, "type") == "nlb-ip"
    if target == "ip" and values.get("enableIPTargetType") is False:
        raise _wrong("unsupported targetType: ip when EnableIPTargetType is false")
    if not to_pods and not port.get("nodePort") and spec.get("allocateLoadBalancerNodePorts") is False:
        raise _wrong("unable to support instance target type with an unallocated NodePort")
    protocol = _said(service, "healthcheck-protocol")
    if protocol is not None and protocol.upper() not in ("TCP", "HTTP", "HTTPS"):
        raise _wrong(f"unsupported health check protocol {protocol}")
    asked = _said(service, "healthcheck-port") or "traffic-port"
    if asked != "traffic-port" and not asked.isdecimal():
        found = next((each for each in spec["ports"] if each.get("name") == asked), None)
        if found is None:
            where = "/".join(name_of(service))
            raise _wrong(f"failed to resolve healthCheckPort: unable to find port {asked} on service {where}")
        if to_pods and isinstance(found.get("targetPort"), str):
            raise _wrong("cannot use named healthCheckPort for IP TargetType when service's targetPort is a named port")
    for suffix in _WHOLE:
        text = _said(service, f"healthcheck-{suffix}")
        if text is not None and not re.fullmatch(r"[+-]?\d+", text):
            why = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            raise _wrong(f"failed to parse int32 annotation, {_PREFIX}healthcheck-{suffix}: {text}: {why}")
    _pairs(service, f"listener-attributes.{_listener(service, port)}")


def _listener(service: Object, port: Object) -> str:
    """Protocol and port (pkg/service/model_build_listener.go): TLS where there is a certificate for it."""
    ports = _listed(service, "ssl-ports")
    own = {port.get("name"), str(port["port"])}
    ends = port.get("protocol", "TCP") != "UDP" and _listed(service, "ssl-cert") and (not ports or own & set(ports))
    return f"{'TLS' if ends else port.get('protocol', 'TCP')}-{port['port']}"


def _check_at_aws(service: Object) -> None:
    """What AWS refuses, in words of the rehearsal."""
    for problem in _at_aws(service):
        raise RefusedError(f"Failed deploy model due to {problem}", "FailedDeployModel")


def _at_aws(service: Object) -> Iterator[str]:
    for name in _pairs(service, "attributes").keys() - _ATTRIBUTES:
        yield f"ValidationError: a Network Load Balancer has no attribute {name}"
    for port in service["spec"]["ports"]:
        listener = _listener(service, port)
        for name, value in _pairs(service, f"listener-attributes.{listener}").items():
            attribute, least, most = _IDLE
            if name != attribute or not listener.startswith("TCP-"):
                yield f"ValidationError: listener {listener} has no attribute {name}"
            elif not (value.isdecimal() and least <= int(value) <= most):
                yield f"ValidationError: {name} of listener {listener} must be {least} to {most}, not {value}"
    for arn in _listed(service, "ssl-cert"):
        if not re.fullmatch(r"arn:aws[\w-]*:(acm:[\w-]+:\d{12}:certificate/.+|iam::\d{12}:server-certificate/.+)", arn):
            yield f"CertificateNotFound: {arn} is no ARN of a certificate"
    number = _said(service, "healthcheck-port") or ""
    if number.isdecimal() and not 1 <= int(number) <= 65535:
        yield f"ValidationError: health check port {number} must be 1 to 65535"


def _check_protection(service: Object) -> None:
    protected = _pairs(service, "attributes").get("deletion_protection.enabled", "false")
    if _BOOLEANS.get(protected):
        raise _wrong(f"deletion_protection is enabled, cannot delete the service: {name_of(service)[1]}")
