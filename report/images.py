"""Digests of images as their registries have them.

Protocol: OCI distribution specification 1.1; for tokens distribution/distribution, docs/spec/auth/token.md.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import httpx

from components.image_lock import LockedImage

MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_HOSTS = {"docker.io": "registry-1.docker.io"}
_TIMEOUT = 20.0


@dataclass
class Resolved:
    """What the registries said."""

    digests: dict[str, str] = field(default_factory=dict)
    """By image of the lock, where it had none."""
    moved: list[str] = field(default_factory=list)
    """One sentence for each tag that means another image than the lock says."""
    faults: list[str] = field(default_factory=list)
    """One sentence for each image that nothing was learned of."""


def resolve(images: Iterable[LockedImage]) -> Resolved:
    """Ask the registry of each image for the digest of its tag."""
    found = Resolved()
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True) as client:
        for each in images:
            try:
                digest = digest_of(client, each.image)
            except httpx.HTTPError as error:
                found.faults.append(f"{each.image}: its registry does not answer ({error}); ask again where it can be reached")
                continue
            except ValueError as error:
                found.faults.append(f"{each.image}: {error}")
                continue
            if each.digest is None:
                found.digests[each.image] = digest
            elif each.digest != digest:
                found.moved.append(
                    f"{each.image} is {digest} at its registry, and {each.digest} in the lock: the tag was moved, or the lock is "
                    "wrong; find out which before you change the lock"
                )
    return found


def digest_of(client: httpx.Client, image: str) -> str:
    """The digest of a tagged image, as its manifest has it. ValueError, or an error of httpx, where there is none to be had."""
    name, _, tag = image.rpartition(":")
    host, _, repository = name.partition("/")
    host = host_of(host)
    scheme = "http" if host.split(":")[0] in ("127.0.0.1", "localhost") else "https"
    address = f"{scheme}://{host}/v2/{repository}/manifests/{tag}"
    answer = client.get(address, headers={"Accept": MANIFESTS})
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        shown = asked(client, answer.headers.get("WWW-Authenticate", ""), f"repository:{repository}:pull")
        answer = client.get(address, headers={"Accept": MANIFESTS, "Authorization": shown})
    if answer.status_code != httpx.codes.OK:
        raise ValueError(f"{host} answers {answer.status_code} for {repository}:{tag}")
    digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
    if (said := answer.headers.get("Docker-Content-Digest", digest)) != digest:
        raise ValueError(f"{host} says {said} of a manifest whose digest is {digest}")
    return digest


def host_of(registry: str) -> str:
    """Where a registry answers that images name so."""
    return _HOSTS.get(registry, registry)


def asked(client: httpx.Client, challenge: str, scope: str, login: str | None = None) -> str:
    """What to show a registry that asks who is there: a token, for everybody or for a `login` (user and password in base64)."""
    kind, said = challenge.partition(" ")[0].lower(), dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if kind == "basic" and login:
        return f"Basic {login}"
    if kind != "bearer" or "realm" not in said:
        raise ValueError("its registry wants a login")
    wanted = {"service": said.get("service", ""), "scope": said.get("scope", scope)}
    answer = client.get(said["realm"], params=wanted, headers={"Authorization": f"Basic {login}"} if login else None)
    if answer.status_code != httpx.codes.OK:
        raise ValueError(f"its registry gives no token for {scope.rpartition(':')[2]} ({answer.status_code})")
    given = answer.json()
    return f"Bearer {given.get('token') or given.get('access_token') or ''}"


def updated(text: str, digests: Mapping[str, str], date: str) -> str:
    """The lock with these digests in place of the reasons why there were none."""
    for image, digest in digests.items():
        registry = image.partition("/")[0]
        entry = f"- image: {image}\n  digest: {digest}\n  sources:\n  - {registry}, asked on {date}\n"
        text = re.sub(rf"^- image: {re.escape(image)}\n(?:  .*\n)+", entry, text, flags=re.MULTILINE)
    return text


def difference(before: str, after: str) -> str:
    """The change as a patch; empty where there is none."""
    name = "components/images.lock.yaml"
    return "".join(difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), name, name))
