"""Why Envoy Gateway would not do what a SecurityPolicy asks. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi/securitypolicy.go.
"""

import base64
import binascii
from typing import Any, Final
from urllib.parse import urlsplit

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_seen import GROUP, Check, RefusedError, Seen, check_cidr
from sandbox.controllers.gateway_api import name_of


def _api_keys(policy: Object, spec: Any, seen: Seen) -> None:
    clients: set[str] = set()
    keys: set[str] = set()
    for ref in spec["credentialRefs"]:
        data = seen.secret((GROUP, "SecurityPolicy", name_of(policy)[0]), ref).get("data") or {}
        for client in sorted(data.keys() - clients):
            if data[client] in keys:
                raise RefusedError("duplicated API key")
            clients.add(client)
            keys.add(data[client])


def _basic(policy: Object, spec: Any, seen: Seen) -> None:
    secret = seen.secret((GROUP, "SecurityPolicy", name_of(policy)[0]), spec["users"])
    users = base64.b64decode((secret.get("data") or {}).get(".htpasswd", "")).decode()
    if not users:
        raise RefusedError(f'secret {"/".join(name_of(secret))} must contain a non-empty ".htpasswd" key')
    for line in filter(None, map(str.strip, users.splitlines())):
        _, colon, password = line.partition(":")
        if not colon:
            raise RefusedError("invalid htpasswd format: each line must be in the format 'username:password'")
        if not password.startswith("{SHA}"):
            raise RefusedError("unsupported htpasswd format: please use {SHA}")
        try:
            digest = base64.b64decode(password.removeprefix("{SHA}"), validate=True)
        except binascii.Error:
            raise RefusedError("invalid htpasswd format: {SHA} must be base64-encoded SHA1") from None
        if len(digest) != 20:
            raise RefusedError("invalid htpasswd format: {SHA} must be SHA1 (20 bytes)")


def _jwt(policy: Object, spec: Any, seen: Seen) -> None:
    found: list[str] = []
    names: list[str] = []
    for provider in spec["providers"]:
        name, issuer = provider["name"], provider.get("issuer") or ""
        if ":" in issuer and not (urlsplit(issuer).scheme or issuer.startswith("/")):
            found.append("invalid issuer; when issuer contains ':' character, it MUST be a valid URI")
        remote, local = provider.get("remoteJWKS"), provider.get("localJWKS")
        if (remote is None) == (local is None):
            found.append(f"either remoteJWKS or localJWKS must be specified for jwt provider: {name}")
        elif remote is not None and not remote.get("uri"):
            found.append(f"uri must be set for remote JWKS provider: {name}")
        elif remote is not None and not urlsplit(remote["uri"]).scheme:
            found.append(f'invalid remote JWKS URI: parse "{remote["uri"]}": invalid URI for request')
        if name in names:
            found.append(f"provider name {name} must be unique")
        names.append(name)
        if not found and local is not None and local.get("type") == "ValueRef":
            where = (name_of(policy)[0], local["valueRef"]["name"])
            if seen.find("config_maps", where) is None:
                raise RefusedError(f"local JWKS ConfigMap {'/'.join(where)} not found")
    if found:
        raise RefusedError("\n".join(found))


def _authorization(_policy: Object, spec: Any, _seen: Seen) -> None:
    told = "unable to translate authorization rule"
    for rule in spec.get("rules") or []:
        principal = rule.get("principal") or {}
        for cidr in principal.get("clientCIDRs") or []:
            check_cidr(cidr, told)
        if rule.get("cel") is not None or principal.get("clientIPGeoLocations"):
            raise RefusedError("the rehearsal does not play rules with cel or clientIPGeoLocations")


CHECKS: Final[dict[str, tuple[str, Check]]] = {
    "basicAuth": ("BasicAuth", _basic),
    "apiKeyAuth": ("APIKeyAuth", _api_keys),
    "authorization": ("Authorization", _authorization),
    "jwt": ("JWT", _jwt),
}
