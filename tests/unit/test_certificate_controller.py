"""The rehearsed cert-manager: whoever trusts an authority believes its certificates, and another spec needs another one."""

from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.controllers import cert_manager_x509 as pki

Manifest = dict[str, Any]
ISSUER = {"name": "authority", "kind": "Issuer"}
SPEC: Manifest = {
    "dnsNames": ["chat.example.com"],
    "issuerRef": ISSUER,
    "duration": "48h0m0s",
    "usages": ["digital signature", "server auth"],
    "privateKey": {"algorithm": "ECDSA", "size": 256},
}


def _signed(spec: Manifest, by: pki.Authority | None = None) -> tuple[pki.PrivateKey, x509.Certificate, bytes]:
    """A key, its certificate and the request for it; by its own key without an authority."""
    key = pki.load_key(pki.new_key(spec))
    csr = pki.new_request(spec, key)
    made, _ = pki.sign(spec, csr, by or key)
    return key, x509.load_pem_x509_certificate(made), csr


@cache
def _authority() -> pki.Authority:
    spec = {"commonName": "authority", "isCA": True, "issuerRef": ISSUER, "privateKey": {"algorithm": "ECDSA"}}
    key, certificate, _ = _signed(spec)
    return pki.Authority((certificate,), key)


@given(
    names=st.lists(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){1,3}", fullmatch=True), min_size=1, max_size=4, unique=True),
    algorithm=st.sampled_from(["ECDSA", "Ed25519"]),
)
@settings(max_examples=20, deadline=None)
def test_whoever_knows_the_authority_believes_its_certificates(names: list[str], algorithm: str) -> None:
    authority = _authority()
    _, certificate, _ = _signed({**SPEC, "dnsNames": names, "privateKey": {"algorithm": algorithm}}, authority)
    trusted = PolicyBuilder().store(Store(list(authority.chain)))
    for name in names:
        trusted.build_server_verifier(x509.DNSName(name)).verify(certificate, [])
    with pytest.raises(VerificationError):
        trusted.build_server_verifier(x509.DNSName("somebody.else.example")).verify(certificate, [])
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(hours=48)
    assert pki.is_authority(authority.chain[0])
    assert not pki.is_authority(certificate)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({}, []),
        ({"dnsNames": ["chat.example.com", "new.example.com"]}, ["spec.dnsNames"]),
        ({"usages": ["client auth"]}, ["spec.usages"]),
        ({"duration": "49h"}, ["spec.duration"]),
        ({"duration": "2880m"}, []),
        ({"isCA": True}, ["spec.isCA"]),
        ({"commonName": "chat"}, ["spec.commonName"]),
        ({"issuerRef": {"name": "other", "kind": "Issuer"}}, ["spec.issuerRef"]),
        ({"subject": {"organizations": ["us"]}}, ["spec.subject.organizations"]),
    ],
)
def test_another_spec_needs_another_certificate(change: Manifest, fields: list[str]) -> None:
    key, _, csr = _signed(SPEC, _authority())
    assert pki.mismatches(SPEC, csr, {**SPEC, **change}) == fields
    assert pki.key_mismatches(key, {"privateKey": {"algorithm": "RSA"}}) == ["spec.privateKey.algorithm"]
