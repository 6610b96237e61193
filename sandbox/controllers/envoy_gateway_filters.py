"""What Envoy Gateway makes of the filters of an HTTPRoute, and why it would not use them. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi/filters.go.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_backends import check_backend, check_endpoints, unknown_filter
from sandbox.controllers.envoy_gateway_seen import GROUP, RefusedError, Seen, is_regex, spec_of
from sandbox.controllers.gateway_api import name_of

ACCEPTED: Final = "Accepted"
_UNSUPPORTED: Final = "UnsupportedValue"
_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_VALUE: Final = re.compile(r"[!-~]+([\t ]?[!-~]+)*")
_SCHEMES, _CODES = ("http", "https"), (301, 302, 303, 307, 308)


@dataclass
class Filters:
    """What the filters of a rule come to."""

    problems: list[RefusedError] = field(default_factory=list)
    answers: bool = False
    """Whether the proxy answers itself."""
    redirects: bool = False
    mirrors: bool = False
    rewritten: set[str] = field(default_factory=set)
    """What is rewritten: `path` or `host`, and by whose filter."""
    headers: dict[str, set[str]] = field(default_factory=dict)
    matches: list[Any] = field(default_factory=list)


def refused(text: str) -> RefusedError:
    """A rule that is not accepted."""
    return RefusedError(text, _UNSUPPORTED, ACCEPTED)


def read_filters(route: Object, filters: Iterable[Object], seen: Seen) -> Filters:
    """Goes through the filters of a rule."""
    found = Filters()
    readers: dict[str, Callable[[Filters, Object, Object, Seen], None]] = {
        "URLRewrite": _rewrite,
        "RequestRedirect": _redirect,
        "RequestHeaderModifier": _headers,
        "ResponseHeaderModifier": _headers,
        "RequestMirror": _mirror,
        "CORS": lambda *_: None,
        "ExtensionRef": _extension,
    }
    for each in filters:
        if found.answers:
            break
        try:
            if problem := unknown_filter(each):
                found.answers = True
                raise refused(f"invalid filter {each['type']}: {problem}")
            readers[each["type"]](found, route, each, seen)
        except RefusedError as error:
            found.problems.append(error)
    for also, what in ((found.answers, "DirectResponse"), (found.redirects, "RequestRedirect")):
        if also and found.mirrors:
            told = f"RequestMirror filter cannot be used when the rule also configures a {what} filter"
            found.problems.append(RefusedError(told, "IncompatibleFilters", ACCEPTED))
            found.mirrors = False
    return found


def _rewrite(found: Filters, _route: Object, each: Object, _seen: Seen) -> None:
    rewrite = each.get("urlRewrite") or {}
    parts = {part for part, name in (("host", "hostname"), ("path", "path")) if rewrite.get(name) is not None}
    core = {part for part in ("host", "path") if f"{part} core" in found.rewritten}
    if parts and (core or any(f"{part} extended" in found.rewritten for part in parts)):
        raise refused("cannot configure multiple urlRewrite filters for a single HTTPRouteRule")
    if rewrite.get("hostname") is not None:
        _check_host(rewrite["hostname"])
    if path := rewrite.get("path"):
        kinds = {"ReplaceFullPath": "replaceFullPath", "ReplacePrefixMatch": "replacePrefixMatch"}
        if path["type"] not in kinds:
            supported = 'only "ReplaceFullPath" and "ReplacePrefixMatch" are supported'
            raise refused(f"rewrite path type: {path['type']} is invalid, {supported}")
        (other,) = kinds.keys() - {path["type"]}
        if kinds[other] in path:
            raise refused(f'{other} cannot be set when rewrite path type is "{path["type"]}"')
        if kinds[path["type"]] not in path:
            raise refused(f'{path["type"]} must be set when rewrite path type is "{path["type"]}"')
    found.rewritten |= {f"{part} core" for part in parts}


def _check_host(host: str) -> None:
    """validateHostname; the texts of Kubernetes' own check of a name are given in short."""
    if not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", host) or len(host) > 253:
        raise refused(
            f'hostname "{host}" is invalid: [a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '
            "'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')]"
        )
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        raise refused(f'hostname: "{host}" cannot be an ip address')
    for label in host.split("."):
        if len(label) > 63:
            raise refused(f'label: "{label}" in hostname "{host}" cannot exceed 63 characters')


def _redirect(found: Filters, _route: Object, each: Object, _seen: Seen) -> None:
    redirect = each.get("requestRedirect") or {}
    if found.redirects:
        raise refused("cannot configure multiple requestRedirect filters for a single HTTPRouteRule")
    scheme, code, path = redirect.get("scheme"), redirect.get("statusCode"), redirect.get("path") or {}
    if scheme is not None and scheme not in _SCHEMES:
        raise refused(f"scheme: {scheme} is unsupported, only 'https' and 'http' are supported")
    if redirect.get("hostname") is not None:
        _check_host(redirect["hostname"])
    if path and path["type"] not in ("ReplaceFullPath", "ReplacePrefixMatch"):
        supported = 'only "ReplaceFullPath" and "ReplacePrefixMatch" are supported'
        raise refused(f"redirect path type: {path['type']} is invalid, {supported}")
    if code is not None and code not in _CODES:
        raise refused(f"status code {code} is invalid, only 302 and 301 are supported")
    found.redirects = True


def _headers(found: Filters, _route: Object, each: Object, _seen: Seen) -> None:
    kind = each["type"]
    changes = each[kind[0].lower() + kind[1:]]
    good = found.headers.setdefault(kind, set())
    problems = list(_wrong_headers(kind, changes, good))
    asked = any(changes.get(part) for part in ("add", "set", "remove"))
    if asked and not good:
        how = "add/set/remove" if kind == "RequestHeaderModifier" else "add/remove"
        raise refused(f"{kind} Filter did not provide valid configuration to {how} any headers")
    if problems:
        raise refused("\n".join(problems))


def _wrong_headers(kind: str, changes: Object, good: set[str]) -> Iterator[str]:
    instead = " To modify the Host header use the URLRewrite or the HTTPRouteFilter filter."
    for part in ("add", "set", "remove"):
        for each in changes.get(part) or []:
            name, value = (each, None) if part == "remove" else (each["name"], each["value"])
            if not name:
                yield f"{kind} Filter cannot {part} a header with an empty name"
            elif "/" in name or ":" in name or name.lower() == "host":
                verb = "set" if kind == "ResponseHeaderModifier" and part == "add" else part
                told = f"The {kind} filter cannot {verb} the Host header or headers with a '/' or ':' character in them."
                more = instead if kind == "RequestHeaderModifier" and part != "remove" else ""
                yield f'Header: "{name}". {told}{more}'
            elif value is not None and not _VALUE.fullmatch(value):
                yield f'Header: "{name}". {kind} Filter cannot {part} a header with an invalid value.'
            else:
                good.add(name.lower())


def _mirror(found: Filters, route: Object, each: Object, seen: Seen) -> None:
    ref = each["requestMirror"]["backendRef"]
    told = "failed to validate the RequestMirror filter: "
    try:
        check_backend(route, ref, seen)
    except RefusedError as error:
        raise RefusedError(f"{told}{error}", error.reason) from None
    try:
        check_endpoints(route, ref, seen)
    except RefusedError as error:
        raise RefusedError(f"{told}{error}", error.reason, "BackendsAvailable") from None
    found.mirrors = True


def _extension(found: Filters, route: Object, each: Object, seen: Seen) -> None:
    namespace, name = name_of(route)[0], each["extensionRef"]["name"]
    named = seen.find("filters", (namespace, name))
    if named is None:
        found.answers = True
        raise RefusedError(f"Unable to translate HTTPRouteFilter: {namespace}/{name}", _UNSUPPORTED)
    spec = spec_of(named)
    if spec.get("matches"):
        if found.matches:
            raise refused("only one HTTPRouteFilter with matches is supported per HTTPRouteRule")
        found.matches = spec["matches"]
    if rewrite := spec.get("urlRewrite"):
        _extended_rewrite(found, rewrite)
    try:
        if response := spec.get("directResponse"):
            seen.check_body(response.get("body"), namespace)
            found.answers = True
        if injection := spec.get("credentialInjection"):
            secret = seen.secret((GROUP, "HTTPRouteFilter", namespace), injection["credential"]["valueRef"])
            if not (secret.get("data") or {}).get("credential"):
                raise RefusedError(f"credential key credential not found in secret {'/'.join(name_of(secret))}")
    except RefusedError as error:
        found.answers = True
        raise refused(f"invalid filter HTTPRouteFilter: {error}") from None


def _extended_rewrite(found: Filters, rewrite: Object) -> None:
    parts = {part for part, name in (("host", "hostname"), ("path", "path")) if rewrite.get(name) is not None}
    extended = any(f"{part} extended" in found.rewritten for part in ("host", "path"))
    if parts and (extended or any(f"{part} core" in found.rewritten for part in parts)):
        raise refused("cannot configure multiple urlRewrite filters for a single HTTPRouteRule")
    path, host = rewrite.get("path") or {}, rewrite.get("hostname") or {}
    if path.get("type") == "ReplaceRegexMatch":
        pattern = (path.get("replaceRegexMatch") or {}).get("pattern")
        if not pattern:
            raise refused('ReplaceRegexMatch Pattern must be set when rewrite path type is "ReplaceRegexMatch"')
        if not is_regex(pattern):
            raise refused("ReplaceRegexMatch must be a valid RE2 regular expression")
    if host.get("type") == "Header" and host.get("header") is None:
        raise refused('Header must be set when rewrite path type is "Header"')
    if host.get("type") == "PathRegex":
        regex = host.get("pathRegex") or {}
        if not regex.get("pattern") or not regex.get("substitution"):
            raise refused('PathRegex Pattern and Substitution must be set when rewrite hostname type is "PathRegex"')
        if not is_regex(regex["pattern"]):
            raise refused("PathRegex must be a valid RE2 regular expression")
    found.rewritten |= {f"{part} extended" for part in parts}
