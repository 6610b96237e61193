"""Why Envoy Gateway would not do what a policy asks, beyond what the definition's schema refuses. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi/clienttrafficpolicy.go; those of other policies are beside. Durations
are left out: the schema has only such that can be read.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sandbox.controllers import envoy_gateway_checks_backend as backend
from sandbox.controllers import envoy_gateway_checks_security as security
from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_checks_backend import check_bytes, check_http2
from sandbox.controllers.envoy_gateway_seen import GROUP, Check, RefusedError, Seen
from sandbox.controllers.gateway_api import name_of

_UINT32: Final = 2**32 - 1
_NOT_PLAYED: Final = {"SecurityPolicy": ("oidc", "extAuth"), "ClientTrafficPolicy": (), "BackendTrafficPolicy": ()}


def problems(policy: Object, seen: Seen, above: Object | None = None, *, tls: bool = True) -> str:
    """All that is wrong with the spec of a policy, a line each.

    `above` is the policy it is merged into; `tls` says whether its listener has certificates.
    """
    checks, own = _CHECKS[policy["kind"]], policy["spec"]
    spec = own if above is None else _patched(above["spec"], own)
    found = [
        f"the rehearsal does not play {name} of a {policy['kind']}" for name in _NOT_PLAYED[policy["kind"]] if spec.get(name)
    ]
    for name, (title, check) in checks.items():
        if spec.get(name) is None or (name == "tls" and not tls):
            continue
        # What a policy names is looked for where that policy is.
        owner = policy if above is None or name in own else above
        try:
            check({**owner, "spec": spec}, spec[name], seen)
        except RefusedError as error:
            found.append(f"{title}: {error}")
    return "\n".join(found)


def _patched(base: Any, patch: Any) -> Any:
    """A policy laid over another one, as a JSON merge patch does it."""
    if not isinstance(base, dict) or not isinstance(patch, dict):
        return patch
    return {**base, **{key: _patched(base.get(key), value) for key, value in patch.items()}}


def invalid_keys(policy: Object) -> str:
    """What is wrong with a SecurityPolicy of a route whatever else it asks for."""
    for source in (policy["spec"].get("apiKeyAuth") or {}).get("extractFrom") or []:
        if sum(bool(source.get(part)) for part in ("headers", "params", "cookies")) > 1:
            return "invalid SecurityPolicy: only one of headers, params or cookies must be specified"
    return ""


def deprecated(policy: Object) -> str:
    """What of a policy should be written otherwise."""
    spec = policy["spec"]
    found = {"spec.targetRef": "spec.targetRefs"} if spec.get("targetRef") else {}
    if policy["kind"] == "BackendTrafficPolicy" and spec.get("compression"):
        found["spec.compression"] = "spec.compressor"
    if policy["kind"] == "ClientTrafficPolicy":
        if spec.get("enableProxyProtocol") is not None:
            found["spec.enableProxyProtocol"] = "spec.proxyProtocol"
        if (spec.get("headers") or {}).get("preserveXRequestID") is not None:
            found["spec.headers.preserveXRequestID"] = "spec.headers.requestID"
        if ((spec.get("tls") or {}).get("clientValidation") or {}).get("optional"):
            found["spec.tls.clientValidation.optional"] = "spec.tls.clientValidation.mode"
    return "; ".join(f"{old} is deprecated, use {new} instead" for old, new in sorted(found.items()))


def _connection(_policy: Object, spec: Any, _seen: Seen) -> None:
    if (limit := spec.get("bufferLimit")) is not None:
        check_bytes(
            limit,
            f"invalid BufferLimit value {limit}",
            f"BufferLimit value {limit} is out of range, must be between 0 and {_UINT32}",
        )


def _client_headers(_policy: Object, spec: Any, _seen: Seen) -> None:
    found = [
        told
        for name in ("EarlyRequestHeaders", "LateResponseHeaders")
        if (changes := spec.get(name[0].lower() + name[1:])) is not None
        for told in _changes(name, changes)
    ]
    if found:
        raise RefusedError("\n".join(found))


def _changes(name: str, changes: Object) -> Iterator[str]:
    good = 0
    for part in ("add", "set", "addIfAbsent"):
        for each in changes.get(part) or []:
            if not each["name"]:
                yield f"{name} cannot {part} a header with an empty name"
            elif "/" in each["name"] or ":" in each["name"]:
                yield f"{name} cannot {part} a header with a '/' or ':' character in them. Header: '\"{each['name']}\"'"
            elif not re.fullmatch(r"[!-~]+([\t ]?[!-~]+)*", each["value"]):
                yield f"{name} cannot {part} a header with an invalid value. Header: '\"{each['name']}\"'"
            else:
                good += 1
    for each in changes.get("remove") or []:
        if each:
            good += 1
        else:
            yield f"{name} cannot remove a header with an empty name"
    if not good and not changes.get("removeOnMatch"):
        yield f"{name} did not provide valid configuration to add/set/remove any headers"


def _client_tls(policy: Object, spec: Any, seen: Seen) -> None:
    validation = spec.get("clientValidation")
    if not validation:
        return
    mode, legacy = validation.get("mode"), validation.get("optional")
    refs = validation.get("caCertificateRefs") or []
    for ref in refs:
        try:
            _authority(policy, ref, seen)
        except RefusedError as error:
            raise RefusedError(f"failed to get certificate from ref: {error}") from None
    if mode in (None, "VerifyIfGiven", "RequireAndVerify") and not refs:
        if mode is None and legacy:
            raise RefusedError('tls.clientValidation.optional=true requires caCertificateRefs (maps to mode "VerifyIfGiven")')
        raise RefusedError(f'tls.clientValidation.mode "{mode or "RequireAndVerify"}" requires caCertificateRefs')


def _authority(policy: Object, ref: Object, seen: Seen) -> None:
    kind = ref.get("kind", "Secret")
    if kind == "Secret":
        found = seen.secret((GROUP, policy["kind"], name_of(policy)[0]), ref)
    else:
        where = (ref.get("namespace") or name_of(policy)[0], ref["name"])
        if (config_map := seen.find("config_maps", where)) is None:
            raise RefusedError(f"configmap {'/'.join(where)} does not exist")
        found = config_map
    data = found.get("data") or {}
    if "ca.crt" not in data and len(data) != 1:
        told = "has none of the expected keys [ca.crt] and more than one entry"
        raise RefusedError(f"ref {kind.lower()} [{ref['name']}] {told}")


_CHECKS: Final[Mapping[str, Mapping[str, tuple[str, Check]]]] = {
    "ClientTrafficPolicy": {
        "connection": ("Connection", _connection),
        "headers": ("Headers", _client_headers),
        "http2": ("HTTP2", check_http2),
        "tls": ("TLS", _client_tls),
    },
    "BackendTrafficPolicy": backend.CHECKS,
    "SecurityPolicy": security.CHECKS,
}
