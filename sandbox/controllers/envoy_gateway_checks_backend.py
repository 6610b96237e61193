"""Why Envoy Gateway would not do what a BackendTrafficPolicy asks. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi (backendtrafficpolicy.go, clustersettings.go, http.go).
"""

from itertools import chain
from typing import Any, Final

from components.quantities import quantity
from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_seen import Check, RefusedError, Seen, check_cidr, is_regex
from sandbox.controllers.gateway_api import name_of

_UINT32: Final = 2**32 - 1
_UNITS: Final = {unit: number * 86400 for unit, number in (("Day", 1), ("Week", 7), ("Month", 30), ("Year", 365))} | {
    "Second": 1,
    "Minute": 60,
    "Hour": 3600,
}
_PRIME_AT_MOST: Final = 5_000_011
_CIRCUITS: Final = (
    *("maxConnections", "maxParallelRequests", "maxPendingRequests", "maxParallelRetries"),
    "maxRequestsPerConnection",
)


def check_bytes(value: Any, invalid: str, out_of_range: str) -> None:
    """Raises RefusedError for a number of bytes that does not fit 32 bits."""
    amount = quantity(str(value))
    if amount != int(amount):
        raise RefusedError(invalid)
    if not 0 <= amount <= _UINT32:
        raise RefusedError(out_of_range)


def check_http2(_policy: Object, spec: Any, _seen: Seen) -> None:
    """Raises RefusedError for windows that HTTP/2 does not have."""
    found = []
    for field in ("InitialStreamWindowSize", "InitialConnectionWindowSize"):
        value = spec.get(field[0].lower() + field[1:])
        if value is None:
            continue
        amount = quantity(str(value))
        if amount != int(amount):
            found.append(f"invalid {field} value {value}")
        elif not 65535 <= amount <= 2**31 - 1:
            found.append(f"{field} value {value} is out of range, must be between 65535 and {2**31 - 1}")
    if found:
        raise RefusedError("\n".join(found))


def _backend_connection(_policy: Object, spec: Any, _seen: Seen) -> None:
    if (limit := spec.get("bufferLimit")) is not None:
        check_bytes(limit, f"invalid BufferLimit value {limit}", f"BufferLimit value {limit} is out of range")


def _request_buffer(policy: Object, spec: Any, _seen: Seen) -> None:
    limit = spec["limit"]
    check_bytes(
        limit,
        "limit must be convertible to an int64",
        f"limit value {limit} is out of range, must be between 0 and {_UINT32}",
    )
    if policy["spec"].get("httpUpgrade"):
        raise RefusedError("requestBuffer cannot be used together with httpUpgrade")


def _rate_limit(_policy: Object, spec: Any, seen: Seen) -> None:
    kind = spec.get("type")
    if kind == "Local" and spec.get("local") is None:
        raise RefusedError("local configuration empty for rateLimit")
    if kind == "Global" and spec.get("global") is None:
        raise RefusedError("global configuration empty for rateLimit")
    if spec.get("local") is not None and kind in (None, "Local"):
        _local(spec["local"].get("rules") or [])
    if spec.get("global") is not None and kind in (None, "Global"):
        if not seen.global_rate_limit:
            raise RefusedError("enable Ratelimit in the EnvoyGateway config to configure global rateLimit")
        for rule in spec["global"].get("rules") or []:
            _selectors(rule)


def _local(rules: list[Any]) -> None:
    default = [rule for rule in rules if not rule.get("clientSelectors")]
    if len(default) > 1:
        raise RefusedError("local rateLimit can not have more than one rule without clientSelectors")
    unit = _UNITS[default[0]["limit"]["unit"]] if default else 1
    if any(_UNITS[rule["limit"]["unit"]] % unit for rule in rules):
        raise RefusedError("local rateLimit rule limit unit must be a multiple of the default limit unit")
    for rule in rules:
        _selectors(rule)


def _selectors(rule: Any) -> None:
    told = "unable to translate rateLimit"
    for selector in rule.get("clientSelectors") or []:
        if not any(selector.get(part) for part in ("headers", "methods", "path", "sourceCIDR", "queryParams")):
            parts = "header or method or path or sourceCIDR or queryParameters"
            raise RefusedError(f"{told}. At least one of the {parts} must be specified")
        for each in chain(selector.get("headers") or [], selector.get("queryParams") or []):
            if each.get("type") == "Distinct" and each.get("invert"):
                what = "query parameter" if each in (selector.get("queryParams") or []) else "header"
                raise RefusedError(f"{told}.Invert is not applicable for distinct {what} match type")
            if each.get("type") == "RegularExpression" and not is_regex(each.get("value") or ""):
                raise RefusedError(f'regex "{each.get("value")}" is invalid')
        if cidr := (selector.get("sourceCIDR") or {}).get("value"):
            check_cidr(cidr, told)


def _circuit_breaker(_policy: Object, spec: Any, _seen: Seen) -> None:
    for name in _CIRCUITS:
        if (value := spec.get(name)) is not None and not 0 <= value <= _UINT32:
            raise RefusedError(f"invalid {name[0].upper()}{name[1:]} value {value}")


def _load_balancer(_policy: Object, spec: Any, _seen: Seen) -> None:
    size = (spec.get("consistentHash") or {}).get("tableSize")
    if spec["type"] == "ConsistentHash" and size is not None and (size > _PRIME_AT_MOST or not _is_prime(size)):
        raise RefusedError(f"ConsistentHash: invalid TableSize value {size}")


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % each for each in range(2, int(number**0.5) + 1))


def _response_override(policy: Object, spec: Any, seen: Seen) -> None:
    for each in spec:
        seen.check_body((each.get("response") or {}).get("body"), name_of(policy)[0])


def _bandwidth(_policy: Object, spec: Any, _seen: Seen) -> None:
    for part in ("request", "response"):
        if not (limit := (spec.get(part) or {}).get("limit")):
            continue
        amount, unit = quantity(str(limit["value"])), limit.get("unit", "Second")
        if amount / _UNITS[unit] < 1024:
            raise RefusedError(f"{part}: bandwidth limit of {int(amount)} bytes per {unit} is below the minimum of 1 KiB/s")


CHECKS: Final[dict[str, tuple[str, Check]]] = {
    "rateLimit": ("RateLimit", _rate_limit),
    "bandwidthLimit": ("BandwidthLimit", _bandwidth),
    "loadBalancer": ("LoadBalancer", _load_balancer),
    "circuitBreaker": ("CircuitBreaker", _circuit_breaker),
    "connection": ("BackendConnection", _backend_connection),
    "http2": ("HTTP2", check_http2),
    "responseOverride": ("ResponseOverride", _response_override),
    "requestBuffer": ("RequestBuffer", _request_buffer),
}
