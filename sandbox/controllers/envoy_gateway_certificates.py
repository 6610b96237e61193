"""The certificates Envoy Gateway takes from Secrets. Pure, but for the time of day.

After envoyproxy/gateway v1.9.0 internal/gatewayapi/tls.go; the texts of Go's own crypto library are not repeated to the letter.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_seen import RefusedError
from sandbox.controllers.gateway_api import name_of

_ALGORITHMS = (
    (rsa.RSAPublicKey, "RSA"),
    (ec.EllipticCurvePublicKey, "ECDSA"),
    (ed25519.Ed25519PublicKey, "Ed25519"),
    (dsa.DSAPublicKey, "DSA"),
)


def read_certificates(secrets: Iterable[Object]) -> tuple[tuple[str, ...] | None, str]:
    """DNS names of the certificates that can serve, None where none can; and what is wrong with the others."""
    names: list[str] = []
    seen: set[tuple[str, str]] = set()
    problems, good = [], 0
    for secret in secrets:
        where = "/".join(name_of(secret))
        try:
            certificate = _certificate(secret)
            domains = _dns_names(certificate)
            of = {(_algorithm(certificate), domain) for domain in domains or _common_name(certificate)}
            if taken := of & seen:
                (algorithm, domain), *_ = sorted(taken)
                raise RefusedError(
                    f"public key algorithm must be unique, certificate domain {domain} has a conflicting algorithm [{algorithm}]"
                )
        except RefusedError as problem:
            problems.append(f"{where} {problem}")
        else:
            seen |= of
            names += domains
            good += 1
    return (tuple(names) if good else None), "\n".join(problems)


def _certificate(secret: Object) -> x509.Certificate:
    pem, key = (base64.b64decode(secret["data"][part]) for part in ("tls.crt", "tls.key"))
    must = "must contain valid tls.crt and tls.key"
    try:
        chain = [x509.load_der_x509_certificate(block) for block in _blocks(pem)]
    except ValueError as error:
        raise RefusedError(f"{must}, unable to validate certificate in tls.crt: {error}") from None
    if not chain:
        raise RefusedError(f"{must}, unable to validate certificate in tls.crt: unable to decode pem data for certificate")
    moment = datetime.now(UTC)
    for each in chain:
        told = (_common_name(each) or [""])[0]
        if moment > each.not_valid_after_utc:
            told = f"certificate {told} has expired since {each.not_valid_after_utc:%Y-%m-%d %H:%M:%S +0000 UTC}"
            raise RefusedError(f"{must}, unable to validate certificate in tls.crt: {told}")
        if moment < each.not_valid_before_utc:
            told = f"certificate {told} will be valid after {each.not_valid_before_utc:%Y-%m-%d %H:%M:%S +0000 UTC}"
            raise RefusedError(f"{must}, unable to validate certificate in tls.crt: {told}")
    if not any(_blocks(key)):
        raise RefusedError(f"{must}, unable to decode pem data in tls.key")
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise RefusedError(f"{must}, unable to parse {_format(key)} formatted private key in tls.key") from None
    if _spki(private.public_key()) != _spki(chain[0].public_key()):
        raise RefusedError("must contain a matching tls.crt and tls.key: tls: private key does not match public key")
    return chain[0]


def _blocks(pem: bytes) -> Iterator[bytes]:
    """What PEM blocks hold, up to the first that is none."""
    for found in re.finditer(rb"-----BEGIN [A-Z0-9 ]+-----\s(.*?)-----END [A-Z0-9 ]+-----", pem, re.DOTALL):
        try:
            yield base64.b64decode(b"".join(found[1].split()), validate=True)
        except binascii.Error:
            return


def _spki(key: object) -> bytes:
    bytes_of = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return bytes(bytes_of)


def _format(key: bytes) -> str:
    return "PKCS1" if b"RSA PRIVATE KEY" in key else "EC" if b"EC PRIVATE KEY" in key else "PKCS8"


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return found.get_values_for_type(x509.DNSName)


def _common_name(certificate: x509.Certificate) -> list[str]:
    return [str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME) if each.value]


def _algorithm(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    return next((name for of, name in _ALGORITHMS if isinstance(key, of)), "0")
