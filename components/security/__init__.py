"""Namespaces and what guards them."""

from components.security.namespace import Namespace, NamespaceArgs, PodSecurityLevel

__all__ = ["Namespace", "NamespaceArgs", "PodSecurityLevel"]
