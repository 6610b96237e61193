"""Tokens of k3s: a secret alone, or with the hash of the cluster's authority before it (docs.k3s.io, "k3s token")."""

from collections.abc import Collection

from sandbox.hosts.k3s_config import StartError

_FULL = "K10"


def full(authority: str, user: str, secret: str) -> str:
    """The token that names the authority, given as the hash of its certificate."""
    return f"{_FULL}{authority}::{user}:{secret}"


def secret_of(token: str) -> str:
    """The secret part of either form."""
    return token.rpartition(":")[2] if token.startswith(_FULL) else token


def check(token: str, accepted: Collection[str], authority: str) -> None:
    """Whether a token lets in: one of these secrets, and of this authority if it names one. StartError otherwise."""
    named = token.removeprefix(_FULL).partition("::")[0]
    if token.startswith(_FULL) and named != authority:
        raise StartError(f"token CA hash does not match the Cluster CA certificate hash: {named[:8]} != {authority[:8]}")
    if secret_of(token) not in accepted:
        raise StartError("failed to validate token: not authorized")
