"""Certificates that are signed by themselves."""

import datetime
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def pair(hosts: Sequence[str]) -> dict[str, str]:
    """Content of a Secret of type kubernetes.io/tls for these hosts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), begin, begin + datetime.timedelta(days=1)
    )
    alternatives = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    certificate = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return {"tls.crt": certificate.public_bytes(serialization.Encoding.PEM).decode(), "tls.key": private.decode()}


def trusting(certificate: str) -> ssl.SSLContext:
    """A client that believes this certificate (PEM) alone."""
    return ssl.create_default_context(cadata=certificate)


def serving(content: Mapping[str, str]) -> ssl.SSLContext:
    """A server with this content of a Secret."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:  # the library reads keys from files only
        (file := Path(folder) / "tls.pem").write_text(content["tls.crt"] + content["tls.key"])
        context.load_cert_chain(file)
    return context
