"""What Envoy Gateway makes of the backends of an HTTPRoute, and why it would not use them. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi (validate.go, route.go).
"""

from typing import Final

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_seen import GROUP, RefusedError, Seen, spec_of
from sandbox.controllers.gateway_api import GROUP as STANDARD
from sandbox.controllers.gateway_api import Name, name_of, permitted, target_of

_KINDS: Final = ("URLRewrite", "RequestRedirect", "RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "CORS")
_IN_BACKENDS: Final = ("RequestHeaderModifier", "ResponseHeaderModifier", "ExtensionRef", "URLRewrite")


def unknown_filter(each: Object) -> str | None:
    """Why a filter is none that Envoy Gateway has."""
    if each["type"] in _KINDS:
        return None
    if each["type"] != "ExtensionRef":
        return f"unsupported filter type {each['type']}"
    ref = each.get("extensionRef")
    if ref is None:
        return "extensionRef field must be specified for an extended filter"
    return (
        None
        if (ref.get("group"), ref["kind"]) == (GROUP, "HTTPRouteFilter")
        else f"unknown kind {ref.get('group')}/{ref['kind']}"
    )


def check_backend(route: Object, ref: Object, seen: Seen) -> None:
    """Raises RefusedError where a backend cannot be used."""
    _check_backend_filters(ref)
    group, kind = ref.get("group", ""), ref.get("kind", "Service")
    where = target_of(ref, name_of(route)[0])
    if group not in ("", "multicluster.x-k8s.io", GROUP):
        told = (
            "Group is invalid, only the core API group (specified by omitting the group field or setting it to an empty string), "
        )
        raise RefusedError(f"{told}multicluster.x-k8s.io and {GROUP} are supported", "InvalidKind")
    if kind not in ("Service", "ServiceImport", "Backend"):
        raise RefusedError(
            "Kind is invalid, only Service, MCS ServiceImport and Envoy Gateway Backend are supported", "InvalidKind"
        )
    if not permitted(seen.grants, (STANDARD, route["kind"], name_of(route)[0]), (group, kind, *where)):
        raise RefusedError(f"Backend ref to {kind} {'/'.join(where)} not permitted by any ReferenceGrant.", "RefNotPermitted")
    if kind == "Backend":
        _check_own_backend(where, seen)
        return
    if ref.get("port") is None:
        raise RefusedError("A valid port number corresponding to a port on the Service must be specified", "PortNotSpecified")
    if kind == "ServiceImport":
        raise RefusedError(f"service import {'/'.join(where)} not found", "BackendNotFound")
    _check_service(where, ref["port"], seen)


def _check_backend_filters(ref: Object) -> None:
    filters = ref.get("filters") or []
    for each in filters:
        if each["type"] == "URLRewrite" and (each.get("urlRewrite") or {}).get("path") is not None:
            raise RefusedError("URLRewrite path modifier is not supported within BackendRef", "UnsupportedRefValue")
    if any(unknown_filter(each) or each["type"] not in _IN_BACKENDS for each in filters):
        told = f"only RequestHeaderModifier, ResponseHeaderModifier, URLRewrite and {GROUP}/HTTPRouteFilter are supported"
        raise RefusedError(f"Specific filter is not supported within BackendRef, {told}", "UnsupportedRefValue")


def _check_own_backend(where: Name, seen: Seen) -> None:
    if not seen.backends:
        raise RefusedError("Backend is disabled in Envoy Gateway configuration", "UnsupportedValue")
    raise RefusedError(f"the rehearsal does not play Backends, as {'/'.join(where)}", "UnsupportedValue")


def _check_service(where: Name, port: int, seen: Seen) -> None:
    service = seen.find("services", where)
    if service is None:
        raise RefusedError(f"service {'/'.join(where)} not found", "BackendNotFound")
    if spec_of(service).get("type") == "ExternalName":
        told = "use an Envoy Gateway Backend resource with an FQDN endpoint instead"
        raise RefusedError(
            f"Service {'/'.join(where)} is of type ExternalName, which is not supported as a backend; {told}", "UnsupportedValue"
        )
    ports = spec_of(service).get("ports") or []
    if not any(each["port"] == port and each.get("protocol", "TCP") == "TCP" for each in ports):
        raise RefusedError(f"TCP Port {port} not found on Service {'/'.join(where)}", "PortNotFound")


def check_endpoints(route: Object, ref: Object, seen: Seen) -> None:
    """Raises RefusedError where a Service that can be used has nobody behind it, ready or not."""
    where = target_of(ref, name_of(route)[0])
    service = seen.find("services", where)
    if service is None or (seen.by_service and spec_of(service).get("clusterIP") != "None"):
        return
    name = next((each.get("name", "") for each in spec_of(service)["ports"] if each["port"] == ref["port"]), "")
    for each in seen.endpoints.get(where, []):
        serves = any((port.get("name") or "", port.get("protocol", "TCP")) == (name, "TCP") for port in each.get("ports") or [])
        if serves and any(endpoint.get("addresses") for endpoint in each.get("endpoints") or []):
            return
    raise RefusedError(f"no ready endpoints for the related Service {'/'.join(where)}", "EndpointsNotFound")
