"""What kubeseal and its controller do with a value (bitnami-labs/sealed-secrets, pkg/crypto/crypto.go).

A session key under RSA-OAEP with SHA-256, whose label is the scope, and the value under AES-GCM with a nonce of zeros: a session
key is used once.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbox.control_plane.files import write_private

SEALING_KEY = "LLM_PLATFORM_SEALING_KEY"
"""Environment variable with the file of the key that texts of a rehearsal are sealed for."""
_NONCE = bytes(12)
_SESSION_KEY_BYTES, _LENGTH_BYTES = 32, 2
_RSA_BITS = 4096


class NotOpenedError(Exception):
    """No key opens a text."""


def label(namespace: str, name: str, annotations: dict[str, str]) -> bytes:
    """What a text is bound to: namespace and name, unless annotations widen its scope."""
    if annotations.get("sealedsecrets.bitnami.com/cluster-wide") == "true":
        return b""
    if annotations.get("sealedsecrets.bitnami.com/namespace-wide") == "true":
        return namespace.encode()
    return f"{namespace}/{name}".encode()


def seal(key: rsa.RSAPublicKey, value: bytes, bound_to: bytes) -> bytes:
    """A text that only the private key opens, and only for what it is bound to."""
    session_key = os.urandom(_SESSION_KEY_BYTES)
    wrapped = key.encrypt(session_key, _padding(bound_to))
    return len(wrapped).to_bytes(_LENGTH_BYTES, "big") + wrapped + AESGCM(session_key).encrypt(_NONCE, value, None)


def unseal(keys: Sequence[rsa.RSAPrivateKey], text: bytes, bound_to: bytes) -> bytes:
    """The value. Raises NotOpenedError with the controller's words."""
    length = int.from_bytes(text[:_LENGTH_BYTES], "big")
    wrapped, encrypted = text[_LENGTH_BYTES : _LENGTH_BYTES + length], text[_LENGTH_BYTES + length :]
    for key in keys:
        try:
            return AESGCM(key.decrypt(wrapped, _padding(bound_to))).decrypt(_NONCE, encrypted, None)
        except (ValueError, InvalidTag):
            continue
    raise NotOpenedError("no key could decrypt secret")


def ensure_key(file: Path) -> bytes:
    """The private key in a file, PEM; made where there is none."""
    if not file.exists():
        write_private(file, new_key())
    return file.read_bytes()


def new_key() -> bytes:
    """A private key, PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> rsa.RSAPrivateKey:
    """Raises ValueError for what is no RSA key."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the sealing key is not an RSA key")
    return key


def _padding(bound_to: bytes) -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=bound_to)
