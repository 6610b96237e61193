"""The certificate of a gateway, from an issuer of cert-manager. Pure.

A Certificate of its own, and not the annotation on the Gateway that cert-manager makes one from: that needs a switch in
cert-manager, takes names from listeners that have one (ours have none, see gateway_api.py), and Pulumi could not wait for it
(cert-manager.io, "Annotated Gateway resource").
"""

import pulumi

from ..names import DNS_LABEL_MAX, fit
from .config import GatewayConfig, Issuer
from .objects import CERTIFICATES, Object, whole


def certificate_secret(config: GatewayConfig, name: str) -> pulumi.Input[str]:
    """Secret with the certificate of the gateway `name`: the given one, or the one that cert-manager keeps."""
    return config.tls_secret_name or fit(name, "tls", limit=DNS_LABEL_MAX)


def certificate(config: GatewayConfig, issuer: Issuer, name: str) -> Object:
    """A certificate for every host, with a new key each time it is renewed."""
    spec = {
        "secretName": certificate_secret(config, name),
        "dnsNames": list(config.hosts),
        "issuerRef": {"group": CERTIFICATES, "kind": issuer.kind, "name": issuer.name},
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
    }
    return whole(f"{CERTIFICATES}/v1", "Certificate", name, spec, namespace=config.namespace_name)
