"""What a proxy does with a request, told from the objects alone: Istio's, and those of Gateway API.

It knows what the platform's objects use and refuses everything else, so that no test passes for want of looking.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """A request as a gateway gets it, its path normalised and without a query."""

    host: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    secure: bool = True
    principal: str = ""
    """Issuer and subject of a token that was found good; nobody's by default."""

    @property
    def name(self) -> str:
        """The host without a port, which both kinds of gateway ignore."""
        return self.host.lower().partition(":")[0]


@dataclass(frozen=True)
class Sent:
    """A request goes to one of these."""

    shares: Mapping[str, Fraction]
    """By `namespace/service:port` the part of such requests, above 0; all of them together 1."""
    path: str
    """The path that a server sees."""
    removed: frozenset[str]
    """Headers that no server sees."""


@dataclass(frozen=True)
class Redirected:
    """A client is told to ask again."""

    scheme: str


Answer = Sent | Redirected | None
"""None: nobody is asked (404, 403)."""


def istio(objects: Iterable[Object], request: Request) -> Answer:
    """What Istio's proxies do: policies first, then the first rule for the host that matches (istio.io, "Virtual Service").

    Of several VirtualServices the older one's rules come first (istio/istio, pilot/pkg/model/push_context.go).
    """
    objects = list(objects)
    for policy in _kind(objects, "AuthorizationPolicy"):
        if _denied(policy["spec"], request):
            return None
    for gateway in _kind(objects, "Gateway", "networking.istio.io"):
        for server in gateway["spec"]["servers"]:
            _only(server, {"port", "hosts", "tls", "name"})
            hosts = [tuple(host.split("/")) for host in server["hosts"]]
            if (server["port"]["protocol"] == "HTTPS") != request.secure or request.name not in {host for _, host in hosts}:
                continue
            if server.get("tls", {}).get("httpsRedirect"):
                return Redirected("https")
            for service in sorted(_kind(objects, "VirtualService"), key=_age):
                spec, namespace = service["spec"], service["metadata"]["namespace"]
                _only(spec, {"hosts", "gateways", "http"})
                named = f"{gateway['metadata']['namespace']}/{gateway['metadata']['name']}" in spec["gateways"]
                if named and request.name in spec["hosts"] and (namespace, request.name) in hosts:
                    for rule in spec["http"]:
                        if (answer := _istio_rule(rule, request)) is not None:
                            return answer
    return None


def gateway_api(objects: Iterable[Object], request: Request) -> Answer:
    """What gateways of Gateway API do: of all matches on the listener the most particular (HTTPRouteRule.matches)."""
    objects = list(objects)
    best: tuple[tuple[Any, ...], Answer] | None = None
    for gateway, listener in _listeners(objects, request):
        for route in _kind(objects, "HTTPRoute"):
            if not _attached(route, gateway, listener):
                continue
            spec = route["spec"]
            _only(spec, {"parentRefs", "hostnames", "rules"})
            found = [name for name in spec.get("hostnames", ["*"]) if _host_matches(name, request.name)]
            if not found:
                continue
            host = max(_host_rank(name) for name in found)
            for at, rule in enumerate(spec["rules"]):
                for match in rule.get("matches") or [{}]:
                    if (rank := _match_rank(match, request)) is not None:
                        # Smallest first: what ranks highest, then what is oldest, then what comes first by name and in its list.
                        key = (*(-number for number in (*host, *rank)), *_age(route), at)
                        if best is None or key < best[0]:
                            best = key, _gateway_rule(rule, match, route, request)
        break  # one listener answers for a host, the most particular one
    return best[1] if best else None


# Istio


def _denied(spec: Object, request: Request) -> bool:
    assert spec["action"] == "DENY", spec
    for rule in spec["rules"]:
        _only(rule, {"from", "to"})
        sources = [each["source"] for each in rule.get("from", [{"source": {}}])]
        operations = [each["operation"] for each in rule.get("to", [{"operation": {}}])]
        if any(_from(source, request) for source in sources) and any(_to(operation, request) for operation in operations):
            return True
    return False


def _from(source: Object, request: Request) -> bool:
    _only(source, {"notRequestPrincipals"})
    return not any(_text_matches(text, request.principal) for text in source.get("notRequestPrincipals", []))


def _to(operation: Object, request: Request) -> bool:
    _only(operation, {"notPaths"})
    return not any(_text_matches(text, request.path) for text in operation.get("notPaths", []))


def _text_matches(pattern: str, text: str) -> bool:
    """Whether a text is the one meant; `*` at one end stands for anything (istio.io, "Authorization Policy")."""
    if pattern == "*":
        return text != ""
    if pattern.startswith("*"):
        return text.endswith(pattern[1:])
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def _istio_rule(rule: Object, request: Request) -> Answer:
    _only(rule, {"name", "match", "rewrite", "route", "timeout", "retries", "headers"})
    match = next((match for match in rule.get("match") or [{}] if _istio_matches(match, request)), None)
    if match is None:
        return None
    weights = {_istio_backend(each["destination"]): each.get("weight", 0) for each in rule["route"]}
    assert len(weights) == len(rule["route"]), f"a destination twice: {rule['route']}"
    if len(weights) == 1:
        weights = dict.fromkeys(weights, 1)  # alone it gets everything, whatever its weight
    removed = rule.get("headers", {}).get("request", {}).get("remove", [])
    return _sent(weights, _istio_path(rule.get("rewrite", {}), match, request.path), removed)


def _istio_matches(match: Object, request: Request) -> bool:
    _only(match, {"uri", "headers"})
    headers = {name.lower(): value for name, value in request.headers.items()}
    return _string_matches(match.get("uri", {"prefix": "/"}), request.path) and all(
        _string_matches(value, headers.get(name)) for name, value in match.get("headers", {}).items()
    )


def _string_matches(wanted: Mapping[str, str], text: str | None) -> bool:
    _only(wanted, {"exact", "prefix", "regex"})
    [(kind, value)] = wanted.items()
    if text is None:
        return False
    match kind:
        case "exact":
            return text == value
        case "prefix":
            return text.startswith(value)
    return re.fullmatch(value, text) is not None


def _istio_path(rewrite: Object, match: Object, path: str) -> str:
    _only(rewrite, {"uri", "uriRegexRewrite"})
    if regex := rewrite.get("uriRegexRewrite"):
        return re.sub(regex["match"], regex["rewrite"], path)
    if "uri" not in rewrite:
        return path
    matched = match.get("uri", {"prefix": "/"})
    return str(rewrite["uri"]) + path.removeprefix(matched.get("exact", matched.get("prefix")))


def _istio_backend(destination: Object) -> str:
    _only(destination, {"host", "port"})
    service, namespace, *rest = destination["host"].split(".")
    assert rest == ["svc", "cluster", "local"], destination
    return f"{namespace}/{service}:{destination['port']['number']}"


# Gateway API


def _listeners(objects: Sequence[Object], request: Request) -> Iterator[tuple[Object, Object]]:
    """Listeners that take the request, the most particular first."""
    found = [
        (gateway, listener)
        for gateway in _kind(objects, "Gateway", "gateway.networking.k8s.io")
        for listener in gateway["spec"]["listeners"]
        if (listener["protocol"] == "HTTPS") == request.secure and _host_matches(listener.get("hostname", "*"), request.name)
    ]
    return iter(sorted(found, key=lambda each: _host_rank(each[1].get("hostname", "*")), reverse=True))


def _attached(route: Object, gateway: Object, listener: Object) -> bool:
    namespace = route["metadata"]["namespace"]
    return _admits(listener, gateway["metadata"]["namespace"], namespace) and any(
        parent["name"] == gateway["metadata"]["name"]
        and parent.get("namespace", namespace) == gateway["metadata"]["namespace"]
        and parent.get("sectionName", listener["name"]) == listener["name"]
        for parent in route["spec"]["parentRefs"]
    )


def _admits(listener: Object, own: str, namespace: str) -> bool:
    allowed = listener.get("allowedRoutes", {}).get("namespaces", {})
    match allowed.get("from", "Same"):
        case "Same":
            return namespace == own
        case "All":
            return True
    selector = allowed["selector"]
    _only(selector, {"matchLabels", "matchExpressions"})
    by_name = {"kubernetes.io/metadata.name": namespace}
    return all(by_name.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        each["operator"] == "In" and by_name.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )


def _host_matches(pattern: str, host: str) -> bool:
    return pattern == "*" or (host.endswith(pattern[1:]) and host != pattern[2:] if pattern.startswith("*.") else host == pattern)


def _host_rank(pattern: str) -> tuple[int, int]:
    return (0 if pattern.startswith("*") else len(pattern), len(pattern))


def _match_rank(match: Object, request: Request) -> tuple[int, int, int] | None:
    """How particular a match is that holds: an exact path, the length of a prefix, how many headers. None where it does not."""
    _only(match, {"path", "headers"})
    path = match.get("path", {"type": "PathPrefix", "value": "/"})
    headers: dict[str, str] = {}
    for each in match.get("headers", []):
        assert each.get("type", "Exact") == "Exact", each
        headers.setdefault(each["name"].lower(), each["value"])
    given = {name.lower(): value for name, value in request.headers.items()}
    if not headers.items() <= given.items():
        return None
    if path["type"] == "Exact":
        return (1, 0, len(headers)) if request.path == path["value"] else None
    assert path["type"] == "PathPrefix", path
    prefix = path["value"].rstrip("/")
    whole = request.path == prefix or request.path.startswith(f"{prefix}/")
    return (0, len(path["value"]), len(headers)) if whole else None


def _gateway_rule(rule: Object, match: Object, route: Object, request: Request) -> Answer:
    _only(rule, {"name", "matches", "filters", "backendRefs", "timeouts", "retry"})
    path, removed = request.path, set[str]()
    for each in rule.get("filters", []):
        match each["type"]:
            case "RequestRedirect":
                return Redirected(each["requestRedirect"].get("scheme", "https" if request.secure else "http"))
            case "RequestHeaderModifier":
                _only(each["requestHeaderModifier"], {"remove"})
                removed |= set(each["requestHeaderModifier"]["remove"])
            case "URLRewrite":
                _only(each["urlRewrite"], {"path"})
                path = _rewritten(each["urlRewrite"]["path"], match, path)
            case other:
                raise NotImplementedError(other)
    weights: dict[str, int] = {}
    for each in rule.get("backendRefs", []):
        assert not each.get("filters"), each
        assert each.get("kind", "Service") == "Service", each
        backend = f"{each.get('namespace', route['metadata']['namespace'])}/{each['name']}:{each['port']}"
        weights[backend] = weights.get(backend, 0) + each.get("weight", 1)
    return _sent(weights, path, removed)


def _rewritten(change: Object, match: Object, path: str) -> str:
    if change["type"] == "ReplaceFullPath":
        return str(change["replaceFullPath"])
    assert match["path"]["type"] == "PathPrefix", "a prefix is replaced only where one is matched"
    rest = path.removeprefix(match["path"]["value"].rstrip("/"))
    return change["replacePrefixMatch"].rstrip("/") + rest or "/"


# Both


def _sent(weights: Mapping[str, int], path: str, removed: Iterable[str]) -> Answer:
    whole = sum(weights.values())
    shares = {backend: Fraction(weight, whole) for backend, weight in weights.items() if weight}
    return Sent(shares, path, frozenset(name.lower() for name in removed)) if shares else None


def _kind(objects: Iterable[Object], kind: str, group: str = "") -> list[Object]:
    return [each for each in objects if each["kind"] == kind and each["apiVersion"].startswith(group)]


def _age(found: Object) -> tuple[str, str, str]:
    metadata = found["metadata"]
    return metadata.get("creationTimestamp", ""), metadata["namespace"], metadata["name"]


def _only(found: Object, known: Collection[str]) -> None:
    if unknown := found.keys() - set(known):
        raise NotImplementedError(f"this evaluator does not know {', '.join(sorted(unknown))}")
