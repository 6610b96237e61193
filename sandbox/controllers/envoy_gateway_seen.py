"""What Envoy Gateway looks at, and the errors by which it says what is wrong. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_network
from typing import Any, Final

from sandbox.controllers.cluster import Object
from sandbox.controllers.gateway_api import Name, name_of, permitted

CONTROLLER: Final = "gateway.envoyproxy.io/gatewayclass-controller"
GROUP: Final = "gateway.envoyproxy.io"


@dataclass
class RefusedError(Exception):
    """Why something is not as it should be: the condition's type, its reason and its text."""

    text: str
    reason: str = "Invalid"
    kind: str = "ResolvedRefs"

    def __str__(self) -> str:
        return self.text


def sentence(text: str) -> str:
    """An error as a condition has it."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".") if text else ""


@dataclass(frozen=True)
class Seen:
    """The objects of a cluster that matter, by kind."""

    gateways: Iterable[Object] = ()
    routes: Iterable[Object] = ()
    services: Iterable[Object] = ()
    slices: Iterable[Object] = ()
    secrets: Iterable[Object] = ()
    config_maps: Iterable[Object] = ()
    namespaces: Iterable[Object] = ()
    grants: Iterable[Object] = ()
    filters: Iterable[Object] = ()
    """HTTPRouteFilters."""
    backends: bool = False
    """Whether Backends may be named (`extensionApis.enableBackend`)."""
    global_rate_limit: bool = False
    """Whether there is a rate limit service."""
    by_service: bool = False
    """Whether proxies go by the Services' own addresses and not by their endpoints (`routingType: Service`)."""
    _found: dict[str, Mapping[Name, Object]] = field(default_factory=dict, init=False)

    def find(self, kind: str, name: Name) -> Object | None:
        """One object by its name."""
        if kind not in self._found:
            self._found[kind] = {name_of(each): each for each in getattr(self, kind)}
        return self._found[kind].get(name)

    def labels_of(self, namespace: str) -> Mapping[str, str] | None:
        """The labels of a namespace; None where there is none."""
        found = self.find("namespaces", ("", namespace))
        return None if found is None else found["metadata"].get("labels") or {}

    @cached_property
    def endpoints(self) -> Mapping[Name, list[Object]]:
        """By Service its EndpointSlices."""
        found: dict[Name, list[Object]] = {}
        for each in self.slices:
            service = (each["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
            found.setdefault((each["metadata"].get("namespace") or "", service), []).append(each)
        return found

    def secret(self, source: tuple[str, str, str], ref: Object) -> Object:
        """The Secret that an object of (group, kind, namespace) names.

        Raises:
            RefusedError: it is none, or nobody granted it.
        """
        namespace = ref.get("namespace") or source[2]
        if ref.get("group"):
            raise RefusedError("secret ref group must be unspecified/empty")
        if (kind := ref.get("kind") or "Secret") not in ("Secret", "ConfigMap"):
            raise RefusedError("secret ref kind must be Secret")
        if not permitted(self.grants, source, ("", kind, namespace, ref["name"])):
            raise RefusedError(f"ref to {kind} {namespace}/{ref['name']} not permitted by any ReferenceGrant")
        if (found := self.find("secrets", (namespace, ref["name"]))) is None:
            raise RefusedError(f"secret {namespace}/{ref['name']} does not exist")
        return found

    def check_body(self, body: Object | None, namespace: str) -> None:
        """Raises RefusedError where the text of an answer of the proxy's own is not there."""
        if not body or body.get("type") != "ValueRef":
            return
        where = (namespace, body["valueRef"]["name"])
        found = self.find("config_maps", where)
        if found is None:
            raise RefusedError(f"can't find the referenced configmap {'/'.join(where)}")
        if not found.get("data") and not found.get("binaryData"):
            raise RefusedError(f"can't find the key response.body in the referenced configmap {'/'.join(where)}")


def is_regex(pattern: str) -> bool:
    """Whether Python's own expressions have it too; RE2 has less: no look-around and no back-references."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return not re.search(r"\(\?(<?[=!])|\\[1-9]|\(\?P=", pattern)


def check_cidr(text: str, told: str) -> None:
    """Raises RefusedError for what is no range of addresses."""
    try:
        if "/" not in text:
            raise ValueError
        ip_network(text, strict=False)
    except ValueError:
        raise RefusedError(f"{told}: invalid CIDR address: {text}") from None


def spec_of(obj: Object) -> dict[str, Any]:
    """What an object asks for."""
    return obj.get("spec") or {}


Check = Callable[[Object, Any, Seen], None]
"""Raises RefusedError where a part of the spec of a policy cannot be had: policy, part, what there is."""
