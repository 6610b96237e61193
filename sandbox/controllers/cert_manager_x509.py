"""Keys, requests and certificates as cert-manager makes them: real ones. Pure, but for keys, serial numbers and the time of day.

After cert-manager/cert-manager v1.21.1 pkg/util/pki.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from sandbox.controllers.cluster import Object
from sandbox.controllers.external_secrets_objects import seconds

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_CURVES: Final[Mapping[int, ec.EllipticCurve]] = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
_DAYS_90_S: Final = 90 * 86400.0
_USAGES: Final = {
    "digital_signature": ("digital signature", "signing"),
    "content_commitment": ("content commitment",),
    "key_encipherment": ("key encipherment",),
    "data_encipherment": ("data encipherment",),
    "key_agreement": ("key agreement",),
    "key_cert_sign": ("cert sign",),
    "crl_sign": ("crl sign",),
    "encipher_only": ("encipher only",),
    "decipher_only": ("decipher only",),
}
_EXTENDED: Final = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}
_SUBJECT: Final = (
    ("organizations", NameOID.ORGANIZATION_NAME),
    ("countries", NameOID.COUNTRY_NAME),
    ("localities", NameOID.LOCALITY_NAME),
    ("organizationalUnits", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("postalCodes", NameOID.POSTAL_CODE),
    ("provinces", NameOID.STATE_OR_PROVINCE_NAME),
    ("streetAddresses", NameOID.STREET_ADDRESS),
)
_ALT_NAMES: Final = ("ipAddresses", "uris", "emailAddresses", "dnsNames")
_ANNOTATIONS: Final = {
    "organizations": "subject-organizations",
    "organizationalUnits": "subject-organizationalunits",
    "countries": "subject-countries",
    "provinces": "subject-provinces",
    "localities": "subject-localities",
    "postalCodes": "subject-postalcodes",
    "streetAddresses": "subject-streetaddresses",
}


@dataclass(frozen=True)
class Authority:
    """Who signs: its certificate, the chain above it, and its key."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey


def new_key(spec: Object) -> bytes:
    """The private key a Certificate asks for, as PEM."""
    wanted = spec.get("privateKey") or {}
    algorithm, size = wanted.get("algorithm") or "RSA", wanted.get("size")
    key: PrivateKey
    if algorithm == "ECDSA":
        key = ec.generate_private_key(_CURVES[size or 256])
    elif algorithm == "Ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(65537, size or 2048)
    return encoded(key, wanted.get("encoding") or "PKCS1")


def encoded(key: PrivateKey, encoding: str) -> bytes:
    """A private key as PEM, in the encoding a Certificate asks for."""
    of = serialization.PrivateFormat
    is_own = encoding == "PKCS1" and not isinstance(key, ed25519.Ed25519PrivateKey)
    form = of.TraditionalOpenSSL if is_own else of.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def load_key(pem: bytes) -> PrivateKey:
    """A private key. Raises ValueError where it is none of these kinds."""
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, PrivateKey):
        raise ValueError("the key is of a kind that cert-manager does not make")
    return key


def key_mismatches(key: PrivateKey, spec: Object) -> list[str]:
    """What of a key is other than a Certificate asks for."""
    wanted = spec.get("privateKey") or {}
    kinds = {"RSA": rsa.RSAPrivateKey, "ECDSA": ec.EllipticCurvePrivateKey, "Ed25519": ed25519.Ed25519PrivateKey}
    algorithm = wanted.get("algorithm") or "RSA"
    if not isinstance(key, kinds[algorithm]):
        return ["spec.privateKey.algorithm"]
    sizes = {"RSA": 2048, "ECDSA": 256}
    size = wanted.get("size") or sizes.get(algorithm)
    return ["spec.privateKey.size"] if size and getattr(key, "key_size", size) != size else []


def new_request(spec: Object, key: PrivateKey) -> bytes:
    """The signing request of a Certificate, as PEM. Raises ValueError where it names nobody."""
    names = list(_general_names(spec))
    if not spec.get("commonName") and not names:
        raise ValueError("at least one of commonName, dnsNames, emailAddresses, ipAddresses, uris must be set")
    subject = spec.get("subject") or {}
    attributes = [x509.NameAttribute(oid, value) for field, oid in _SUBJECT for value in subject.get(field) or []]
    if spec.get("commonName"):
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, spec["commonName"]))
    if subject.get("serialNumber"):
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, subject["serialNumber"]))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not attributes)
    return builder.sign(key, _hash(key)).public_bytes(serialization.Encoding.PEM)


def _general_names(spec: Object) -> Iterator[x509.GeneralName]:
    yield from (x509.DNSName(each) for each in spec.get("dnsNames") or [])
    yield from (x509.IPAddress(ipaddress.ip_address(each)) for each in spec.get("ipAddresses") or [])
    yield from (x509.RFC822Name(each) for each in spec.get("emailAddresses") or [])
    yield from (x509.UniformResourceIdentifier(each) for each in spec.get("uris") or [])


def sign(request: Object, csr: bytes, by: Authority | PrivateKey) -> tuple[bytes, bytes]:
    """The certificate of a request and the authority's, as PEM; by its own key where there is no authority."""
    asked, moment = x509.load_pem_x509_csr(csr), datetime.now(UTC).replace(microsecond=0)
    duration = seconds(request["duration"]) if request.get("duration") else _DAYS_90_S
    issuer = by.chain[0].subject if isinstance(by, Authority) else asked.subject
    builder = (
        x509.CertificateBuilder(issuer, asked.subject, asked.public_key(), x509.random_serial_number())
        .not_valid_before(moment)
        .not_valid_after(moment + timedelta(seconds=duration))
    )
    for each in asked.extensions:
        builder = builder.add_extension(each.value, critical=each.critical)
    is_authority = bool(request.get("isCA"))
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    for extension, critical in _usages(request.get("usages") or [], is_authority=is_authority):
        builder = builder.add_extension(extension, critical=critical)
    if is_authority:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(asked.public_key()), critical=False)
    if not isinstance(by, Authority):
        made = builder.sign(by, _hash(by)).public_bytes(serialization.Encoding.PEM)
        return made, made
    known = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    made = builder.add_extension(known, critical=False).sign(by.key, _hash(by.key)).public_bytes(serialization.Encoding.PEM)
    # Those between are sent along; who trusts the first has it already.
    between = [each.public_bytes(serialization.Encoding.PEM) for each in by.chain if each.issuer != each.subject]
    return b"".join([made, *between]), by.chain[-1].public_bytes(serialization.Encoding.PEM)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _hash(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _usages(wanted: Iterable[str], *, is_authority: bool) -> Iterator[tuple[x509.ExtensionType, bool]]:
    usages = set(wanted) or {"digital signature", "key encipherment"}
    if is_authority:
        usages.add("cert sign")
    flags = {flag: bool(usages & set(names)) for flag, names in _USAGES.items()}
    if not flags["key_agreement"]:
        flags |= {"encipher_only": False, "decipher_only": False}  # they say something of an agreement (RFC 5280, 4.2.1.3)
    if any(flags.values()):
        yield x509.KeyUsage(**flags), True
    extended: dict[ObjectIdentifier, None] = {oid: None for name, oid in _EXTENDED.items() if name in usages}
    if extended:
        yield x509.ExtendedKeyUsage(list(extended)), False


def mismatches(request: Object, csr: bytes, spec: Object) -> list[str]:
    """What of a request is other than its Certificate asks for by now."""
    asked = x509.load_pem_x509_csr(csr)
    found = _alt_names(asked.extensions)
    wrong = [f"spec.{field}" for field in _ALT_NAMES if sorted(found[field]) != sorted(map(_plain, spec.get(field) or []))]
    if (_first(asked.subject, NameOID.COMMON_NAME)) != (spec.get("commonName") or ""):
        wrong.append("spec.commonName")
    subject = spec.get("subject") or {}
    if _first(asked.subject, NameOID.SERIAL_NUMBER) != (subject.get("serialNumber") or ""):
        wrong.append("spec.subject.serialNumber")
    for field, oid in _SUBJECT:
        values = [str(each.value) for each in asked.subject.get_attributes_for_oid(oid)]
        if sorted(values) != sorted(subject.get(field) or []):
            wrong.append(f"spec.subject.{'postCodes' if field == 'postalCodes' else field}")
    if bool(request.get("isCA")) != bool(spec.get("isCA")):
        wrong.append("spec.isCA")
    if sorted(request.get("usages") or []) != sorted(spec.get("usages") or []):
        wrong.append("spec.usages")
    durations = [each["duration"] for each in (request, spec) if each.get("duration")]
    if len(durations) == 2 and seconds(durations[0]) != seconds(durations[1]):
        wrong.append("spec.duration")
    if issuer_of(request) != issuer_of(spec):
        wrong.append("spec.issuerRef")
    return wrong


def issuer_of(spec: Object) -> tuple[str, str, str]:
    """Kind, group and name of who signs."""
    ref = spec["issuerRef"]
    return ref.get("kind") or "Issuer", ref.get("group") or "cert-manager.io", ref["name"]


def annotations(certificate: x509.Certificate) -> dict[str, str]:
    """What a Secret says of the certificate in it, without the prefix."""
    names = _alt_names(certificate.extensions)
    found = {
        "common-name": _first(certificate.subject, NameOID.COMMON_NAME),
        "alt-names": ",".join(names["dnsNames"]),
        "ip-sans": ",".join(names["ipAddresses"]),
        "uri-sans": ",".join(names["uris"]),
    }
    more = {
        _ANNOTATIONS[field]: ",".join(str(each.value) for each in certificate.subject.get_attributes_for_oid(oid))
        for field, oid in _SUBJECT
    }
    more["email-sans"] = ",".join(names["emailAddresses"])
    return found | {name: value for name, value in more.items() if value}


def _alt_names(extensions: x509.Extensions) -> dict[str, list[str]]:
    kinds: Mapping[str, Any] = {
        "ipAddresses": x509.IPAddress,
        "uris": x509.UniformResourceIdentifier,
        "emailAddresses": x509.RFC822Name,
        "dnsNames": x509.DNSName,
    }
    try:
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {field: [] for field in kinds}
    return {field: [str(each) for each in found.get_values_for_type(kind)] for field, kind in kinds.items()}


def _plain(value: str) -> str:
    """An address as it is written by itself."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        return value


def _first(name: x509.Name, oid: ObjectIdentifier) -> str:
    return next((str(each.value) for each in name.get_attributes_for_oid(oid)), "")
