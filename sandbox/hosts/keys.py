"""Key pairs of OpenSSH."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from sandbox.control_plane.files import write_private


def key_pair(path: Path) -> str:
    """The public half of the private key in `path`, which is made if need be: algorithm and key, as known_hosts has them."""
    if not path.exists():
        fresh = ed25519.Ed25519PrivateKey.generate()
        form = serialization.PrivateFormat.OpenSSH
        write_private(path, fresh.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
