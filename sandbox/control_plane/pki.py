"""The keys and certificates of one control plane: three authorities, as kubeadm keeps them, and one leaf per identity.

They are made once per instance and kept, so that a kubeconfig handed out stays valid and stays the same; all are
valid for ten years, because an instance is deleted, never renewed.
"""

import datetime
import ipaddress
import secrets
import shutil
import ssl
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox.control_plane.files import private_directory, write_private
from sandbox.control_plane.ports import LOOPBACK

ADMINISTRATORS = "llm-platform:administrators"
KWOK_USER = "llm-platform:kwok"
DEVICE_MANAGER_USER = "llm-platform:device-manager"
CONTROLLERS_USER = "llm-platform:controllers"

_VALIDITY = datetime.timedelta(days=3650)
_CLOCK_SKEW = datetime.timedelta(hours=1)
_AUTHORITIES = ("ca", "etcd-ca", "front-proxy-ca")


@dataclass(frozen=True)
class _Leaf:
    """One certificate: with `hosts` a server's, with `client` a client's, with both (an etcd peer) either."""

    authority: str
    user: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = field(default=())
    client: bool = True


def _leaves(service_ip: str, server_names: Sequence[str] = ()) -> dict[str, _Leaf]:
    """Every leaf by file name; `service_ip` is the first address of the service range, where pods find the API server.

    `server_names` are names and addresses of the API server beside its own.
    """
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    names = tuple(dict.fromkeys((*service, "localhost", LOOPBACK, service_ip, *server_names)))
    return {
        "etcd-server": _Leaf("etcd-ca", "etcd", hosts=("localhost", LOOPBACK), client=False),
        "etcd-peer": _Leaf("etcd-ca", "etcd", hosts=("localhost", LOOPBACK)),
        "apiserver-etcd-client": _Leaf("etcd-ca", "kube-apiserver"),
        "apiserver": _Leaf("ca", "kube-apiserver", hosts=names, client=False),
        "front-proxy-client": _Leaf("front-proxy-ca", "front-proxy-client"),
        # system:masters passes every check without RBAC; `start` uses it for the first role bindings and for nothing else.
        "bootstrap": _Leaf("ca", "llm-platform:bootstrap", ("system:masters",)),
        "admin": _Leaf("ca", "llm-platform:admin", (ADMINISTRATORS,)),
        "controller-manager": _Leaf("ca", "system:kube-controller-manager"),
        "scheduler": _Leaf("ca", "system:kube-scheduler"),
        "kwok": _Leaf("ca", KWOK_USER),
        "device-manager": _Leaf("ca", DEVICE_MANAGER_USER),
        "controllers": _Leaf("ca", CONTROLLERS_USER),
    }


@dataclass(frozen=True)
class Pki:
    """The directory that holds them; every file has mode 0600."""

    directory: Path

    def certificate(self, name: str) -> Path:
        """Where the PEM certificate of an authority or identity is."""
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Where the PEM private key of an authority or identity is."""
        return self.directory / f"{name}.key"

    @property
    def service_account_key(self) -> Path:
        """The private key that signs service-account tokens."""
        return self.key("service-account")

    @property
    def service_account_public_key(self) -> Path:
        """The public key that verifies them."""
        return self.directory / "service-account.pub"

    @property
    def encryption_key(self) -> Path:
        """Thirty-two random bytes with which the API server encrypts Secrets in etcd."""
        return self.directory / "encryption.key"

    def tls_context(self, user: str) -> ssl.SSLContext:
        """TLS towards the API server as `user`, trusting this instance's authority only."""
        return tls_context(self.certificate("ca"), self.certificate(user), self.key(user))

    def issue(self, user: str, groups: Sequence[str], validity: datetime.timedelta) -> tuple[bytes, bytes]:
        """A client certificate and its key, both PEM, for a user of the API server; nothing of it is kept."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(_Leaf("ca", user, tuple(groups)), key, *_load(self, "ca"), validity)
        return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)

    def ensure(self, service_ip: str, server_names: Sequence[str] = ()) -> None:
        """Makes everything unless it is there: in a directory of its own that is renamed when complete.

        An instance of an older version of this program gets what it lacks, and one whose API server has got more names
        another certificate with these and those it had, which a server that runs takes up by itself.
        """
        if self.directory.exists():
            names = dict.fromkeys((*self._server_names(), *server_names))
            for name, leaf in _leaves(service_ip, tuple(names)).items():
                if not self.certificate(name).exists() or (name == "apiserver" and not set(server_names) <= self._server_names()):
                    key = ec.generate_private_key(ec.SECP256R1())
                    _write(self, name, key, _sign(leaf, key, *_load(self, leaf.authority)))
            return
        draft = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        _make(Pki(private_directory(draft)), service_ip, server_names)
        draft.rename(self.directory)

    def _server_names(self) -> set[str]:
        """The names and addresses in the API server's certificate."""
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate("apiserver").read_bytes())
        except FileNotFoundError:
            return set()
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return {str(name.value) for name in names}


def tls_context(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS that trusts `authority` only and presents `certificate`; all three are PEM files."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(certificate, key)
    return context


def _make(pki: Pki, service_ip: str, server_names: Sequence[str]) -> None:
    authorities = {}
    for name in _AUTHORITIES:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"llm-platform {name}")])
        certificate = _authority(subject, key)
        authorities[name] = (certificate, key)
        _write(pki, name, key, certificate)
    for name, leaf in _leaves(service_ip, server_names).items():
        key = ec.generate_private_key(ec.SECP256R1())
        _write(pki, name, key, _sign(leaf, key, *authorities[leaf.authority]))
    signer = ec.generate_private_key(ec.SECP256R1())
    write_private(pki.service_account_key, _pem(signer))
    public = signer.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_private(pki.service_account_public_key, public)
    write_private(pki.encryption_key, secrets.token_bytes(32))


def _load(pki: Pki, authority: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = serialization.load_pem_private_key(pki.key(authority).read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{pki.key(authority)} is no elliptic curve key, which is all this program makes")
    return x509.load_pem_x509_certificate(pki.certificate(authority).read_bytes()), key


def _write(pki: Pki, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    write_private(pki.key(name), _pem(key))
    write_private(pki.certificate(name), certificate.public_bytes(serialization.Encoding.PEM))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _authority(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return (
        _builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _sign(
    leaf: _Leaf,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    validity: datetime.timedelta = _VALIDITY,
) -> x509.Certificate:
    names = [*(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in leaf.groups), _common_name(leaf.user)]
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH] if leaf.client else []
    if leaf.hosts:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
    builder = (
        _builder(x509.Name(names), issuer.subject, key.public_key(), validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if leaf.hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in leaf.hosts]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _common_name(user: str) -> x509.NameAttribute[str]:
    """X.520 allows 64 characters, ARNs are longer, and neither the API server nor OpenSSL minds."""
    with warnings.catch_warnings(action="ignore"):
        return x509.NameAttribute(NameOID.COMMON_NAME, user, _validate=False)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, validity: datetime.timedelta = _VALIDITY
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
