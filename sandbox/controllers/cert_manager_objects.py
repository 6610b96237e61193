"""What cert-manager makes, and why it would make it anew. Pure, but for the time of day.

After cert-manager/cert-manager v1.21.1 internal/controller/certificates (policies/checks.go, secrets.go) and
pkg/controller/certificates.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509

from sandbox.controllers import cert_manager_x509 as pki
from sandbox.controllers.cluster import Object
from sandbox.controllers.external_secrets_objects import seconds

GROUP: Final = "cert-manager.io"
NEXT_KEY: Final = f"{GROUP}/next-private-key"
REVISION: Final = f"{GROUP}/certificate-revision"
UP_TO_DATE: Final = ("True", "Ready", "Certificate is up to date and has not expired")
_MANAGED: Final = "controller.cert-manager.io/fao"
Violation = tuple[str, str]
"""Reason and message."""


def decoded(obj: Object | None, key: str) -> bytes:
    """A value of a Secret; empty where it has none."""
    return base64.b64decode(((obj or {}).get("data") or {}).get(key) or "")


def violation(certificate: Object, secret: Object | None, request: Object | None) -> Violation | None:
    """Why the Secret of a Certificate is not what it should be; `request` is the one it was made for, if that is still there."""
    spec = certificate["spec"]
    if secret is None:
        return "DoesNotExist", "Issuing certificate as Secret does not exist"
    if not secret.get("data"):
        return "MissingData", "Issuing certificate as Secret does not contain any data"
    for key, what in (("tls.key", "private key"), ("tls.crt", "certificate")):
        if not decoded(secret, key):
            return "MissingData", f"Issuing certificate as Secret does not contain a {what}"
    try:
        private = pki.load_key(decoded(secret, "tls.key"))
    except (ValueError, TypeError, binascii.Error) as error:
        return "InvalidKeyPair", f"Issuing certificate as Secret contains invalid private key data: {error}"
    try:
        public = x509.load_pem_x509_certificate(decoded(secret, "tls.crt"))
    except ValueError as error:
        return "InvalidCertificate", f"Issuing certificate as Secret contains an invalid certificate: {error}"
    if public.public_key() != private.public_key():
        return "InvalidKeyPair", "Issuing certificate as Secret contains a private key that does not match the certificate"
    return _of_another(certificate, secret) or _of_the_past(spec, private, public, request)


def _of_another(certificate: Object, secret: Object) -> Violation | None:
    notes = secret["metadata"].get("annotations") or {}
    by = tuple(notes.get(f"{GROUP}/issuer-{part}") for part in ("kind", "group", "name"))
    if any(by):
        kind, group, name = by[0] or "Issuer", by[1] or GROUP, by[2] or ""
        if (kind, group, name) != pki.issuer_of(certificate["spec"]):
            return "IncorrectIssuer", f'Issuing certificate as Secret was previously issued by "{kind}.{group}/{name}"'
    owner = notes.get(f"{GROUP}/certificate-name")
    if owner is not None and owner != certificate["metadata"]["name"]:
        told = "If this message is not transient, you might have two conflicting Certificates pointing to the same secret."
        return "IncorrectCertificate", f'Secret was issued for "{owner}". {told}'
    return None


def _of_the_past(spec: Object, private: pki.PrivateKey, public: x509.Certificate, request: Object | None) -> Violation | None:
    if wrong := pki.key_mismatches(private, spec):
        return "SecretMismatch", f"Existing private key is not up to date for spec: [{' '.join(wrong)}]"
    if request is not None:
        csr = base64.b64decode(request["spec"]["request"])
        if x509.load_pem_x509_csr(csr).public_key() != private.public_key():
            return "SecretMismatch", "Secret contains a private key that does not match the current CertificateRequest"
        if wrong := pki.mismatches(request["spec"], csr, spec):
            told = f"Fields on existing CertificateRequest resource not up to date: [{' '.join(wrong)}]"
            return "RequestChanged", told
    if datetime.now(UTC) > public.not_valid_after_utc:
        return "Expired", f"Certificate expired on {public.not_valid_after_utc:%a, %d %b %Y %H:%M:%S UTC}"
    return None


def renewal_time(spec: Object, certificate: x509.Certificate) -> datetime:
    """When a certificate is made anew: after two thirds of its time, unless it is said otherwise."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    before = (end - begin) / 3
    if spec.get("renewBefore") and seconds(spec["renewBefore"]) < (end - begin).total_seconds():
        before = timedelta(seconds=seconds(spec["renewBefore"]))
    elif 0 < spec.get("renewBeforePercentage", 0) < 100:
        before = (end - begin) * spec["renewBeforePercentage"] / 100
    return (end - before).replace(microsecond=0)


def validity(spec: Object, secret: Object | None) -> dict[str, str | None]:
    """The times in the status of a Certificate."""
    try:
        certificate = x509.load_pem_x509_certificate(decoded(secret, "tls.crt"))
    except ValueError:
        return {"notBefore": None, "notAfter": None, "renewalTime": None}
    times = {
        "notBefore": certificate.not_valid_before_utc,
        "notAfter": certificate.not_valid_after_utc,
        "renewalTime": renewal_time(spec, certificate),
    }
    return {name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in times.items()}


def owner_of(certificate: Object) -> dict[str, Any]:
    """A Certificate as the owner of what is made for it."""
    metadata = certificate["metadata"]
    named = {"apiVersion": f"{GROUP}/v1", "kind": "Certificate", "name": metadata["name"], "uid": metadata["uid"]}
    return {**named, "controller": True, "blockOwnerDeletion": True}


def next_key(certificate: Object, pem: bytes) -> dict[str, Any]:
    """The Secret in which a key waits for its certificate."""
    metadata = certificate["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "namespace": metadata["namespace"],
            "generateName": f"{metadata['name'][:52]}-",
            "labels": {NEXT_KEY: "true", _MANAGED: "true"},
            "ownerReferences": [owner_of(certificate)],
        },
        "data": {"tls.key": base64.b64encode(pem).decode()},
    }


def request_of(certificate: Object, revision: int, key_name: str, csr: bytes) -> dict[str, Any]:
    """The CertificateRequest for a revision of a Certificate."""
    metadata, spec = certificate["metadata"], certificate["spec"]
    notes = {REVISION: str(revision), f"{GROUP}/private-key-secret-name": key_name, f"{GROUP}/certificate-name": metadata["name"]}
    given = {key: value for key, value in (metadata.get("annotations") or {}).items() if _is_copied(key)}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "CertificateRequest",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-{revision}",
            "labels": metadata.get("labels") or {},
            "annotations": {**given, **notes},
            "ownerReferences": [owner_of(certificate)],
        },
        "spec": {
            "request": base64.b64encode(csr).decode(),
            **{field: spec[field] for field in ("duration", "issuerRef", "isCA", "usages") if field in spec},
        },
    }


def _is_copied(annotation: str) -> bool:
    return not annotation.startswith(("kubectl.kubernetes.io/", "fluxcd.io/", "argocd.argoproj.io/"))


def secret_of(certificate: Object, kept: Object | None, key: bytes, signed: Mapping[str, str], *, owned: bool) -> dict[str, Any]:
    """The Secret of a Certificate, from its key and what the issuer signed; a Secret that is there keeps its type."""
    metadata, spec = certificate["metadata"], certificate["spec"]
    kind, group, name = (spec["issuerRef"].get(part, "") for part in ("kind", "group", "name"))
    public = x509.load_pem_x509_certificate(base64.b64decode(signed["certificate"]))
    template = spec.get("secretTemplate") or {}
    notes = {f"{GROUP}/{name}": value for name, value in pki.annotations(public).items()} | {
        f"{GROUP}/certificate-name": metadata["name"],
        f"{GROUP}/issuer-name": name,
        f"{GROUP}/issuer-kind": kind,
        f"{GROUP}/issuer-group": group,
    }
    made: dict[str, Any] = {
        "namespace": metadata["namespace"],
        "name": spec["secretName"],
        "labels": {**(template.get("labels") or {}), _MANAGED: "true"},
        "annotations": {**(template.get("annotations") or {}), **notes},
    }
    if owned:
        made["ownerReferences"] = [owner_of(certificate)]
    data = {"tls.key": base64.b64encode(key).decode(), "tls.crt": signed["certificate"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kept["type"] if kept else "kubernetes.io/tls",
        "metadata": made,
        "data": data | ({"ca.crt": signed["ca"]} if signed.get("ca") else {}),
    }
