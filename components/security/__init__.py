"""Namespaces and what guards them; keys, and who may do what in AWS."""

from .encryption_key import EncryptionKey, EncryptionKeyArgs
from .irsa import IrsaRole, IrsaRoleArgs, OidcProviderArgs
from .key_policy import KeyUse
from .namespace import Namespace, NamespaceArgs, PodSecurityLevel
from .network import NetworkPolicySet, NetworkPolicySetArgs
from .pod_identity import PodIdentity, PodIdentityArgs, ServiceAccountArgs
from .priority_classes import PriorityClasses, PriorityClassesArgs
from .tenant import Tenant, TenantArgs, TenantNamespaceArgs

__all__ = [
    "EncryptionKey",
    "EncryptionKeyArgs",
    "IrsaRole",
    "IrsaRoleArgs",
    "KeyUse",
    "Namespace",
    "NamespaceArgs",
    "NetworkPolicySet",
    "NetworkPolicySetArgs",
    "OidcProviderArgs",
    "PodIdentity",
    "PodIdentityArgs",
    "PodSecurityLevel",
    "PriorityClasses",
    "PriorityClassesArgs",
    "ServiceAccountArgs",
    "Tenant",
    "TenantArgs",
    "TenantNamespaceArgs",
]
