"""Who signs tokens that a gateway lets through."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


@dataclass(frozen=True)
class Signer:
    """One with a key."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def keys(self) -> dict[str, Any]:
        """What tokens are checked with (RFC 7517)."""
        numbers = self.key.public_key().public_numbers()
        modulus, exponent = (_base64(value.to_bytes((value.bit_length() + 7) // 8)) for value in (numbers.n, numbers.e))
        return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "stand-in", "n": modulus, "e": exponent}]}

    def token(self, claims: Mapping[str, str], algorithm: str = "RS256", lasts_s: int = 600) -> str:
        """A token of that (RFC 7519); nothing signs it for `none`."""
        head = {"typ": "JWT", "alg": algorithm, "kid": "stand-in"}
        said = ".".join(_base64(json.dumps(each).encode()) for each in (head, {"exp": int(time.time()) + lasts_s, **claims}))
        signature = b"" if algorithm == "none" else self.key.sign(said.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{said}.{_base64(signature)}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
