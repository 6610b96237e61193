"""Keys and certificates of a control plane."""

from pathlib import Path

from cryptography import x509

from sandbox.control_plane.pki import Pki, tls_context


def test_an_instance_of_an_older_version_gets_the_identity_it_lacks(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    pki.ensure("10.96.0.1")
    before = {path.name: path.read_bytes() for path in pki.directory.iterdir()}
    for path in (pki.certificate("controllers"), pki.key("controllers")):
        path.unlink()

    pki.ensure("10.96.0.1")
    after = {path.name: path.read_bytes() for path in pki.directory.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"controllers.crt", "controllers.key"}
    tls_context(
        pki.certificate("ca"), pki.certificate("controllers"), pki.key("controllers")
    )  # raises unless they belong together
    assert {path.stat().st_mode & 0o777 for path in pki.directory.iterdir()} == {0o600}


def test_more_names_of_the_server_are_added_to_those_it_has(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    pki.ensure("10.96.0.1", ["198.18.0.11"])
    first = _names(pki)
    assert {"127.0.0.1", "10.96.0.1", "198.18.0.11", "localhost"} <= set(first)
    pki.ensure("10.96.0.1", ["198.18.0.12", "rack.example"])
    second = _names(pki)
    assert set(second) == {*first, "198.18.0.12", "rack.example"}
    assert len(second) == len(set(second))
    before = pki.certificate("apiserver").read_bytes()
    pki.ensure("10.96.0.1", ["198.18.0.11"])
    assert pki.certificate("apiserver").read_bytes() == before


def _names(pki: Pki) -> list[str]:
    certificate = x509.load_pem_x509_certificate(pki.certificate("apiserver").read_bytes())
    return [str(name.value) for name in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]
