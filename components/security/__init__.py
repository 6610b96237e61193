"""Namespaces and what guards them; keys, and who may do what in AWS."""

from components.security.encryption_key import EncryptionKey, EncryptionKeyArgs
from components.security.irsa import IrsaRole, IrsaRoleArgs, OidcProviderArgs
from components.security.key_policy import KeyUse
from components.security.namespace import Namespace, NamespaceArgs, PodSecurityLevel
from components.security.network import NetworkPolicySet, NetworkPolicySetArgs
from components.security.pod_identity import PodIdentity, PodIdentityArgs, ServiceAccountArgs
from components.security.priority_classes import PriorityClasses, PriorityClassesArgs
from components.security.tenant import Tenant, TenantArgs, TenantNamespaceArgs

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
