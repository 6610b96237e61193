"""Names within their limits. A name that had to be cut ends in a hash, so two long names never become one."""

import hashlib
import re

from .secretive import looks_secret

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
DNS_LABEL_MAX = 63
AUTONAME_SUFFIX = 9
"""Characters the Kubernetes provider appends to a resource's logical name: a dash and eight hexadecimal digits."""

_HASH = 7


def fit(*parts: str, limit: int = DNS_LABEL_MAX - AUTONAME_SUFFIX) -> str:
    """`parts` joined by dashes, cut to `limit` characters with a seven-digit hash of the whole at the end when too long."""
    name = "-".join(part for part in parts if part)
    if len(name) <= limit:
        return name
    if limit < _HASH + 2:
        raise ValueError(f"a name of at most {limit} characters leaves no room for a {_HASH}-digit hash")
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH]
    return f"{name[: limit - _HASH - 1].rstrip('-.')}-{digest}"


def check_dns_label(name: str) -> None:
    """Raise ValueError unless `name` may name a Kubernetes Service, Namespace or label value (RFC 1123 label)."""
    if len(name) > DNS_LABEL_MAX or not DNS_LABEL.fullmatch(name):
        near = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:DNS_LABEL_MAX].strip("-")
        shown, suggestion = ("the text", "") if looks_secret(name) else (repr(name), near)
        raise ValueError(
            f"{shown} is not a Kubernetes name (lower-case letters, digits and dashes, at most {DNS_LABEL_MAX}); "
            f"use e.g. {suggestion or 'model-1'}"
        )
