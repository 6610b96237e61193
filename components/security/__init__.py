"""Namespaces and what guards them; keys, and who may do what in AWS."""

from components.security.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.security.key_policy import KeyUse
from components.security.namespace import Namespace, NamespaceArgs, PodSecurityLevel
from components.security.pod_identity import PodIdentity, PodIdentityArgs, ServiceAccountArgs

__all__ = [
    "EncryptionKey",
    "EncryptionKeyArgs",
    "KeyUse",
    "Namespace",
    "NamespaceArgs",
    "PodIdentity",
    "PodIdentityArgs",
    "PodSecurityLevel",
    "ServiceAccountArgs",
]
