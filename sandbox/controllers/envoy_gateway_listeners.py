"""Envoy Gateway's view of listeners: what is told of each in the status of its Gateway. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi (listener.go, validate.go). ListenerSets and SDS are left out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_certificates import read_certificates
from sandbox.controllers.envoy_gateway_seen import RefusedError, Seen
from sandbox.controllers.gateway_api import GROUP, Name, Told, name_of, overlap, permitted, selects

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "HTTP": ("HTTPRoute", "GRPCRoute"),
    "HTTPS": ("HTTPRoute", "GRPCRoute"),
    "TLS": ("TCPRoute", "TLSRoute"),
    "TCP": ("TCPRoute",),
    "UDP": ("UDPRoute",),
}


@dataclass(eq=False)
class Listener:
    """One listener of a Gateway, and what is told of it."""

    gateway: Object
    spec: Object
    told: Told = field(default_factory=dict)
    kinds: list[dict[str, Any]] = field(default_factory=list)
    attached: int = 0
    names: tuple[str, ...] = ()
    """DNS names of its certificates."""
    refused: bool = False
    """Whether another protocol has its port."""

    def tell(self, kind: str, status: str, reason: str, message: str) -> None:
        self.told[kind] = (status, reason, message)

    def wrong(self, message: str, reason: str = "Invalid") -> None:
        self.tell("Programmed", "False", reason, message)

    @property
    def key(self) -> tuple[Name, str]:
        return name_of(self.gateway), self.spec["name"]

    @property
    def port(self) -> int:
        return int(self.spec["port"])

    @property
    def protocol(self) -> str:
        return str(self.spec["protocol"])

    @property
    def host(self) -> str | None:
        return self.spec.get("hostname")

    @property
    def is_ready(self) -> bool:
        return self.told.get("Programmed", ("",))[0] == "True"

    @property
    def is_wrong(self) -> bool:
        return any(
            self.told.get(kind, ("",))[0] == "False" and self.told[kind][1] != "PartiallyInvalidCertificateRef"
            for kind in ("Programmed", "Accepted", "ResolvedRefs")
        )

    def allows(self, kind: str, namespace: str, seen: Seen) -> bool:
        """Whether routes of a kind may come from a namespace."""
        if all(each["kind"] != kind or each.get("group", GROUP) != GROUP for each in self.kinds):
            return False
        allowed = _from(self.spec)
        labels = seen.labels_of(namespace)
        if labels is None:
            return False
        match allowed.get("from", "Same"):
            case "All":
                return True
            case "Selector":
                return _selector_problem(allowed) is None and selects(allowed["selector"], labels)
        return namespace == name_of(self.gateway)[0]

    def status(self) -> dict[str, Any]:
        """Its entry in the Gateway's status, without the conditions."""
        return {"name": self.spec["name"], "attachedRoutes": self.attached, "supportedKinds": self.kinds}


def judge(gateways: Iterable[Object], seen: Seen) -> list[Listener]:
    """Every listener of the Gateways, judged alone and beside the others of its Gateway."""
    found = []
    for gateway in gateways:
        listeners = [Listener(gateway, spec) for spec in gateway["spec"]["listeners"]]
        valid = [listener for listener in listeners if _check(listener, seen)]
        _protocols(valid)
        _hostnames([each for each in valid if not each.refused])
        for protocol in ("TCP", "UDP"):
            _layer4([each for each in valid if each.protocol == protocol], protocol)
        for listener in listeners:
            _settle(listener)
        _overlaps([each for each in listeners if each.protocol == "HTTPS"])
        found += listeners
    return found


def _check(listener: Listener, seen: Seen) -> bool:
    """Whether it is right by itself."""
    steps: tuple[Callable[[Listener, Seen], bool], ...] = (_namespaces, _routes, _tls, _hostname)
    found = [step(listener, seen) for step in steps]  # each tells what it finds
    return all(found)


def _from(spec: Object) -> dict[str, Any]:
    return (spec.get("allowedRoutes") or {}).get("namespaces") or {}


def _selector_problem(allowed: Object) -> str | None:
    if allowed.get("selector") is None:
        told = 'must be specified when allowedRoutes.namespaces.from is set to "Selector".'
        return f"The allowedRoutes.namespaces.selector field {told}"
    try:
        for each in allowed["selector"].get("matchExpressions") or []:
            selects({"matchExpressions": [each]}, {})
    except ValueError as error:
        return f"The allowedRoutes.namespaces.selector could not be parsed: {error}."
    return None


def _namespaces(listener: Listener, _seen: Seen) -> bool:
    allowed = _from(listener.spec)
    if allowed.get("from") == "Selector" and (problem := _selector_problem(allowed)):
        listener.wrong(problem)
        return False
    return True


def _routes(listener: Listener, _seen: Seen) -> bool:
    possible = _KINDS.get(listener.protocol)
    if possible is None:
        told = f"Protocol {listener.protocol} is unsupported, must be HTTP, HTTPS, TCP or UDP."
        listener.tell("Accepted", "False", "UnsupportedProtocol", told)
        return False
    if listener.protocol == "TLS" and (listener.spec.get("tls") or {}).get("mode") == "Passthrough":
        possible = ("TLSRoute",)
    asked = (listener.spec.get("allowedRoutes") or {}).get("kinds") or []
    if not asked:
        listener.kinds = [{"group": GROUP, "kind": kind} for kind in possible]
        return True
    ours = [each for each in asked if each.get("group", GROUP) == GROUP]
    if len(ours) < len(asked):
        told = f"Group is not supported, group must be {GROUP}"
        listener.tell("ResolvedRefs", "False", "InvalidRouteKinds", told)
    listener.kinds = [each for each in ours if each["kind"] in possible]
    unknown = [each["kind"] for each in ours if each["kind"] not in possible]
    for kind in unknown:
        known = " ".join(each["kind"] for each in listener.kinds) or " ".join(possible)
        told = f"{kind} is not supported, kind must be one of [{known}]"
        listener.tell("ResolvedRefs", "False", "InvalidRouteKinds", told)
    return len(ours) == len(asked) and not unknown


def _tls(listener: Listener, seen: Seen) -> bool:
    tls, protocol = listener.spec.get("tls"), listener.protocol
    if protocol in ("HTTP", "UDP", "TCP"):
        if tls is not None:
            listener.wrong(f"Listener must not have TLS set when protocol is {protocol}.")
        return tls is None
    if protocol not in ("HTTPS", "TLS"):
        return True
    if tls is None:
        listener.wrong(f"Listener must have TLS set when protocol is {protocol}.")
        return False
    mode = tls.get("mode", "Terminate" if protocol == "HTTPS" else None)
    refs = tls.get("certificateRefs") or []
    if protocol == "HTTPS" and mode != "Terminate":
        listener.wrong(f"TLS {mode} mode is not supported, TLS mode must be Terminate.", "UnsupportedTLSMode")
        return False
    if mode == "Passthrough" and refs:
        listener.wrong("Listener must not have TLS certificate refs set for TLS mode Passthrough.")
        return False
    if mode != "Terminate":
        return True
    if not refs:
        told = "Listener must have TLS certificate refs set for TLS mode Terminate."
        listener.wrong(told if protocol == "TLS" else "Listener must have at least 1 TLS certificate ref")
        return False
    return _certificates(listener, refs, seen)


def _certificates(listener: Listener, refs: list[Object], seen: Seen) -> bool:
    namespace, problems, secrets = name_of(listener.gateway)[0], [], []
    for number, ref in enumerate(refs):
        try:
            secrets.append(_secret(namespace, ref, seen))
        except RefusedError as problem:
            problems.append(RefusedError(f"certificate refs {number}: {problem}", problem.reason))
    if not secrets:
        alike = all(problem.reason == "RefNotPermitted" for problem in problems)
        told = "No valid secrets exist: " + "\n".join(map(str, problems))
        listener.tell("ResolvedRefs", "False", "RefNotPermitted" if alike else "InvalidCertificateRef", told)
        return False
    names, broken = read_certificates(secrets)
    if names is None:
        listener.tell("ResolvedRefs", "False", "InvalidCertificateRef", f"No valid secrets exist: {broken}.")
        return False
    if told := "\n".join([*map(str, problems), *([broken] if broken else [])]):
        listener.tell("ResolvedRefs", "False", "PartiallyInvalidCertificateRef", f"Some secrets are invalid: {told}")
    listener.names = names
    return True


def _secret(own: str, ref: Object, seen: Seen) -> Object:
    invalid = "InvalidCertificateRef"
    if ref.get("group"):
        raise RefusedError("Listener's TLS certificate ref group must be unspecified/empty.", invalid)
    if ref.get("kind", "Secret") != "Secret":
        raise RefusedError("Listener's TLS certificate ref kind must be Secret.", invalid)
    namespace, name = ref.get("namespace") or own, ref["name"]
    if not permitted(seen.grants, (GROUP, "Gateway", own), ("", "Secret", namespace, name)):
        told = f"Certificate ref to secret {namespace}/{name} not permitted by any ReferenceGrant."
        raise RefusedError(told, "RefNotPermitted")
    found = seen.find("secrets", (namespace, name))
    if found is None:
        raise RefusedError(f"Secret {namespace}/{name} does not exist.", invalid)
    if found.get("type") != "kubernetes.io/tls":
        raise RefusedError(f"Secret {namespace}/{name} must be of type kubernetes.io/tls.", invalid)
    data = found.get("data") or {}
    if not data.get("tls.crt") or not data.get("tls.key"):
        raise RefusedError(f"Secret {namespace}/{name} must contain tls.crt and tls.key.", invalid)
    return found


def _hostname(listener: Listener, _seen: Seen) -> bool:
    if listener.protocol in ("TCP", "UDP") and listener.host is not None:
        listener.wrong(f"Listener must not have hostname set when protocol is {listener.protocol}.")
        return False
    return True


def _by_port(listeners: Iterable[Listener]) -> Iterable[list[Listener]]:
    found: dict[int, list[Listener]] = defaultdict(list)
    for listener in listeners:
        found[listener.port].append(listener)
    return found.values()


def _listed(listeners: Iterable[Listener]) -> str:
    return ", ".join(sorted("/".join((*name_of(each.gateway), each.spec["name"])) for each in listeners))


def _protocols(listeners: list[Listener]) -> None:
    for found in _by_port(each for each in listeners if each.protocol in _KINDS and each.protocol != "UDP"):
        if len({"TLS" if each.protocol == "HTTPS" else each.protocol for each in found}) > 1:
            told = f"All listeners for a given port must use a compatible protocol, conflicting listeners: {_listed(found)}"
            for listener in found:
                listener.tell("Conflicted", "True", "ProtocolConflict", told)
                listener.refused = True


def _hostnames(listeners: list[Listener]) -> None:
    for found in _by_port(each for each in listeners if each.protocol not in ("TCP", "UDP")):
        for listener in found:
            same = [each for each in found if (each.host or "") == (listener.host or "")]
            if len(same) > 1:
                told = f"All listeners for a given port must use a unique hostname, conflicting listeners: {_listed(same)}"
                listener.tell("Conflicted", "True", "HostnameConflict", told)


def _layer4(listeners: list[Listener], protocol: str) -> None:
    for found in _by_port(listeners):
        for listener in found[1:]:
            told = f"Only one {protocol} listener is allowed in a given port"
            listener.tell("Conflicted", "True", "ProtocolConflict", told)


def _settle(listener: Listener) -> None:
    """What is told in the end, from what was found wrong."""
    accepted = ("True", "Accepted", "Listener has been successfully translated")
    programmed = ("True", "Programmed", "Sending translated listener configuration to the data plane")
    resolved = ("True", "ResolvedRefs", "Listener references have been resolved")
    invalid = ("False", "Invalid", "Listener is invalid, see other Conditions for details.")
    if not listener.told:
        listener.told |= {"Programmed": programmed, "Accepted": accepted, "ResolvedRefs": resolved}
        return
    reason = listener.told.get("ResolvedRefs", ("", ""))[1] if len(listener.told) == 1 else ""
    if reason == "PartiallyInvalidCertificateRef":
        listener.told |= {"Accepted": accepted, "Programmed": programmed}
    elif reason == "InvalidCertificateRef":
        listener.told |= {"Accepted": accepted, "Programmed": invalid}
    else:
        listener.told.setdefault("Programmed", invalid)
        listener.told.setdefault("ResolvedRefs", resolved)


def _overlaps(listeners: list[Listener]) -> None:
    """Browsers may use a connection for another host whose certificate they saw."""
    valid = [each for each in listeners if not each.is_wrong]
    first: dict[Listener, tuple[str, str]] = {}
    for one, other in _pairs(valid, first):
        if overlap(one.host, other.host):
            for this, that in ((one, other), (other, one)):
                where = f"in listener {that.spec['name']}."
                told = f"The hostname {this.host or ''} overlaps with the hostname {that.host or ''} {where}"
                first[this] = ("OverlappingHostnames", told)
    second: dict[Listener, tuple[str, str]] = {}
    for one, other in _pairs(valid, second):
        sans = next(((a, b) for a in one.names for b in other.names if overlap(a, b)), None)
        if sans:
            for that, (a, b), this in ((other, sans, one), (one, sans[::-1], other)):
                told = (
                    f"The certificate SAN {a} overlaps with the certificate SAN {b} in listener {that.spec['name']}. ALPN will "
                    "default to HTTP/1.1 to prevent HTTP/2 connection coalescing, unless explicitly configured via "
                    "ClientTrafficPolicy"
                )
                second[this] = ("OverlappingCertificates", told)
    for listener, (reason, told) in {**first, **second}.items():
        listener.tell("OverlappingTLSConfig", "True", reason, told)


def _pairs(listeners: list[Listener], told: Mapping[Listener, Any]) -> Iterable[tuple[Listener, Listener]]:
    for one, other in combinations(listeners, 2):
        if one.port == other.port and one not in told and other not in told:
            yield one, other
