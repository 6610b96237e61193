"""Keys and certificates of a control plane."""

from pathlib import Path

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
