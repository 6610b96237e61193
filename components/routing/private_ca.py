"""A certificate authority of the stack's own, kept by cert-manager: https without anybody outside."""

from collections.abc import Mapping
from typing import Any, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate
from ..names import DNS_LABEL_MAX, fit

ISSUER_KIND = "Issuer"
"""Kind of the authority's issuer: it signs in its own namespace alone."""
_HOURS = 24 * 365 * 10
_COMMON_NAME_MAX = 64
"""Characters of a common name (RFC 5280, "Upper Bounds")."""
_API = "cert-manager.io/v1"


class PrivateCaArgs(TypedDict):
    """Inputs of `PrivateCa`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the certificates it signs: the gateway's. Who reads Secrets there can sign in its name."""


class _Config(Model):
    namespace_name: InputText


class PrivateCa(PlatformComponent):
    """An authority that signs for one namespace. Clients have to be told its certificate.

    It needs cert-manager before it; its key stays the same when its certificate is renewed, and stays behind as a Secret when it
    goes, as cert-manager has it with every Certificate.
    """

    issuer_name: pulumi.Output[str]
    """Name of its issuer."""
    issuer_kind: pulumi.Output[str]
    """`Issuer`."""
    secret_name: pulumi.Output[str]
    """Secret with its certificate (`ca.crt`), which clients trust, and its key (`tls.key`)."""

    def __init__(self, name: str, args: PrivateCaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._namespace_name = validate(_Config, args, f"PrivateCa {name}").namespace_name
        secret_name = fit(name, "ca", limit=DNS_LABEL_MAX)
        itself = self._made("itself", "Issuer", {"selfSigned": {}})
        authority = self._made("authority", "Certificate", authority_spec(name, secret_name, itself.metadata["name"]))
        issuer = self._made("issuer", "Issuer", {"ca": {"secretName": secret_name}}, authority)
        self.issuer_name = issuer.metadata["name"]
        self.issuer_kind = pulumi.Output.from_input(ISSUER_KIND)
        self.secret_name = pulumi.Output.from_input(secret_name)
        self.finish()

    def _made(
        self, role: str, kind: str, spec: Mapping[str, Any], after: pulumi.Resource | None = None
    ) -> kubernetes.apiextensions.CustomResource:
        common = labels("private-ca", self._name, role)
        return kubernetes.apiextensions.CustomResource(
            self.child_name(role),
            api_version=_API,
            kind=kind,
            metadata={"namespace": self._namespace_name, "labels": common},
            spec=dict(spec),
            opts=self.child(depends_on=[after] if after else None),
        )


def authority_spec(name: str, secret_name: str, issuer_name: pulumi.Input[str]) -> dict[str, Any]:
    """Spec of the authority's own certificate: ten years, signed with its own key."""
    return {
        "isCA": True,
        "commonName": fit(name, "authority", limit=_COMMON_NAME_MAX),
        "secretName": secret_name,
        "duration": f"{_HOURS}h0m0s",
        # Another key would be another authority, which no client has been told of.
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"},
        "usages": ["cert sign", "crl sign"],
        "issuerRef": {"name": issuer_name, "kind": ISSUER_KIND},
    }
