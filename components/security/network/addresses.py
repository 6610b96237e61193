"""Addresses that policies name. Pure."""

import ipaddress

from .policies import NetworkBlockArgs

HTTPS = 443

NODES_ONLY = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32")
"""Link-local addresses, and those where EC2's own services answer instances: who reaches the metadata service can become the node
(EC2 user guide, "Access instance metadata for an EC2 instance")."""

POD_IDENTITY_AGENT = ("169.254.170.23/32", "fd00:ec2::23/128")
POD_IDENTITY_PORT = 80
"""Where pods get the credentials of their identity (EKS user guide, "Set up the Amazon EKS Pod Identity Agent")."""

_NOT_PUBLIC = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
"""Private, shared by carriers, link-local (where EC2's instance metadata is), loopback, multicast, reserved (IANA IPv4
Special-Purpose Address Registry)."""

_PUBLIC_V6 = "2000::/3"
"""All that IANA gives out as global unicast, so that link-local, unique local (where EC2's instance metadata is), multicast, and
what wraps an IPv4 address (::ffff:0:0/96, 64:ff9b::/96) are none of it (IANA Internet Protocol Version 6 Address Space)."""

_NOT_PUBLIC_V6 = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
"""Tunnels, which wrap IPv4 addresses too, and examples (IANA IPv6 Special-Purpose Address Registry)."""


def private(cidr: str) -> NetworkBlockArgs:
    """A range, without what in it is for nodes only."""
    whole = ipaddress.ip_network(cidr)
    first = ((part, ipaddress.ip_network(part).network_address) for part in NODES_ONLY)
    return {"cidr": cidr, "excluded": [part for part, address in first if address in whole and part != cidr]}


def internet() -> list[NetworkBlockArgs]:
    """Every public address, and no other."""
    return [
        {"cidr": "0.0.0.0/0", "excluded": list(_NOT_PUBLIC)},
        {"cidr": _PUBLIC_V6, "excluded": list(_NOT_PUBLIC_V6)},
    ]
