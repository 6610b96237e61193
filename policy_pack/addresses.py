"""Which networks are everybody. Pure."""

import ipaddress
from collections.abc import Iterable
from typing import Any

_WIDEST = {4: 8, 6: 12}
"""The shortest prefixes that one owner has (iana.org/assignments/ipv4-address-space and ipv6-unicast-address-assignments)."""


def everybody(cidrs: Iterable[Any]) -> list[str]:
    """Those of the networks that, taken together, hold more than any owner has, e.g. both halves of the internet.

    What is no text, or no network, is left out: the provider says so.
    """
    networks: dict[str, Any] = {}
    for cidr in cidrs:
        if isinstance(cidr, str):
            try:
                networks[cidr] = ipaddress.ip_network(cidr.strip(), strict=False)
            except ValueError:
                continue
    wide = [
        joined
        for version in _WIDEST
        for joined in ipaddress.collapse_addresses(each for each in networks.values() if each.version == version)
        if joined.prefixlen < _WIDEST[version] and not joined.is_private
    ]
    return [cidr for cidr, network in networks.items() if any(_within(network, joined) for joined in wide)]


def _within(network: Any, other: Any) -> bool:
    return bool(network.version == other.version and network.subnet_of(other))
