"""cert-manager: Secrets with certificates that issuers of the cluster really sign.

It follows cert-manager/cert-manager v1.21.1 (pkg/controller). Of issuers it has selfSigned and ca: others need somebody outside.
"""

import base64
import logging
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from cryptography import x509

from sandbox.controllers import cert_manager_objects as objects
from sandbox.controllers import cert_manager_x509 as pki
from sandbox.controllers import releases
from sandbox.controllers.cert_manager_objects import GROUP, NEXT_KEY, REVISION, decoded
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.conditions import is_true, settled
from sandbox.controllers.gateway_api import Name, name_of, oldest_first
from sandbox.controllers.releases import RELEASE, Release

_API: Final = f"/apis/{GROUP}/v1"
_COLLECTIONS: Final = {
    "ClusterIssuer": (f"{_API}/clusterissuers", ""),
    "Issuer": (f"{_API}/issuers", ""),
    "certificates": (f"{_API}/certificates", ""),
    "requests": (f"{_API}/certificaterequests", ""),
    "secrets": ("/api/v1/secrets", f"!{RELEASE}"),
}
_log = logging.getLogger(__name__)
_APPROVED: Final = ("True", "cert-manager.io", "Certificate request has been approved by cert-manager.io")
_ISSUED: Final = ("True", "Issued", "Certificate fetched from issuer successfully")


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever."""
    cluster = Cluster(client, _COLLECTIONS)
    await cluster.run(_Controller(client, cluster).step)


class _PendingError(Exception):
    """Nothing is signed yet, for this reason."""


class _Controller:
    def __init__(self, client: httpx.AsyncClient, cluster: Cluster) -> None:
        self._client, self._cluster = client, cluster

    async def step(self) -> None:
        """Looks once at every issuer, request and certificate."""
        release = await releases.find(self._client, "cert-manager")
        if release is None:
            return
        for kind in ("ClusterIssuer", "Issuer"):
            for issuer in self._cluster.all(kind):
                await self._issuer(kind, issuer, release)
        for certificate in oldest_first(self._cluster.all("certificates")):
            if "deletionTimestamp" not in certificate["metadata"] and self._owns(certificate):
                try:
                    await self._certificate(certificate, release)
                except ValueError as error:  # what the webhook refuses
                    _log.warning("Certificate %s: %s", "/".join(name_of(certificate)), error)

    async def _issuer(self, kind: str, issuer: Object, release: Release) -> None:
        spec = issuer["spec"]
        if "selfSigned" in spec:
            told = ("True", "IsReady", "")
        elif "ca" in spec:
            told = self._authority_condition(issuer, release)
        else:
            kinds = " and ".join(sorted(spec))
            told = ("False", "NotRehearsed", f"the rehearsal does not play issuers of the kind {kinds}")
        path = f"{_API}/clusterissuers/{name_of(issuer)[1]}" if kind == "ClusterIssuer" else _path("issuers", name_of(issuer))
        await self._tell(kind, path, issuer, {"Ready": told}, {})

    def _authority_condition(self, issuer: Object, release: Release) -> tuple[str, str, str]:
        try:
            found = self._authority(issuer, release)
        except ValueError as error:
            return "False", "ErrGetKeyPair", f"Error getting keypair for CA issuer: {error}"
        if not pki.is_authority(found.chain[0]):
            return "False", "ErrInvalidKeyPair", "Error getting keypair for CA issuer: certificate is not a CA"
        return "True", "KeyPairVerified", "Signing CA verified"

    def _authority(self, issuer: Object, release: Release) -> pki.Authority:
        """The certificate and key an issuer signs with. Raises ValueError where it has none."""
        values = release.values
        cluster_wide = values.get("clusterResourceNamespace") or values.get("namespace") or release.namespace
        name = issuer["spec"]["ca"]["secretName"]
        secret = self._cluster.find("secrets", name_of(issuer)[0] or cluster_wide, name)
        if secret is None:
            raise ValueError(f'secrets "{name}" not found')
        chain = x509.load_pem_x509_certificates(decoded(secret, "tls.crt"))
        return pki.Authority(tuple(chain), pki.load_key(decoded(secret, "tls.key")))

    def _owns(self, certificate: Object) -> bool:
        """Whether a Secret is this one's: two Certificates that name the same would make it anew for ever."""
        namespace, name = name_of(certificate)
        rivals = [
            name_of(each)[1]
            for each in oldest_first(self._cluster.all("certificates", namespace))
            if each["spec"]["secretName"] == certificate["spec"]["secretName"]
        ]
        secret = self._cluster.find("secrets", namespace, certificate["spec"]["secretName"])
        noted = ((secret or {}).get("metadata", {}).get("annotations") or {}).get(f"{GROUP}/certificate-name")
        return (noted if noted in rivals else rivals[0]) == name

    async def _certificate(self, certificate: Object, release: Release) -> None:
        spec, status = certificate["spec"], certificate.get("status") or {}
        secret = self._cluster.find("secrets", name_of(certificate)[0], spec["secretName"])
        revision = int(status.get("revision") or 0)
        found = objects.violation(certificate, secret, self._request(certificate, revision))
        ready = ("False", *found) if found else objects.UP_TO_DATE
        if found is None and self._is_due(spec, secret):
            found = ("Renewing", f"Renewing certificate as renewal was scheduled at {status.get('renewalTime')}")
        if found is None:
            await self._forget_keys(certificate)
            await self._note(certificate, secret, {"Ready": ready})
            return
        issuing = self._condition(certificate, "Issuing") or ("True", *found)
        await self._note(certificate, secret, {"Ready": ready, "Issuing": issuing})
        await self._issue(certificate, secret, revision + 1, release)

    def _is_due(self, spec: Object, secret: Object | None) -> bool:
        if (spec.get("renewal") or {}).get("policy") == "Disabled":
            return False
        return datetime.now(UTC) >= objects.renewal_time(spec, x509.load_pem_x509_certificate(decoded(secret, "tls.crt")))

    def _condition(self, certificate: Object, kind: str) -> tuple[str, str, str] | None:
        for each in (certificate.get("status") or {}).get("conditions") or []:
            if each["type"] == kind and each["status"] == "True":
                return each["status"], each["reason"], each["message"]
        return None

    def _request(self, certificate: Object, revision: int) -> Object | None:
        for each in self._cluster.all("requests", name_of(certificate)[0]):
            mine = any(owner["uid"] == certificate["metadata"]["uid"] for owner in each["metadata"].get("ownerReferences") or [])
            if mine and (each["metadata"].get("annotations") or {}).get(REVISION) == str(revision):
                return each
        return None

    async def _issue(self, certificate: Object, secret: Object | None, revision: int, release: Release) -> None:
        """As far as it goes now: a key, a request, what the issuer signs, the Secret."""
        spec = certificate["spec"]
        key = await self._next_key(certificate, secret)
        request = self._request(certificate, revision)
        if request is not None and self._is_other(request, spec, key):
            path = _path("certificaterequests", name_of(request))
            await self._cluster.delete(path, request["metadata"]["uid"])
            return  # the next one when it is gone
        private = pki.load_key(decoded(key, "tls.key"))
        if request is None:
            wanted = objects.request_of(certificate, revision, name_of(key)[1], pki.new_request(spec, private))
            path = f"{_API}/namespaces/{name_of(certificate)[0]}/certificaterequests"
            request = await self._cluster.create("requests", path, wanted)
            if request is None:
                return  # the copy does not have it yet
        try:
            signed = self._sign(request, private, release)
        except _PendingError as pending:
            await self._tell_request(request, ("False", "Pending", str(pending)), {})
            return
        await self._tell_request(request, _ISSUED, signed)
        owned = bool(release.values.get("enableCertificateOwnerRef"))
        encoding = (spec.get("privateKey") or {}).get("encoding") or "PKCS1"
        made = objects.secret_of(certificate, secret, pki.encoded(private, encoding), signed, owned=owned)
        await self._cluster.apply("secrets", _secret_path(name_of(made)), made)
        kept = self._cluster.find("secrets", *name_of(made))
        await self._note(certificate, kept, {"Ready": objects.UP_TO_DATE}, {"revision": revision})
        await self._forget_keys(certificate)

    def _is_other(self, request: Object, spec: Object, key: Object) -> bool:
        csr = base64.b64decode(request["spec"]["request"])
        public = pki.load_key(decoded(key, "tls.key")).public_key()
        return bool(pki.mismatches(request["spec"], csr, spec)) or x509.load_pem_x509_csr(csr).public_key() != public

    def _keys(self, certificate: Object) -> list[dict[str, Any]]:
        return [
            each
            for each in self._cluster.all("secrets", name_of(certificate)[0])
            if NEXT_KEY in (each["metadata"].get("labels") or {})
            and any(owner["uid"] == certificate["metadata"]["uid"] for owner in each["metadata"].get("ownerReferences") or [])
        ]

    async def _next_key(self, certificate: Object, secret: Object | None) -> Object:
        """The key the next certificate is for: another one each time, unless it is to stay."""
        spec = certificate["spec"]
        for each in self._keys(certificate):
            if not pki.key_mismatches(pki.load_key(decoded(each, "tls.key")), spec):
                return each
            await self._cluster.delete(_secret_path(name_of(each)), each["metadata"]["uid"])
        pem = decoded(secret, "tls.key") if (spec.get("privateKey") or {}).get("rotationPolicy") == "Never" else b""
        if not pem or pki.key_mismatches(pki.load_key(pem), spec):
            pem = pki.new_key(spec)
        path = f"/api/v1/namespaces/{name_of(certificate)[0]}/secrets"
        made = await self._cluster.create("secrets", path, objects.next_key(certificate, pem))
        assert made is not None  # noqa: S101 - the server has chosen a name that is free
        await self._note(certificate, secret, {}, {"nextPrivateKeySecretName": name_of(made)[1]})
        return made

    async def _forget_keys(self, certificate: Object) -> None:
        for each in self._keys(certificate):
            await self._cluster.delete(_secret_path(name_of(each)), each["metadata"]["uid"])

    def _sign(self, request: Object, private: pki.PrivateKey, release: Release) -> dict[str, str]:
        """The certificate and the authority's, in base64. Raises _PendingError."""
        kind, group, name = pki.issuer_of(request["spec"])
        if group != GROUP:
            raise _PendingError(f"the rehearsal does not play issuers of {group}")
        issuer = self._cluster.find(kind, name_of(request)[0] if kind == "Issuer" else "", name)
        if issuer is None:
            plural = "clusterissuers" if kind == "ClusterIssuer" else "issuers"
            raise _PendingError(f'Referenced "{kind}" not found: {plural}.{GROUP} "{name}" not found')
        if not is_true(issuer, "Ready"):
            raise _PendingError("Referenced issuer does not have a Ready status condition")
        try:
            by = private if "selfSigned" in issuer["spec"] else self._authority(issuer, release)
        except ValueError as error:
            raise _PendingError(f"Failed to get certificate key pair: {error}") from None
        made, authority = pki.sign(request["spec"], base64.b64decode(request["spec"]["request"]), by)
        return {"certificate": base64.b64encode(made).decode(), "ca": base64.b64encode(authority).decode()}

    async def _tell_request(self, request: Object, ready: tuple[str, str, str], more: dict[str, str]) -> None:
        path = _path("certificaterequests", name_of(request))
        await self._tell("requests", path, request, {"Approved": _APPROVED, "Ready": ready}, more)

    async def _note(
        self,
        certificate: Object,
        secret: Object | None,
        told: dict[str, tuple[str, str, str]],
        more: dict[str, Any] | None = None,
    ) -> None:
        """Tells of a Certificate. What is told with a revision is the end of it: it is not being issued any more."""
        current = self._cluster.find("certificates", *name_of(certificate)) or certificate
        status: dict[str, Any] = {**objects.validity(certificate["spec"], secret), **(more or {})}
        gone = {"Issuing"} if told.get("Ready", ("",))[0] == "True" and "Issuing" not in told else set()
        if gone:
            status |= {"nextPrivateKeySecretName": None, "lastFailureTime": None, "failedIssuanceAttempts": None}
        await self._tell("certificates", _path("certificates", name_of(certificate)), current, told, status, gone)

    async def _tell(
        self,
        collection: str,
        path: str,
        obj: Object,
        told: dict[str, tuple[str, str, str]],
        more: dict[str, Any],
        gone: frozenset[str] | set[str] = frozenset(),
    ) -> None:
        before = obj.get("status") or {}
        old = [each for each in before.get("conditions") or [] if each["type"] not in gone]
        generation = obj["metadata"].get("generation", 0)
        kept = [each for each in old if each["type"] not in told]
        named = [each for each in old if each["type"] in told]
        conditions = [*kept, *settled(named, told, generation)]
        if collection == "requests":
            conditions = [{key: value for key, value in each.items() if key != "observedGeneration"} for each in conditions]
        status = {**more, "conditions": conditions}
        if any(before.get(field) != value for field, value in status.items()):
            await self._cluster.merge(collection, f"{path}/status", {"status": status})


def _path(plural: str, name: Name) -> str:
    return f"{_API}/namespaces/{name[0]}/{plural}/{name[1]}"


def _secret_path(name: Name) -> str:
    return f"/api/v1/namespaces/{name[0]}/secrets/{name[1]}"
