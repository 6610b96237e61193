"""Values for secrets nobody told the rehearsal. Pure: the same seed gives the same value, so a second run changes nothing."""

import base64
import datetime
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from components.secrets.kinds import DOCKER_CONFIG, SecretType, docker_config

_BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(2126, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Inventor:
    """Makes values up from a seed that nobody else has."""

    seed: bytes

    def text(self, *names: str) -> str:
        """A random text for what has these names."""
        return base64.urlsafe_b64encode(self._bytes(*names)).decode().rstrip("=")

    def value(self, of: SecretType, key: str, *names: str) -> str:
        """A value of a form that a secret of that type may have; what has the same names belongs together."""
        if of is SecretType.REGISTRY and key == DOCKER_CONFIG:
            return docker_config("registry.example.com", "rehearsal", self.text(*names, key))
        if of is SecretType.TLS:
            return self._pair(*names)[key]
        return self.text(*names, key)

    def _pair(self, *names: str) -> Mapping[str, str]:
        """A key and its certificate, signed by itself."""
        key = Ed25519PrivateKey.from_private_bytes(self._bytes(*names))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(_BEGIN)
            .not_valid_after(_END)
            .sign(key, None)
        )
        plain = serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        return {"tls.crt": certificate.public_bytes(serialization.Encoding.PEM).decode(), "tls.key": private.decode()}

    def _bytes(self, *names: str) -> bytes:
        return hmac.digest(self.seed, json.dumps(names).encode(), hashlib.sha256)
